"""swin3d beside the Swin of transformers and MONAI: the same weights, the same grid and the same gradients.

Random weights in every tensor, and sizes that windows divide: where they do not, the others let tokens attend to their
padding, and ours do not.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ichformer.models.encoders.swin import SwinEncoder
from ichformer.models.weights.files import read_tensors
from ichformer.models.weights.fit import fit_tree
from ichformer.models.weights.layouts.registry import recognise
from ichformer.models.weights.layouts.swin import huggingface_swin, microsoft_swin, monai_swin, resize_bias
from ichformer.models.weights.source import Source, Tree
from tests.parity.compare import flat, tensors_of
from tests.parity.reference import Installed, Network, Reference, coarse, torch

swin_unetr = Installed("monai.networks.nets.swin_unetr")
transformers = Installed("transformers")
Tensors = dict[str, np.ndarray]


def randomised(model: Any) -> Any:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            middle, wide = (1.0, 0.2) if "norm" in name and name.endswith("weight") else (0.0, 0.2)
            if middle and "layernorm" in name and isinstance(model, transformers.Swinv2Model):
                # Norms behind branches of random weights, at full size, are more than float32 can follow: transformers
                # itself is then 2e-4 from its float64.
                middle = 0.3
            if "relative_position_bias_table" in name:
                wide = 0.5
            if "logit_scale" in name:
                middle = 2.0
            parameter.copy_(middle + wide * torch.randn(parameter.shape, generator=generator))
            if "logit_scale" in name:
                parameter[0] = 5.0  # beyond the clamp at log(100)
    return coarse(model).eval()


def gradients(model: Any) -> Tensors:
    """By the names of ``tensors_of``; zeros where a tensor has no part in the result, buffers as they are."""
    grads = {
        name: np.zeros(p.shape, np.float32) if p.grad is None else p.grad.numpy()
        for name, p in model.named_parameters()
    }
    return tensors_of(model) | grads


def compare(
    reference: Reference,
    encoder: SwinEncoder,
    x: np.ndarray,
    made: Callable[[], Any],
    run: Callable[[Any], Any],
    convert: Callable[[Tensors], Tree],
    as_saved: Callable[[Tensors], Tensors] = dict,
) -> None:
    """What ``run`` gives for ``x`` [B,S,H,W,C] with a model, [B,d,h,w,D], and the gradients of one loss on it."""
    scans, mask, spacing_mm = jnp.asarray(x), jnp.ones(x.shape[:2], bool), jnp.ones((len(x), 3))
    forward = functools.partial(encoder.apply, train=False)

    tensors = reference.tensors(lambda: as_saved(tensors_of(made())))
    shapes = jax.eval_shape(lambda: encoder.init(jax.random.key(0), scans, mask, spacing_mm, train=False)["params"])
    width = jax.eval_shape(lambda params: forward({"params": params}, scans, mask, spacing_mm), shapes).shape[-1]
    # Uneven, as the squares of what a norm without parameters gives always add up to the same.
    uneven = np.linspace(0.5, 1.5, width, dtype=np.float32).reshape(1, 1, 1, 1, -1)

    def loss(params: Any) -> Any:
        grid = forward({"params": params}, scans, mask, spacing_mm)
        return jnp.mean(jnp.square(grid * uneven)), grid

    start = jax.tree.map(lambda shape: np.ones(shape.shape, shape.dtype), shapes)
    if "norm" not in convert(tensors):
        start["norm"]["bias"] *= 0
    params, report = fit_tree(start, convert(tensors))
    assert not report.misfits | report.changed
    assert set(report.new) <= {"norm/scale", "norm/bias"}
    grads, grid = jax.jit(jax.grad(loss, has_aux=True))(params)

    def compute() -> Network:
        model = made()
        result = run(model)
        (result * torch.from_numpy(uneven)).square().mean().backward()
        # What converts the weights converts their gradients.
        wanted, _ = fit_tree(grads, convert(as_saved(gradients(model))))
        return Network(tensors=tensors, output=result.detach().numpy(), gradients=flat(wanted))

    reference.assert_equal(np.asarray(grid), flat(grads), compute)


@pytest.mark.parametrize("kind", ["Swin", "Swinv2"])
def test_transformers_slice_by_slice(reference: Reference, kind: str, tmp_path: Any):
    def made() -> Any:
        config = getattr(transformers, f"{kind}Config")(
            image_size=32, patch_size=2, embed_dim=8, depths=[2, 4], num_heads=[2, 4], window_size=4
        )
        return randomised(getattr(transformers, f"{kind}Model")(config))

    def run(model: Any) -> Any:
        result = model(torch.from_numpy(x.transpose(0, 3, 1, 2).copy())).last_hidden_state
        return result.reshape(1, 3, 8, 8, 16)

    x = np.random.default_rng(0).normal(size=(3, 32, 32, 3)).astype(np.float32)
    encoder = SwinEncoder(
        patch_size=(1, 2, 2),
        width=8,
        depths=(2, 4),
        num_heads=(2, 4),
        window=(1, 4, 4),
        slice_merges=(1,),
        version="v2" if kind == "Swinv2" else "v1",
        z_position="none",
    )

    def as_saved(values: Tensors) -> Tensors:
        """As transformers writes them, which is not how it names them in memory."""
        model = made()
        model.load_state_dict({name: torch.from_numpy(value) for name, value in values.items()})
        model.save_pretrained(tmp_path)
        return read_tensors(tmp_path / "model.safetensors")

    def convert(values: Tensors) -> Tree:
        found = recognise(values, where="the test")
        tree = found.layout.convert(found.source)
        assert all(name.endswith("key.bias") for name in found.left)
        return tree

    compare(reference, encoder, x[None], made, run, convert, as_saved)


def monai(downsample: Any) -> Any:
    model = randomised(
        swin_unetr.SwinTransformer(
            in_chans=2,
            embed_dim=6,
            window_size=(2, 3, 3),
            patch_size=(2, 2, 2),
            depths=(2, 4),
            num_heads=(2, 3),
            patch_norm=True,
            downsample=downsample,
        )
    )
    model.layers2[0].downsample = None
    return model


def like_monai() -> SwinEncoder:
    return SwinEncoder(
        patch_size=(2, 2, 2),
        width=6,
        depths=(2, 4),
        num_heads=(2, 3),
        window=(2, 3, 3),
        slice_merges=(2,),
        z_position="none",
    )


@pytest.mark.parametrize("downsample", ["merging", "mergingv2"])
def test_monai_in_three_dimensions(reference: Reference, downsample: Any):
    x = np.random.default_rng(1).normal(size=(2, 16, 12, 24, 2)).astype(np.float32)

    def run(model: Any) -> Any:
        # Part by part: its own ``forward`` is for four stages, with a merge behind the last.
        first = model.layers1[0](model.patch_embed(torch.from_numpy(np.moveaxis(x, -1, 1).copy())))
        last = model.layers2[0](first).movedim(1, -1)
        return torch.nn.functional.layer_norm(last, last.shape[-1:])  # as ``SwinTransformer.proj_out``

    def convert(values: Tensors) -> Tree:
        return monai_swin(Source(values), downsample)

    compare(reference, like_monai(), x, lambda: monai(downsample), run, convert)


def test_video_swin_of_torchvision(reference: Reference):
    def made() -> Any:
        video = Installed("torchvision.models.video.swin_transformer")
        model = video.SwinTransformer3d(
            patch_size=[2, 4, 4], embed_dim=12, depths=[2, 4], num_heads=[2, 4], window_size=[4, 3, 3]
        )
        return randomised(model)

    def run(model: Any) -> Any:
        patches = model.patch_embed(torch.from_numpy(np.moveaxis(x, -1, 1).copy()))
        return model.norm(model.features(model.pos_drop(patches)))

    x = np.random.default_rng(0).normal(size=(2, 16, 24, 48, 3)).astype(np.float32)
    encoder = SwinEncoder(
        patch_size=(2, 4, 4),
        width=12,
        depths=(2, 4),
        num_heads=(2, 4),
        window=(4, 3, 3),
        slice_merges=(1,),
        z_position="none",
    )

    def convert(values: Tensors) -> Tree:
        found = recognise(values, where="the test")
        assert found.layout.name == "torchvision Swin3D"
        return found.layout.convert(found.source)

    compare(reference, encoder, x, made, run, convert)


@pytest.mark.full
@pytest.mark.parametrize("timm", [False, True])
def test_the_authors_and_timm_by_their_names(timm: bool):
    """Swin's first names: queries, keys and values in one matrix; timm moved the merge into the stage behind it."""
    config = transformers.SwinConfig(
        image_size=16, patch_size=2, embed_dim=8, depths=[2, 2], num_heads=[2, 4], window_size=4
    )
    values = tensors_of(randomised(transformers.SwinModel(config)))
    theirs = {}
    for name, value in values.items():
        if "q_proj" in name:
            value = np.concatenate([values[name.replace("q_proj", f"{part}_proj")] for part in "qkv"])
        if "k_proj" not in name and "v_proj" not in name:
            theirs[renamed(name, TIMM if timm else AUTHORS)] = value
    found = recognise({"model." + name: value for name, value in theirs.items()}, where="the test")
    assert found.layout.convert is microsoft_swin
    wanted = huggingface_swin(Source({renamed(name, ON_DISK): value for name, value in values.items()}))
    jax.tree.map(np.testing.assert_array_equal, microsoft_swin(found.source), wanted)
    assert found.left == ()


ON_DISK = (
    ("q_proj", "self.query"),
    ("k_proj", "self.key"),
    ("v_proj", "self.value"),
    ("o_proj", "output.dense"),
    ("relative_position_bias.", "self."),
    ("mlp.fc1", "intermediate.dense"),
    ("mlp.fc2", "output.dense"),
)
AUTHORS = (
    ("encoder.", ""),
    ("embeddings.patch_embeddings.projection", "patch_embed.proj"),
    ("embeddings.norm", "patch_embed.norm"),
    ("layernorm_before", "norm1"),
    ("layernorm_after", "norm2"),
    ("layernorm", "norm"),
    ("attention.q_proj", "attn.qkv"),
    ("attention.o_proj", "attn.proj"),
    ("attention.relative_position_bias", "attn"),
)
TIMM = (*AUTHORS, ("layers.0.downsample", "layers.1.downsample"))


def renamed(name: str, pairs: tuple[tuple[str, str], ...]) -> str:
    for theirs, ours in pairs:
        name = name.replace(theirs, ours)
    return name


@pytest.mark.full
@pytest.mark.parametrize("size", [5, 13, 15, 31])
def test_relative_biases_are_resized_as_torch_resizes(size: int):
    table = np.random.default_rng(0).normal(size=(2, 7, 13, 13, 3)).astype(np.float32)
    planes = torch.from_numpy(table.transpose(0, 1, 4, 2, 3).copy()).reshape(14, 3, 13, 13)
    wanted = torch.nn.functional.interpolate(planes, size=(size, size), mode="bicubic")
    found = resize_bias(table, (2, 7, size, size, 3))
    np.testing.assert_allclose(found.transpose(0, 1, 4, 2, 3).reshape(14, 3, size, size), wanted.numpy(), atol=1e-5)
    along = torch.nn.functional.interpolate(
        torch.from_numpy(table.transpose(0, 4, 1, 2, 3).copy()), size=(size, 13, 13), mode="trilinear"
    )
    np.testing.assert_allclose(
        resize_bias(table, (2, size, 13, 13, 3)).transpose(0, 4, 1, 2, 3), along.numpy(), atol=1e-5
    )
