import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ichformer.models.layers.draws import scans_at
from ichformer.objectives.masked.masks import draw_hidden, holds_tissue, most_visible, tissue_mean, visible_first

KINDS = ("random", "block", "tube")


def head(shape=(2, 6, 8, 8), seed=0):
    """A ball of tissue in each scan, of other sizes."""
    n, *grid = shape
    far = np.linalg.norm(np.indices(grid) - (np.array(grid).reshape(-1, 1, 1, 1) - 1) / 2, axis=0)
    return jnp.asarray(np.stack([far < 2.5 + i for i in range(n)]))


def test_tokens_of_air_and_of_padding_hold_no_tissue():
    hu = np.full((1, 3, 5, 8), -1000, np.int16)
    hu[0, 0, 4, 7] = 30  # in the padded last row of tokens
    hu[0, 2] = 30  # of a slice that is padding
    tissue = holds_tissue(jnp.asarray(hu), jnp.asarray([[True, True, False]]), (2, 4, 4))
    assert tissue.shape == (1, 2, 2, 2)
    np.testing.assert_array_equal(np.argwhere(tissue), [[0, 0, 1, 1]])


@pytest.mark.parametrize("kind", KINDS)
@given(ratio=st.floats(0.05, 0.95), seed=st.integers(0, 2**30))
def test_the_share_of_tissue_is_hidden_and_no_air(kind, ratio, seed):
    tissue = head()
    hidden = draw_hidden(jax.random.key(seed), tissue, ratio=ratio, kind=kind)
    assert not (hidden & ~tissue).any()
    counted = tissue if kind != "tube" else tissue.any(1)
    found = hidden if kind != "tube" else hidden.any(1)
    wanted = np.round(np.float32(ratio) * np.asarray(counted.reshape(2, -1).sum(1), np.float32))
    np.testing.assert_array_equal(found.reshape(2, -1).sum(1), wanted)


@given(
    ratio=st.floats(0.05, 0.95),
    tokens=st.sampled_from([1, 7, 64]),  # each is compiled
    tissue=st.integers(0, 64),
    seed=st.integers(0, 99),
)
def test_what_is_visible_fits_into_what_is_kept(ratio, tokens, tissue, seed):
    is_tissue = jnp.arange(tokens) < min(tissue, tokens)
    hidden = draw_hidden(jax.random.key(seed), is_tissue.reshape(1, 1, 1, -1), ratio=ratio, kind="random")
    order, count = visible_first(hidden.reshape(1, -1), is_tissue[None])
    assert 0 <= int(count[0]) <= most_visible(tokens, ratio)
    ranks = np.where(is_tissue & ~hidden.ravel(), 0, np.where(hidden.ravel(), 2, 1))
    assert (np.diff(ranks[np.asarray(order[0])]) >= 0).all()


def test_tubes_are_the_same_in_every_slice():
    tissue = jnp.ones((2, 6, 8, 8), bool)
    hidden = np.asarray(draw_hidden(jax.random.key(0), tissue, ratio=0.75, kind="tube"))
    assert (hidden == hidden[:, :1]).all()
    assert (hidden[0] != hidden[1]).any()


def neighbours_alike(kind) -> float:
    """How often two tokens side by side are both hidden or both seen."""
    hidden = np.asarray(draw_hidden(jax.random.key(1), jnp.ones((8, 8, 16, 16), bool), ratio=0.5, kind=kind))
    return float(np.mean([np.mean(np.diff(hidden.astype(int), axis=axis) == 0) for axis in (1, 2, 3)]))


def test_blocks_lie_together():
    """Of random tokens half have a neighbour of their kind; in blocks of four, three borders of four are inside."""
    assert neighbours_alike("random") == pytest.approx(0.5, abs=0.03)
    assert neighbours_alike("block") > 0.8


@pytest.mark.parametrize("kind", KINDS)
def test_masks_belong_to_the_scan(kind):
    tissue = head((4, 6, 8, 8))
    whole = draw_hidden(jax.random.key(3), tissue, ratio=0.6, kind=kind)
    with scans_at(jnp.asarray([2, 3])):
        part = draw_hidden(jax.random.key(3), tissue[2:], ratio=0.6, kind=kind)
    np.testing.assert_array_equal(part, whole[2:])


def test_the_mean_is_over_tissue_alone():
    features = jnp.asarray(np.random.default_rng(0).normal(size=(1, 2, 2, 2, 3)), jnp.float32)
    tissue = jnp.asarray([[[[True, False], [True, False]], [[False] * 2] * 2]])
    found = tissue_mean(features, tissue)
    np.testing.assert_allclose(found[0, 0], features[0, 0, :, 0].mean(0), rtol=1e-6)
    assert (found[0, 1] == 0).all()
