"""vit3d beside MONAI's 3-D vision transformer: values and gradients."""

import pytest

torch = pytest.importorskip("torch")
nets = pytest.importorskip("monai.networks.nets")

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util
from safetensors.numpy import save_file

from ichformer.models.layers.transformer import BlockStyle
from ichformer.models.layers.volume_encoder import VolumeEncoder
from ichformer.models.weights.load import load_weights

SHAPE, PATCH, WIDTH, HEADS, DEPTH = (6, 16, 8), (2, 8, 4), 24, 2, 3


@pytest.mark.parametrize("qkv_bias", [False, True])
def test_monai(tmp_path, qkv_bias):
    rng = np.random.default_rng(0)
    reference = nets.ViT(2, SHAPE, PATCH, WIDTH, 4 * WIDTH, num_layers=DEPTH, num_heads=HEADS, qkv_bias=qkv_bias).eval()
    with torch.no_grad():
        for value in reference.parameters():
            value.copy_(torch.from_numpy(0.3 * rng.standard_normal(value.shape).astype(np.float32)))

    def save(name):
        tensors = {key: value.numpy().copy() for key, value in reference.state_dict().items()}
        save_file(tensors, tmp_path / name)
        return tmp_path / name

    x = rng.standard_normal((2, *SHAPE, 2)).astype(np.float32)
    weights = save("weights.safetensors")
    tokens, _ = reference(torch.from_numpy(x).permute(0, 4, 1, 2, 3))
    along = rng.standard_normal(tokens.shape).astype(np.float32)
    tokens.backward(torch.from_numpy(along))
    with torch.no_grad():
        for value in reference.parameters():
            value.copy_(torch.zeros_like(value) if value.grad is None else value.grad)
    gradients = save("gradients.safetensors")

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
    params, report, _ = load_weights(fresh, weights)
    assert (report.new, report.misfits) == ((), {})
    assert all("norm_cross_attn" in name for name in report.left)

    def loss(p):
        ours = encoder.apply({"params": p}, jnp.asarray(x), mask, spacing_mm, train=False).reshape(tokens.shape)
        return jnp.sum(ours * along), ours

    found, ours = jax.jit(jax.grad(loss, has_aux=True))(params)
    np.testing.assert_allclose(ours, tokens.detach().numpy(), atol=1e-4)
    wanted = traverse_util.flatten_dict(load_weights(fresh, gradients)[0], sep="/")
    for name, value in traverse_util.flatten_dict(found, sep="/").items():
        np.testing.assert_allclose(value, wanted[name], atol=1e-3 * np.abs(wanted[name]).max(), err_msg=name)
