"""Windows and the Swin encoder; test_every_model.py holds what all models share, parity/ equality with others."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ichformer.models.encoders.swin import SwinEncoder
from ichformer.models.families.swin3d import even_merges
from ichformer.models.layers.attention import window_attention
from ichformer.models.layers.attention.window_attention import WindowAttention
from ichformer.models.layers.attention.windows import groups, partition, tiling, unite
from ichformer.models.registry import create_model
from ichformer.models.weights.fit import fit_tree

grids = st.tuples(*[st.integers(1, 9)] * 3)
windows = st.tuples(*[st.integers(1, 4)] * 3)


@given(grids, windows, st.booleans())
@settings(max_examples=8)  # each compiles anew
def test_windows_hold_every_token_once_and_give_it_back(grid, window, shifted):
    x = np.arange(1, 1 + np.prod(grid), dtype=np.float32).reshape(1, *grid, 1)
    tiles = tiling(grid, window, shifted=shifted)
    cut, back = jax.jit(lambda x: (partition(x, tiles), unite(partition(x, tiles), tiles, grid)))(x)
    assert all(side <= most for side, most in zip(tiles.window, window, strict=True))
    cut = np.asarray(cut)
    np.testing.assert_array_equal(np.sort(cut[cut > 0]), x.ravel())
    np.testing.assert_array_equal(back, x)


@given(grids, windows, st.booleans())
@settings(max_examples=8)  # each compiles anew
def test_groups_are_tokens_that_the_roll_left_in_their_places(grid, window, shifted):
    """Two tokens of a window are of one group when they lie in the grid as they lie in the window."""
    tiles = tiling(grid, window, shifted=shifted)
    place = np.stack(np.meshgrid(*map(np.arange, grid), indexing="ij"), -1)[None] + 1
    where = np.asarray(jax.jit(lambda place: partition(place, tiles))(place))[0] - 1  # -1 for padding
    inside = np.stack(np.meshgrid(*map(np.arange, tiles.window), indexing="ij"), -1).reshape(-1, 3)
    wanted = (where[:, :, None] - where[:, None] == inside[:, None] - inside[None]).all(-1)
    found = groups(tiles, grid)
    real = (where >= 0).all(-1)
    both = real[:, :, None] & real[:, None]
    np.testing.assert_array_equal((found[:, :, None] == found[:, None])[both], wanted[both])


@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize("real", [2, 3, 5])
def test_slices_behind_the_scan_do_not_change_its_attention(shifted, real):
    layer = WindowAttention(2, (4, 2, 2), shifted)
    x = jax.random.normal(jax.random.key(0), (1, 9, 4, 3, 8))

    @jax.jit
    def both(x: jax.Array) -> Any:
        few = x[:, :real], jnp.ones((1, real), bool)
        params = layer.init(jax.random.key(1), *few)
        return layer.apply(params, *few), layer.apply(params, x, jnp.arange(9)[None] < real)

    alone, padded = both(x)
    assert np.abs(alone).max() > 1e-6
    np.testing.assert_allclose(padded[:, :real], alone, atol=1e-6)


@pytest.mark.slow
def test_a_few_windows_at_a_time_give_what_all_at_once_give(monkeypatch):
    layer = WindowAttention(2, (2, 2, 2), True)
    x = jax.random.normal(jax.random.key(0), (2, 5, 4, 6, 8))
    mask = jnp.arange(5)[None] < jnp.asarray([5, 3])[:, None]
    params = jax.jit(layer.init)(jax.random.key(1), x, mask)

    def value_and_gradient(logits: int) -> Any:
        monkeypatch.setattr(window_attention, "_CACHED_LOGITS", logits)

        def loss(params: Any, x: jax.Array) -> jax.Array:
            y = layer.apply(params, x, mask)
            return jnp.sum(jnp.where(mask[..., None, None, None], jnp.square(y), 0))

        return jax.jit(jax.value_and_grad(loss, (0, 1)))(params, x)

    jax.tree.map(
        functools.partial(np.testing.assert_allclose, atol=1e-6), value_and_gradient(1), value_and_gradient(2**30)
    )


def encoder(**changes: Any) -> SwinEncoder:
    options: dict[str, Any] = {
        "patch_size": (1, 2, 2),
        "width": 8,
        "depths": (2, 2),
        "num_heads": (2, 4),
        "window": (1, 2, 2),
        "slice_merges": (1,),
        "z_position": "none",
    }
    return SwinEncoder(**options | changes)


def some_params(model: Any, *inputs: Any, **options: Any) -> Any:
    """Numbers for every parameter, without compiling a start: norms and biases are then not ones and zeros."""
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), *inputs, **options)["params"])
    return jax.tree.map(lambda leaf: rng.normal(0.3, 0.3, leaf.shape).astype(np.float32), shapes)


@pytest.mark.slow
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_weights_of_a_slice_inflated_see_in_equal_slices_what_they_saw_in_one(version):
    """The rule of I3D (Carreira & Zisserman 2017) for patches, merges, norms and relative biases at once."""
    flat = encoder(version=version)
    deep = encoder(version=version, patch_size=(2, 2, 2), window=(2, 2, 2), slice_merges=(2,))
    one = jax.random.normal(jax.random.key(0), (1, 1, 12, 12, 3))
    scan = jnp.repeat(one, 8, 1)
    inputs = jnp.ones((1, 8), bool), jnp.ones((1, 3))

    params = some_params(flat, one, inputs[0][:, :1], inputs[1], train=False)
    for name in ("stage0", "stage1") if version == "v2" else ():
        for side in ("level", "shifted"):
            # The row of offsets along the slices, of which a slice has none.
            params[name]["pair"][side]["attention"]["bias_up"]["kernel"][:, 0] = 0
    grid = jax.jit(lambda params: flat.apply({"params": params}, one, inputs[0][:, :1], inputs[1], train=False))(params)
    empty = jax.tree.map(np.zeros_like, some_params(deep, scan, *inputs, train=False))
    inflated, report = fit_tree(empty, params)
    assert not report.misfits
    assert not report.new
    assert "patches/kernel" in report.changed
    found = jax.jit(lambda params: deep.apply({"params": params}, scan, *inputs, train=False))(inflated)
    assert found.shape == (1, 2, 3, 3, 16)
    np.testing.assert_allclose(found, jnp.repeat(grid, 2, 1), atol=1e-4)


@pytest.mark.slow
def test_remat_and_stochastic_depth():
    x = jax.random.normal(jax.random.key(0), (2, 3, 9, 7, 3))
    inputs = jnp.ones((2, 3), bool), jnp.ones((2, 3))
    plain = encoder(window=(2, 2, 2), depths=(4,), num_heads=(2,), slice_merges=(), drop_path=0.5)
    params = {"params": some_params(plain, x, *inputs, train=False)}

    def gradient(model: SwinEncoder, train: bool) -> Any:
        def loss(params: Any, rng: jax.Array) -> jax.Array:
            return jnp.sum(jnp.square(model.apply(params, x, *inputs, train=train, rngs={"dropout": rng})[..., 0]))

        return jax.jit(jax.grad(loss))

    kept, anew = gradient(plain, True), gradient(plain.copy(remat="full"), True)
    first, second = kept(params, jax.random.key(1)), kept(params, jax.random.key(2))
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5), first, anew(params, jax.random.key(1))
    )
    apart = jax.tree.map(lambda a, b: float(jnp.abs(a - b).max()), first, second)
    assert max(jax.tree.leaves(apart)) > 1e-3


def test_tokens_grow_as_even_as_they_can():
    assert even_merges(5.0, 2.0, 3) == (1, 2, 2)
    assert even_merges(1.0, 2.0, 3) == (2, 2, 2)
    assert even_merges(40.0, 2.0, 3) == (1, 1, 1)
    assert create_model("swin3d_t").encoder.slice_merges == (1, 2, 2)


@pytest.mark.slow
def test_video_swin_and_version_2_are_classifiers_for_any_size():
    """Frames in twos, no merging along them, as Kinetics' weights want it; an odd count of slices, rows and columns."""
    model = create_model("swin3d_nano", patch_size=(2, 4, 4), slice_merges=(1, 1), version="v2")
    x, mask = jnp.zeros((1, 5, 33, 50, 3)), jnp.ones((1, 5), bool)
    inputs = x, mask, jnp.ones((1, 3)), False
    prediction = jax.jit(lambda params: model.apply({"params": params}, *inputs))(some_params(model, *inputs))
    assert prediction.slice_logits.shape == (1, 5, 6)
    assert prediction.features["cam"].shape == (1, 5, 3, 4, 96)
    assert np.isfinite(prediction.slice_logits).all()
