import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ichformer.models.layers.attention.positions import rotary_angles, rotate
from ichformer.models.layers.attention.self_attention import SelfAttention
from ichformer.models.layers.attention.transformer import Block, Blocks, BlockStyle, Mlp
from ichformer.models.layers.dropout import DropPath

RICH = BlockStyle(mlp="swiglu", layer_scale=0.1, qk_norm=True, qkv_bias=False)


def fresh(module, *inputs, **options):
    """Parameters of a module's start, in one program."""
    return jax.jit(lambda: module.init(jax.random.key(0), *inputs, **options)["params"])()


def tokens(n: int = 6, width: int = 16, seed: int = 0) -> jax.Array:
    return jax.random.normal(jax.random.key(seed), (2, n, width))


def test_drop_path_drops_whole_samples_and_keeps_the_mean():
    x = 1.0 + jax.random.uniform(jax.random.key(0), (4000, 3))
    y = np.asarray(DropPath(0.25).apply({}, x, train=True, rngs={"dropout": jax.random.key(1)}))
    dropped = (y == 0).all(axis=1)
    np.testing.assert_array_equal(dropped, (y == 0).any(axis=1))
    # Four standard deviations of a binomial of 4000.
    assert abs(dropped.mean() - 0.25) < 4 * np.sqrt(0.25 * 0.75 / 4000)
    np.testing.assert_allclose(y[~dropped], np.asarray(x)[~dropped] / 0.75, rtol=1e-6)
    np.testing.assert_array_equal(DropPath(0.25).apply({}, x, train=False), x)
    np.testing.assert_array_equal(DropPath(0.0).apply({}, x, train=True), x)


@pytest.mark.slow
@pytest.mark.parametrize("style", [BlockStyle(), RICH], ids=["plain", "rich"])
def test_blocks_are_their_blocks_one_after_the_other(style):
    x, mask = tokens(), jnp.arange(6)[None] < jnp.asarray([4, 6])[:, None]
    angles = rotary_angles(jnp.arange(6.0)[None, :, None], 4)
    blocks = Blocks(3, 2, style=style)
    params = fresh(blocks, x, train=False)

    @jax.jit
    def both(params):
        want = x
        for i in range(3):
            one = jax.tree.map(lambda p, i=i: p[i], params["block"])
            want = Block(2, style=style).apply({"params": one}, want, mask, angles, train=False)
        return blocks.apply({"params": params}, x, mask, angles, train=False), want

    got, want = both(params)
    np.testing.assert_allclose(got, want, atol=1e-5)


def test_each_of_the_blocks_starts_elsewhere():
    params = fresh(Blocks(3, 2), tokens(), train=False)
    kernels = params["block"]["mlp"]["up"]["kernel"]
    assert np.abs(kernels[0] - kernels[1]).max() > 1e-3


@pytest.mark.slow
def test_blocks_drop_as_deep_as_they_are_told():
    """A block whose rate is 1 in all but name gives its input back, and one of rate 0 always acts."""
    x = tokens()
    blocks = Blocks(2, 2, drop_path=(0.0, 0.999999))
    params = fresh(blocks, x, train=False)

    @jax.jit
    def both(params):
        first = jax.tree.map(lambda p: p[0], params["block"])
        trained = blocks.apply({"params": params}, x, train=True, rngs={"dropout": jax.random.key(1)})
        return trained, Block(2).apply({"params": first}, x, train=False)

    np.testing.assert_allclose(*both(params), atol=1e-5)


@pytest.mark.full
def test_remat_changes_memory_and_nothing_else():
    x = tokens(32, 32)
    grads, sizes = {}, {}
    params = fresh(Blocks(3, 2), x, train=False)
    for remat in ("none", "dots", "full"):
        blocks = Blocks(3, 2, dropout=0.2, remat=remat)

        def loss(p, blocks=blocks):
            y = blocks.apply({"params": p}, x, train=True, rngs={"dropout": jax.random.key(1)})
            return jnp.sum(jnp.square(y))

        compiled = jax.jit(jax.grad(loss)).lower(params).compile()
        grads[remat] = compiled(params)
        sizes[remat] = compiled.memory_analysis().temp_size_in_bytes
    for remat in ("dots", "full"):
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5 * np.abs(b).max()), grads[remat], grads["none"]
        )
    assert sizes["full"] < sizes["dots"] < sizes["none"]


@jax.jit
def rotary_scores(query, key, position):
    angles = rotary_angles(position, 6)
    return jnp.einsum("bnkd,bmkd->bknm", rotate(query, angles), rotate(key, angles))


@given(shift=st.floats(-30, 30), seed=st.integers(0, 99))
def test_rotary_attention_knows_differences_of_positions_alone(shift, seed):
    """Moving every token along every axis changes nothing; it is the property the rotation is made for."""
    rng = np.random.default_rng(seed)
    query, key = rng.standard_normal((2, 1, 5, 2, 12), np.float32)
    position = 14 * rng.random((1, 5, 3), np.float32)
    scores = [rotary_scores(query, key, moved) for moved in (position, position + np.float32(shift))]
    np.testing.assert_allclose(*scores, atol=2e-4)


@pytest.mark.slow
def test_rotation_keeps_lengths_and_place_zero():
    x = jax.random.normal(jax.random.key(0), (1, 4, 2, 8))
    angles = rotary_angles(jnp.asarray([[[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [3.0, 5.0]]]), 4)
    turned = rotate(x, angles)
    np.testing.assert_allclose(jnp.linalg.norm(turned, axis=-1), jnp.linalg.norm(x, axis=-1), rtol=1e-5)
    np.testing.assert_array_equal(turned[:, 0], x[:, 0])
    # The first half of the pairs belongs to the first axis, the second half to the second.
    np.testing.assert_allclose(turned[0, 1, :, [2, 3, 6, 7]], x[0, 1, :, [2, 3, 6, 7]], rtol=1e-6)
    assert np.abs(turned[0, 2, :, [2, 3]] - x[0, 2, :, [2, 3]]).max() > 1e-2


def test_qk_norm_makes_attention_blind_to_the_size_of_queries_and_keys():
    x = tokens()
    attention = SelfAttention(2, qk_norm=True)
    params = fresh(attention, x)
    larger = jax.tree.map(lambda p: p, params)
    larger["qkv"] = jax.tree.map(lambda p: p.at[..., :2, :, :].multiply(100.0), params["qkv"])
    run = jax.jit(lambda params: attention.apply({"params": params}, x))
    # The norms' epsilon is what is left of a difference.
    np.testing.assert_allclose(run(larger), run(params), atol=1e-4)
    assert set(params["query_norm"]) == {"scale"}


def test_swiglu_counts_about_as_much_as_the_plain_mlp():
    x = tokens(width=96)
    plain, gated = (
        sum(p.size for p in jax.tree.leaves(jax.eval_shape(Mlp(kind).init, jax.random.key(0), x)))
        for kind in ("gelu", "swiglu")
    )
    assert abs(gated / plain - 1) < 0.02
