"""The kernels for GPUs, run as plain JAX: what they give is what attention on a CPU gives."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ichformer.models.encoders.swin import SwinEncoder
from ichformer.models.layers.backends import cpu_attention, gpu_window_attention

interpreted = functools.partial(gpu_window_attention.attention, interpret=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("windows", "tokens", "heads", "dtype", "tolerance"),
    # Tokens that fill no block, fill one, and run over into a second; fewer and more windows than share a bias.
    [
        (3, 70, 2, jnp.float32, 2e-6),
        pytest.param(2, 20, 1, jnp.float32, 2e-6, marks=pytest.mark.slow),
        pytest.param(9, 64, 1, jnp.bfloat16, 5e-3, marks=pytest.mark.slow),
    ],
)
def test_values_and_gradients_are_those_on_a_cpu(windows, tokens, heads, dtype, tolerance):
    rng = np.random.default_rng(0)
    query, key, value, dy = (
        jnp.asarray(rng.normal(size=(windows, tokens, heads, 32)), jnp.float32).astype(dtype) for _ in range(4)
    )
    bias = jnp.asarray(rng.normal(size=(heads, tokens, tokens)), jnp.float32)
    group = jnp.asarray(rng.integers(-1, 3, (windows, tokens)), jnp.int32)
    attended = jnp.where(jnp.asarray(rng.random((windows, tokens)) < 0.2), -1, group).at[0].set(-1)
    # Of tokens that may attend to none it is only asked that they stay finite and give no gradient to queries.
    heard = (group[:, :, None] == attended[:, None, :]).any(-1)
    dy = jnp.where(heard[..., None, None], dy, jnp.zeros((), dtype))

    def ours(query, key, value, bias):
        return interpreted(query, key, value, group, attended, bias=bias, scale=0.2)

    def wanted(query, key, value, bias):
        mask = group[:, :, None] == attended[:, None, :]
        return cpu_attention.attention(query, key, value, scale=0.2, bias=bias, mask=mask)

    full = tuple(x.astype(jnp.float32) for x in (query, key, value))
    y, ours_back = jax.vjp(ours, query, key, value, bias)
    y2, wanted_back = jax.vjp(wanted, *full, bias)
    assert y.dtype == dtype
    assert np.isfinite(np.asarray(y, np.float32)).all()
    assert not heard[0].all()
    pairs = [(y[heard], y2[heard]), *zip(ours_back(dy), wanted_back(dy.astype(jnp.float32)), strict=True)]
    for found, expected in pairs:
        far = jnp.linalg.norm((found.astype(jnp.float32) - expected).ravel())
        assert far <= tolerance * jnp.linalg.norm(expected.ravel())
    alone = ours_back(jnp.where(heard[..., None, None], jnp.zeros_like(dy), jnp.ones_like(dy)))
    np.testing.assert_array_equal(alone[0], jnp.zeros_like(alone[0]))


@pytest.mark.slow
def test_the_encoder_gives_on_a_gpu_what_it_gives_on_a_cpu(monkeypatch):
    """Shifted windows, sizes that windows do not divide, and masked slices."""
    encoder = SwinEncoder((1, 4, 4), 32, (2,), (2,), (2, 3, 3), (), z_position="none", dtype=jnp.bfloat16)
    x = jnp.asarray(np.random.default_rng(0).random((2, 5, 16, 20, 1)), jnp.float32)
    mask = jnp.arange(5)[None] < jnp.asarray([[3], [5]])
    spacing_mm = jnp.ones((2, 3))
    params = jax.jit(lambda: encoder.init(jax.random.key(0), x, mask, spacing_mm, train=False))()

    def tokens():
        y = jax.jit(lambda: encoder.apply(params, x, mask, spacing_mm, train=False))()
        return np.asarray(y, np.float32)[mask]

    wanted, calls = tokens(), []

    def counted(*args, **kwargs):
        calls.append(args)
        return interpreted(*args, **kwargs)

    def on_gpu(*operands, default, cuda=None, **_):
        return (cuda or default)(*operands)

    monkeypatch.setattr(gpu_window_attention, "attention", counted)
    monkeypatch.setattr(jax.lax, "platform_dependent", on_gpu)
    shared = tokens()
    assert not calls  # several devices have XLA share the windows out
    monkeypatch.setattr(jax, "device_count", lambda: 1)
    found = tokens()
    assert calls
    for each in (shared, found):
        np.testing.assert_allclose(each, wanted, atol=0.05)


@pytest.mark.filterwarnings("ignore:The Pallas Triton backend is deprecated:DeprecationWarning")  # JAX 0.12
def test_the_kernels_are_written_for_cuda_and_what_they_do_not_hold_is_left_to_xla():
    tokens = jax.ShapeDtypeStruct((100, 392, 3, 32), jnp.bfloat16)
    bias, group = jax.ShapeDtypeStruct((3, 392, 392), jnp.float32), jax.ShapeDtypeStruct((100, 392), jnp.int32)

    def total(query, key, value, bias, group, attended):
        y = gpu_window_attention.attention(query, key, value, group, attended, bias=bias, scale=0.2)
        return jnp.sum(y.astype(jnp.float32))

    card = jax.sharding.AbstractDevice("NVIDIA H100 80GB HBM3", num_cores=132, platform="gpu")
    with jax.sharding.use_abstract_mesh(jax.sharding.AbstractMesh((1,), ("data",), abstract_device=card)):
        traced = jax.jit(jax.grad(total, argnums=(0, 1, 2, 3))).trace(tokens, tokens, tokens, bias, group, group)
        text = traced.lower(lowering_platforms=("cuda",)).as_text()
    assert all(f"_{name}_kernel" in text for name in ("forward", "query", "key", "bias"))
    assert "100x3x392x392" not in text
    assert gpu_window_attention.holds(jnp.zeros((1, 1, 1, 32), jnp.bfloat16))
    assert not gpu_window_attention.holds(jnp.zeros((1, 1, 1, 32), jnp.float32))
    assert not gpu_window_attention.holds(jnp.zeros((1, 1, 1, 24), jnp.bfloat16))
