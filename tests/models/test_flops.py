"""FLOPs are those that can be counted by hand, and those that XLA counts where it counts right."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

from ichformer.models.flops import count_flops


def shape(*sizes: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(sizes, jnp.float32)


def test_by_hand():
    assert count_flops(jnp.matmul, shape(2, 3, 5), shape(2, 5, 7)) == 2 * (2 * 3 * 7) * 5
    conv = nn.Conv(8, (3, 3), (2, 2), feature_group_count=4)
    params = jax.eval_shape(conv.init, jax.random.key(0), shape(1, 10, 10, 4))
    assert count_flops(conv.apply, params, shape(1, 10, 10, 4)) == 2 * (5 * 5 * 8) * (3 * 3 * 1)

    def attention(x):
        return jax.nn.dot_product_attention(x, x, x)

    assert count_flops(attention, shape(2, 16, 3, 8)) == 2 * (2 * (2 * 3 * 16 * 16) * 8)


def test_loops_count_each_round_and_all_ways_of_wrapping_are_entered():
    @jax.custom_vjp
    def square(x):
        return x @ x

    square.defvjp(lambda x: (x @ x, x), lambda x, dy: (dy @ x.T + x.T @ dy,))
    twice = jax.custom_jvp(lambda x: x @ x @ x)
    twice.defjvps(lambda dx, y, x: 2 * dx)
    once = 2 * 4**3
    x = shape(4, 4)
    assert count_flops(square, x) == once
    assert count_flops(jax.grad(lambda x: square(x).sum()), x) == 3 * once
    assert count_flops(twice, x) == 2 * once
    for wrap in (jax.jit, jax.checkpoint):
        assert count_flops(wrap(lambda x: x @ x), x) == once
    assert count_flops(lambda x: jax.lax.scan(lambda c, _: (c @ c, None), x, length=7)[0], x) == 7 * once
    assert count_flops(lambda x: jax.lax.fori_loop(0, 7, lambda _, c: c @ c, x), x) == 7 * once
    assert count_flops(jax.vmap(square), shape(5, 4, 4)) == 5 * once
    assert count_flops(lambda x: jax.lax.cond(x[0, 0] > 0, lambda x: x @ x @ x, lambda x: x, x), x) == 2 * once
    platform = {"cpu": lambda x: x @ x @ x, "default": lambda x: x @ x}
    assert count_flops(lambda x: jax.lax.platform_dependent(x, **platform), x) == once
    with pytest.raises(ValueError, match="length is not known"):
        count_flops(lambda x: jax.lax.while_loop(lambda c: c[0, 0] > 0, lambda c: c @ c, x), x)


class Net(nn.Module):
    """Convolutions without padding, dense layers and attention: nothing that XLA counts in another way."""

    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Conv(16, (3, 3), padding="VALID")(x))
        x = nn.Conv(32, (2, 2), (2, 2), padding="VALID")(x)
        x = x.reshape(len(x), -1, 32)
        return nn.Dense(6)(nn.MultiHeadDotProductAttention(4)(x, x))


def test_as_xla_counts():
    """XLA also counts what is done element by element: a few per cent of a network as wide as this."""
    params = jax.eval_shape(Net().init, jax.random.key(0), shape(2, 18, 18, 3))

    def loss(params, x):
        return Net().apply(params, x).sum()

    for function in (loss, jax.grad(loss)):
        ours = count_flops(function, params, shape(2, 18, 18, 3))
        xla = jax.jit(function).lower(params, shape(2, 18, 18, 3)).cost_analysis()["flops"]
        assert ours < xla < 1.15 * ours


def test_the_fused_attention_of_a_gpu_counts_as_the_plain_one(monkeypatch):
    fused = pytest.importorskip("jax._src.cudnn.fused_attention_stablehlo")
    monkeypatch.setattr(fused, "check_cudnn_version", lambda: 91000)
    x = jax.ShapeDtypeStruct((2, 16, 3, 64), jnp.bfloat16)

    def attention(implementation):
        return count_flops(lambda x: jax.nn.dot_product_attention(x, x, x, implementation=implementation), x)

    assert attention("cudnn") == attention("xla") > 0
