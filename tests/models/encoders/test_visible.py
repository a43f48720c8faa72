"""Encoders that see some patches alone: what they give is what they would give where nothing else is there."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ichformer.errors import InputError
from ichformer.models.encoders.convnext import ConvNext
from ichformer.models.encoders.dual import residual_and_vit
from ichformer.models.encoders.efficientnet import EfficientNet, Stage
from ichformer.models.encoders.maxvit import MaxViT, PartitionAttention
from ichformer.models.encoders.residual import ResidualEncoder
from ichformer.models.encoders.resnet import ResNet
from ichformer.models.encoders.visible import encode_visible, step_of
from ichformer.models.lesions import encode

STRIDE, SIZE, GRID = 8, 32, 4
STAGES = (Stage(8, 1, 3, 1, 1), Stage(16, 2, 5, 2, 6), Stage(24, 1, 3, 2, 6))
ENCODERS = {
    "residual": ResidualEncoder((16, 32), 1),
    "resnet": ResNet((1, 1), (16, 32)),
    # Windows as large as the grid, so that a part of the slice is cut in the same way as the whole.
    "maxvit": MaxViT((16, 32), (1, 1), stem_width=8, window=8, head_width=8),
    "dual": residual_and_vit(widths=(16, 32), blocks=1, width=32, depth=1, num_heads=2),
    "bottleneck": ResNet((2, 1), (16, 32), bottleneck=True, norm="affine"),
    "convnext": ConvNext((2, 1), (16, 32)),
    "efficientnet": EfficientNet(STAGES, stem=8, head=32),
}
MARKS = dict.fromkeys(["residual", "resnet", "dual"], pytest.mark.slow)
EACH = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=MARKS.get(name, pytest.mark.full(minutes=1))) for name in ENCODERS]
)


@functools.cache
def start(name):
    """An encoder, parameters at which every branch has a say, and two slices."""
    encoder = ENCODERS[name]
    x = jax.random.uniform(jax.random.key(0), (2, SIZE, SIZE, 2))
    params = jax.jit(functools.partial(encoder.init, train=False))(jax.random.key(1), x)["params"]
    leaves, tree = jax.tree.flatten(params)
    rng = np.random.default_rng(0)
    noisy = [leaf + 0.1 * rng.normal(size=leaf.shape).astype(np.float32) for leaf in leaves]
    return encoder, {"params": jax.tree.unflatten(tree, noisy)}, x


@functools.cache
def compiled(name):
    """The plain encoder and the one of visible patches, each with all of its grids."""
    encoder, variables, _ = start(name)

    def run(through):
        return jax.jit(lambda *args: nn.apply(lambda module, *args: through(module, *args), encoder)(variables, *args))

    plain = run(lambda module, x: encode(module, x, train=False, stages=True))
    sparse = run(lambda module, x, visible: encode_visible(module, x, visible, stride=STRIDE, train=False))
    return plain, sparse


def enlarged(visible, grid):
    times = grid.shape[1] // visible.shape[1]
    return np.asarray(visible).repeat(times, 1).repeat(times, 2)


def some_visible(seed=0):
    return jax.random.bernoulli(jax.random.key(seed), 0.4, (2, GRID, GRID))


@EACH
def test_a_part_of_a_slice_is_seen_as_if_it_were_all_of_it(name):
    """Beyond the edge of a part are zeros, and no statistic, mean or attention knows of more: so for a sparse one."""
    _, _, x = start(name)
    plain, sparse = compiled(name)
    rows, columns = 2, 3
    visible = jnp.zeros((2, GRID, GRID), bool).at[:, :rows, :columns].set(True)
    grid, finer = sparse(x, visible)
    part, finer_part = plain(x[:, : rows * STRIDE, : columns * STRIDE])
    for whole, alone in zip((grid, *finer), (part, *finer_part), strict=True):
        h, w = alone.shape[1:3]
        np.testing.assert_allclose(whole[:, :h, :w], alone, rtol=0, atol=1e-5 * np.abs(alone).max())
        assert not np.asarray(whole)[:, h:].any()
        assert not np.asarray(whole)[:, :, w:].any()
        assert np.std(alone) > 1e-2
    everything, _ = plain(x)
    assert np.abs(everything[:, :rows, :columns] - part).max() > 1e-2


@EACH
def test_with_nothing_hidden_it_is_the_encoder(name):
    _, _, x = start(name)
    plain, sparse = compiled(name)
    wanted, found = plain(x), sparse(x, jnp.ones((2, GRID, GRID), bool))
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-6 * max(1, np.abs(b).max()))


@EACH
def test_pixels_of_hidden_patches_change_nothing_and_the_mask_stays(name):
    _, _, x = start(name)
    plain, sparse = compiled(name)
    visible = some_visible()
    pixels = enlarged(visible, x)
    other = jnp.where(pixels[..., None], x, 1 - x)
    for before, after in zip(jax.tree.leaves(sparse(x, visible)), jax.tree.leaves(sparse(other, visible)), strict=True):
        np.testing.assert_array_equal(before, after)
        seen = enlarged(visible, before)
        assert not np.asarray(before)[~seen].any()
        assert np.asarray(before)[seen].any(-1).mean() > 0.9
    for before, after in zip(jax.tree.leaves(plain(x)), jax.tree.leaves(plain(other)), strict=True):
        assert np.abs(before - after)[enlarged(visible, before)].max() > 1e-2


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [name if name == "residual" else pytest.param(name, marks=pytest.mark.full) for name in ENCODERS]
)
def test_a_slice_of_which_nothing_is_seen_harms_neither_the_others_nor_the_gradient(name):
    encoder, variables, x = start(name)
    _, sparse = compiled(name)
    visible = some_visible().at[0].set(False)
    both, _ = sparse(x, visible)
    alone, _ = sparse(x[1:].repeat(2, 0), visible[1:].repeat(2, 0))
    np.testing.assert_allclose(both[1], alone[1], rtol=0, atol=1e-5 * np.abs(alone).max())
    assert not np.asarray(both[0]).any()

    def total(variables):
        through = nn.apply(functools.partial(encode_visible, stride=STRIDE, train=True), encoder)
        return jnp.square(through(variables, x, visible)[0]).sum()

    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(jax.jit(jax.grad(total))(variables)))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["block", "grid"])
def test_places_that_are_not_attended_to_have_no_say(kind):
    """Also where sets of tokens are filled up at the edge."""
    layer = PartitionAttention(kind, window=4, num_heads=2)
    x, other = jax.random.normal(jax.random.key(0), (2, 2, 6, 6, 8))
    attended = jax.random.bernoulli(jax.random.key(1), 0.6, (2, 6, 6))
    variables = layer.init(jax.random.key(2), x, train=False)
    variables = jax.tree.map(lambda leaf: 20 * leaf, variables)
    apply = jax.jit(functools.partial(layer.apply, variables, train=False))
    found = apply(jnp.where(attended[..., None], x, other), attended=attended)
    np.testing.assert_array_equal(found[attended], apply(x, attended=attended)[attended])
    assert np.abs(apply(x)[attended] - found[attended]).max() > 1e-2
    np.testing.assert_allclose(apply(x, attended=jnp.ones_like(attended)), apply(x), rtol=0, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["residual", *(pytest.param(name, marks=pytest.mark.full) for name in ("resnet", "efficientnet", "maxvit"))]
)
def test_slices_of_any_size_are_cut_into_patches(name):
    """Of 21 x 30 pixels the last patches are cut off; nothing hidden is seen in them either."""
    encoder, variables, x = start(name)
    x, visible = x[:, :21, :30], some_visible()[:, :3, :4]
    sparse = jax.jit(nn.apply(functools.partial(encode_visible, stride=STRIDE, train=False), encoder))
    pixels = np.asarray(visible).repeat(STRIDE, 1).repeat(STRIDE, 2)[:, :21, :30]
    before, after = sparse(variables, x, visible), sparse(variables, jnp.where(pixels[..., None], x, 1 - x), visible)
    jax.tree.map(np.testing.assert_array_equal, before, after)
    assert before[0].shape[1:3] == (3, 4)
    np.testing.assert_array_equal(np.asarray(before[0]).any(-1), visible)


def test_the_step_of_a_grid():
    assert step_of((24, 24), (48, 48), 8) == 2
    assert step_of((11, 15), (21, 30), 8) == 2
    assert step_of((3, 4), (21, 30), 8) == 8
    with pytest.raises(InputError, match="a map of 23x23 places does not lie on patches of 8 pixels"):
        step_of((23, 23), (48, 48), 8)


class Unpadded(nn.Module):
    @nn.compact
    def __call__(self, x, *, train):
        return nn.Conv(8, (3, 3), padding="VALID")(x)


def test_an_encoder_whose_maps_do_not_lie_on_the_patches_is_refused():
    through = nn.init(functools.partial(encode_visible, stride=8, train=False), Unpadded())
    with pytest.raises(InputError, match="a map of 14x14 places"):
        jax.eval_shape(through, jax.random.key(0), jnp.zeros((1, 16, 16, 1)), jnp.ones((1, 2, 2), bool))
