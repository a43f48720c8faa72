"""vit3d beside MONAI's 3-D vision transformer: values and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from ichformer.models.encoders.volume_encoder import VolumeEncoder
from ichformer.models.layers.attention.transformer import BlockStyle
from ichformer.models.weights.load import load_weights
from tests.parity.compare import flat, tensors_of
from tests.parity.reference import Installed, Network, coarse, torch

nets = Installed("monai.networks.nets")
SHAPE, PATCH, WIDTH, HEADS, DEPTH = (6, 16, 8), (2, 8, 4), 24, 2, 3


@pytest.mark.parametrize("qkv_bias", [False, True])
def test_monai(reference, tmp_path, qkv_bias):
    def made():
        module = nets.ViT(2, SHAPE, PATCH, WIDTH, 4 * WIDTH, num_layers=DEPTH, num_heads=HEADS, qkv_bias=qkv_bias)
        rng = np.random.default_rng(0)
        with torch.no_grad():
            for value in module.parameters():
                value.copy_(torch.from_numpy(0.3 * rng.standard_normal(value.shape).astype(np.float32)))
        return coarse(module).eval()

    def load(tensors):
        save_file(tensors, tmp_path / "their.safetensors")
        return load_weights(fresh, tmp_path / "their.safetensors")

    rng = np.random.default_rng(1)
    x = rng.standard_normal((2, *SHAPE, 2)).astype(np.float32)
    encoder = VolumeEncoder(
        PATCH,
        WIDTH,
        DEPTH,
        HEADS,
        attention="joint",
        style=BlockStyle(mlp="gelu", epsilon=1e-5, qkv_bias=qkv_bias),
        positions="learned",
        position_grid=(3, 2, 2),
        z_position="index",
    )
    mask, spacing_mm = jnp.ones((2, SHAPE[0]), bool), jnp.ones((2, 3))
    shapes = jax.eval_shape(lambda: encoder.init(jax.random.key(0), jnp.asarray(x), mask, spacing_mm, train=False))
    fresh = jax.tree.map(lambda p: np.zeros(p.shape, p.dtype), shapes["params"])
    tensors = reference.tensors(lambda: tensors_of(made()))
    params, report, _ = load(tensors)
    assert (report.new, report.misfits) == ((), {})
    assert all("norm_cross_attn" in name for name in report.left)

    places = np.prod(np.floor_divide(SHAPE, PATCH))
    along = rng.standard_normal((2, places, WIDTH)).astype(np.float32)

    def loss(p):
        ours = encoder.apply({"params": p}, jnp.asarray(x), mask, spacing_mm, train=False).reshape(along.shape)
        return jnp.sum(ours * along), ours

    found, ours = jax.jit(jax.grad(loss, has_aux=True))(params)

    def compute():
        module = made()
        theirs, _ = module(torch.from_numpy(x).permute(0, 4, 1, 2, 3))
        theirs.backward(torch.from_numpy(along))
        gradients = tensors_of(module)
        for name, value in module.named_parameters():
            gradients[name] = np.zeros(value.shape, np.float32) if value.grad is None else value.grad.numpy()
        return Network(tensors=tensors, output=theirs.detach().numpy(), gradients=flat(load(gradients)[0]))

    reference.assert_equal(np.asarray(ours), flat(found), compute)
