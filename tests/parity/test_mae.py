"""The masked autoencoder beside ViT-MAE of transformers: the pixels of every patch and the loss, with one mask."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ichformer.ct.windows import WINDOWS
from ichformer.models.encoders.patch_encoder import PatchEncoder
from ichformer.models.layers.attention.positions import sincos_2d
from ichformer.models.layers.attention.transformer import BlockStyle
from ichformer.models.weights.files import read_tensors
from ichformer.models.weights.load import load_weights
from ichformer.objectives.masked.mae import SliceAutoencoder
from ichformer.objectives.masked.masked_objective import MaskedPixels
from tests.parity.reference import Installed, torch
from tests.parity.test_vit import DEPTH, GRID, HEADS, PATCH, SIZES, WIDTH, pictures

transformers = Installed("transformers")
pytestmark = [
    pytest.mark.full(minutes=2),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning"),
]

DECODER_WIDTH, DECODER_DEPTH, TOKENS = 32, 2, GRID[0] * GRID[1]
STYLE = BlockStyle(mlp="gelu", epsilon=1e-12)


def reference() -> Any:
    config = transformers.ViTMAEConfig(
        **SIZES,
        decoder_hidden_size=DECODER_WIDTH,
        decoder_num_hidden_layers=DECODER_DEPTH,
        decoder_num_attention_heads=1,
        decoder_intermediate_size=4 * DECODER_WIDTH,
        mask_ratio=0.75,
        norm_pix_loss=True,
    )
    theirs = transformers.ViTMAEForPreTraining(config)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for value in theirs.parameters():
            value.copy_(0.3 * torch.randn(value.shape, generator=generator))
        # Its decoder's positions are a parameter that is not trained; ours are computed, with other wavelengths.
        theirs.decoder.decoder_pos_embed[:, 1:] = torch.from_numpy(sincos_2d(*GRID, DECODER_WIDTH))
        theirs.decoder.decoder_pos_embed[:, 0] = 0
    return theirs.eval()


def dense(tensors: dict[str, np.ndarray], name: str) -> dict[str, np.ndarray]:
    return {"kernel": tensors[f"{name}.weight"].T, "bias": tensors[f"{name}.bias"]}


def norm(tensors: dict[str, np.ndarray], name: str) -> dict[str, np.ndarray]:
    return {"scale": tensors[f"{name}.weight"], "bias": tensors[f"{name}.bias"]}


def decoder_of(tensors: dict[str, np.ndarray]) -> dict[str, Any]:
    """Its decoder by our names."""
    ours: dict[str, Any] = {
        "to_decoder": dense(tensors, "decoder.decoder_embed"),
        "spread": {"mask_token": tensors["decoder.mask_token"]},
        "head": {
            "decoder_norm": norm(tensors, "decoder.decoder_norm"),
            "pixels": dense(tensors, "decoder.decoder_pred"),
        },
    }
    for i in range(DECODER_DEPTH):
        layer = f"decoder.decoder_layers.{i}"
        query, key, value = (
            dense(tensors, f"{layer}.attention.attention.{part}") for part in ("query", "key", "value")
        )
        out = dense(tensors, f"{layer}.attention.output.dense")
        ours[f"decoder{i}"] = {
            "norm1": norm(tensors, f"{layer}.layernorm_before"),
            "norm2": norm(tensors, f"{layer}.layernorm_after"),
            "attention": {
                "qkv": {
                    part: np.stack([each[part] for each in (query, key, value)], axis=-2)[..., None, :]
                    for part in ("kernel", "bias")
                },
                "out": {"kernel": out["kernel"].reshape(1, DECODER_WIDTH, DECODER_WIDTH), "bias": out["bias"]},
            },
            "mlp": {
                "up": dense(tensors, f"{layer}.intermediate.dense"),
                "down": dense(tensors, f"{layer}.output.dense"),
            },
        }
    return ours


def test_huggingface_vit_mae_for_pretraining(tmp_path) -> None:
    theirs = reference()
    noise = np.random.default_rng(3).random((2, TOKENS)).astype(np.float32)
    with torch.no_grad():
        found = theirs(torch.from_numpy(pictures()).permute(0, 3, 1, 2), noise=torch.from_numpy(noise))
    encoder = PatchEncoder(
        PATCH, WIDTH, DEPTH, HEADS, style=STYLE, positions="learned", position_grid=GRID, class_token=True, parent=None
    )
    model = SliceAutoencoder(encoder, DECODER_WIDTH, DECODER_DEPTH)
    x = jnp.asarray(pictures())[:, None]
    hidden = jnp.asarray(found.mask.numpy() > 0.5).reshape(2, 1, *GRID)
    tissue, slice_mask, spacing_mm = jnp.ones_like(hidden), jnp.ones((2, 1), bool), jnp.ones((2, 3))
    arguments = (x, slice_mask, spacing_mm, hidden, tissue)

    theirs.save_pretrained(tmp_path / "whole")
    theirs.vit.save_pretrained(tmp_path / "encoder")
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), *arguments, ratio=0.75, train=False)["params"])
    fresh = jax.tree.map(lambda p: np.zeros(p.shape, p.dtype), shapes)
    params, report, _ = load_weights(fresh["encoder"], tmp_path / "encoder" / "model.safetensors")
    assert (report.new, report.misfits) == ((), {})
    # transformers 5 writes the decoder's blocks under another name than it has them in memory.
    tensors = read_tensors(tmp_path / "whole" / "model.safetensors")
    tensors = {name.replace("decoder_encoder.layer", "decoder_layers"): value for name, value in tensors.items()}
    params = {"encoder": params, **decoder_of(tensors)}
    assert jax.tree.map(np.shape, params) == jax.tree.map(np.shape, fresh)

    pixels = jax.jit(lambda p: model.apply({"params": p}, *arguments, ratio=0.75, train=False))(params)
    np.testing.assert_allclose(pixels.reshape(2, TOKENS, -1), found.logits.numpy(), atol=1e-4, rtol=0)
    objective = MaskedPixels(model=model, windows=(WINDOWS["brain"],) * 3, by_slice=True)
    errors = objective.errors(pixels, x, slice_mask)
    np.testing.assert_allclose((errors * hidden).sum() / hidden.sum(), found.loss.numpy(), rtol=1e-5)
