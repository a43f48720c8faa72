"""MaxViT: its partitions, its attention stated again place by place, and the size of the published network."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ichformer.models.encoders.maxvit import MaxViT, PartitionAttention
from ichformer.models.layers.attention.partition import join, relative_index, split


@pytest.mark.parametrize(("h", "w", "a", "b"), [(8, 6, 4, 2), (5, 7, 4, 3), (1, 9, 1, 4)])
@pytest.mark.parametrize("kind", ["block", "grid"])
def test_join_undoes_split_and_every_place_is_real_once(h, w, a, b, kind):
    x = np.random.default_rng(0).normal(size=(2, h, w, 3)).astype(np.float32)
    tokens, real = split(jnp.asarray(x), (a, b), kind)
    assert tokens.shape[1] == a * b
    np.testing.assert_array_equal(join(tokens, (a, b), kind, shape=(h, w)), x)
    real = np.ones(tokens.shape[:2], bool) if real is None else real
    assert real.sum() == 2 * h * w
    np.testing.assert_array_equal(np.sort(np.asarray(tokens)[real].ravel()), np.sort(x.ravel()))


def test_a_block_holds_neighbours_and_a_grid_what_is_spread_out():
    x = jnp.arange(8 * 12, dtype=jnp.float32).reshape(1, 8, 12, 1)
    blocks, _ = split(x, (4, 4), "block")
    np.testing.assert_array_equal(blocks[1, :, 0], x[0, :4, 4:8, 0].ravel())
    grids, _ = split(x, (4, 4), "grid")
    np.testing.assert_array_equal(grids[1, :, 0], x[0, 0::2, 1::3, 0].ravel())


def test_offsets_of_smaller_sets_are_read_from_the_same_table():
    large, small = relative_index((4, 4), 4), relative_index((2, 3), 4)
    assert sorted(np.unique(large)) == list(range(49))
    # Places (0, 2) and (1, 0): the same offset in both.
    assert small[2, 3] == large[2, 4] == (-1 + 3) * 7 + (2 + 3)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["block", "grid"])
def test_attention_is_over_the_real_places_of_a_set(kind):
    h, w, window, heads, width = 6, 5, 4, 2, 16
    module = PartitionAttention(kind, window, heads)
    x = jax.random.normal(jax.random.key(0), (2, h, w, width))
    params = jax.jit(lambda: module.init(jax.random.key(1), x, train=False))()["params"]
    params = jax.tree.map(lambda p: p + 0.1 * jax.random.normal(jax.random.key(p.size), p.shape), params)
    # The second half of the block is not what is tested.
    params = {**params, "mlp": jax.tree.map(jnp.zeros_like, params["mlp"])}
    found = jax.jit(lambda p: module.apply({"params": p}, x, train=False))(params)
    x, params = jax.device_get((x, params))

    normed = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    normed = normed * params["norm1"]["scale"] + params["norm1"]["bias"]
    qkv = np.einsum("nhwd,dkef->nhwkef", normed, params["qkv"]["kernel"]) + params["qkv"]["bias"]
    query, key, value = np.moveaxis(qkv, 3, 0)
    table = params["relative_bias"][0]
    cells = (-(-h // window), -(-w // window))
    places = {}  # set -> its places in it and in the slice
    for i, j in np.ndindex(h, w):
        if kind == "block":
            places.setdefault((i // window, j // window), []).append(((i % window, j % window), (i, j)))
        else:
            places.setdefault((i % cells[0], j % cells[1]), []).append(((i // cells[0], j // cells[1]), (i, j)))
    wanted = x.copy()
    for members in places.values():
        for (r, c), (i, j) in members:
            logits = np.stack(
                [
                    np.einsum("nef,nef->ne", query[:, i, j], key[:, k, m]) / np.sqrt(width / heads)
                    + table[r - s + window - 1, c - t + window - 1]
                    for (s, t), (k, m) in members
                ]
            )
            weights = np.exp(logits) / np.exp(logits).sum(0)
            mean = sum(weights[a, ..., None] * value[:, k, m] for a, (_, (k, m)) in enumerate(members))
            wanted[:, i, j] += np.einsum("nef,efd->nd", mean, params["out"]["kernel"]) + params["out"]["bias"]
    np.testing.assert_allclose(found, wanted, atol=1e-5)


@pytest.mark.slow
def test_it_has_the_parameters_of_the_published_network():
    """torchvision 0.28 counts 30,919,624 for maxvit_t, 775,680 of them in its classifier."""
    variables = jax.eval_shape(
        lambda: MaxViT(window=7).init(jax.random.key(0), jnp.zeros((1, 224, 224, 3)), train=False)
    )
    assert sum(leaf.size for leaf in jax.tree.leaves(variables)) == 30_919_624 - 775_680


def test_any_size_gives_a_grid_of_the_stride_rounded_up():
    encoder = MaxViT((16, 32), (1, 1), 16, 4, 16)
    x = jnp.zeros((1, 41, 70, 2))
    grid = jax.eval_shape(lambda: encoder.init_with_output(jax.random.key(0), x, train=False)[0])
    assert grid.shape == (1, 6, 9, 32)
