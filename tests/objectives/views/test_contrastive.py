import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ichformer.ct.volume import AIR_HU
from ichformer.errors import InputError
from ichformer.labels import SIX
from ichformer.models.families.cnn import cnn2d
from ichformer.models.layers.draws import scans_at
from ichformer.objectives.base import Pretraining
from ichformer.objectives.config import ObjectiveConfig
from ichformer.objectives.registry import OBJECTIVES
from ichformer.objectives.views.contrastive import nt_xent
from ichformer.objectives.views.views import LEAST_SLICES, draw_view
from ichformer.training.build import check_whole_batch
from ichformer.training.config import DataConfig, ParallelConfig, TrainConfig
from tests.objectives.test_classification import make_batch
from tests.parity.reference import torch


def unit(rng, *shape):
    vectors = rng.normal(size=shape)
    return jnp.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True), jnp.float32)


@given(seed=st.integers(0, 999), temperature=st.floats(0.05, 1.0))
def test_the_loss_is_that_of_the_paper(seed, temperature):
    """Equation 1 of Chen et al. 2020, term by term in float64."""
    rng = np.random.default_rng(seed)
    first, second = unit(rng, 4, 6), unit(rng, 4, 6)
    views = np.concatenate([first, second]).astype(float)
    similar = np.exp(views @ views.T / temperature)
    wanted = [-np.log(similar[i, (i + 4) % 8] / sum(similar[i, k] for k in range(8) if k != i)) for i in range(8)]
    found, hits = nt_xent(first, second, counts=jnp.ones(4, bool), temperature=temperature)
    np.testing.assert_allclose(found, np.add(wanted[:4], wanted[4:]), rtol=1e-4, atol=1e-5)
    np.fill_diagonal(similar, -1)
    best = similar.argmax(1) == (np.arange(8) + 4) % 8
    np.testing.assert_array_equal(hits, best[:4].astype(float) + best[4:])


@pytest.mark.full(minutes=1)
def test_the_loss_is_that_of_torch():
    rng = np.random.default_rng(0)
    first, second = unit(rng, 5, 8), unit(rng, 5, 8)
    views = torch.from_numpy(np.concatenate([first, second]).copy())
    logits = (views @ views.T / 0.1).fill_diagonal_(float("-inf"))
    wanted = torch.nn.functional.cross_entropy(logits, (torch.arange(10) + 5) % 10, reduction="sum")
    found, _ = nt_xent(first, second, counts=jnp.ones(5, bool), temperature=0.1)
    np.testing.assert_allclose(found.sum(), wanted.numpy(), rtol=1e-5)


def test_scans_that_only_fill_up_a_batch_are_found_by_nobody():
    rng = np.random.default_rng(0)
    first, second = unit(rng, 5, 8), unit(rng, 5, 8)
    counts = jnp.asarray([True, True, True, False, False])
    found, _ = nt_xent(first, second, counts=counts, temperature=0.1)
    wanted, _ = nt_xent(first[:3], second[:3], counts=jnp.ones(3, bool), temperature=0.1)
    np.testing.assert_allclose(found, [*np.asarray(wanted), 0, 0], rtol=1e-5)
    gradient = jax.grad(lambda x: nt_xent(x, second, counts=counts, temperature=0.1)[0].sum())(first)
    assert np.isfinite(gradient).all()
    assert (gradient[3:] == 0).all()


def ramp(scans=3, slices=8, size=32):
    """In every slice another value, bright on the right, within a frame of air."""
    hu = np.full((scans, slices, size, size), AIR_HU, np.int16)
    inner = 30 + np.arange(slices)[:, None, None] + np.linspace(0, 60, size - 8)
    hu[:, :, 4:-4, 4:-4] = inner
    return jnp.asarray(hu)


@pytest.mark.parametrize("seed", range(5))
def test_a_view_is_a_part_of_the_scan(seed):
    hu = ramp()
    mask = jnp.asarray([[True] * 8, [True] * 6 + [False] * 2, [False] * 2 + [True] * 3 + [False] * 3])
    seen, inside = draw_view(jax.random.key(seed), hu, mask)
    assert seen.dtype == jnp.int16
    assert seen.shape == hu.shape
    assert not (inside & ~mask).any()
    for one, real in zip(np.asarray(inside), np.asarray(mask), strict=True):
        places = np.flatnonzero(one)
        assert len(places) >= LEAST_SLICES * real.sum()
        np.testing.assert_array_equal(np.diff(places), 1)
    values = np.asarray(seen, float)
    assert values.min() == AIR_HU
    solid = values[values > -500]
    assert 0 < np.median(solid) < 150
    assert (np.asarray(seen[0]) != np.asarray(seen[1])).any()


@pytest.mark.full
def test_views_belong_to_the_scan():
    hu, mask = ramp(4), jnp.ones((4, 8), bool)
    whole = draw_view(jax.random.key(3), hu, mask)
    with scans_at(jnp.asarray([2, 3])):
        part = draw_view(jax.random.key(3), hu[2:], mask[2:])
    for ours, wanted in zip(part, whole, strict=True):
        np.testing.assert_array_equal(ours, wanted[2:])


@functools.cache
def start():
    objective = OBJECTIVES.find("contrastive")(cnn2d(encoder="residual_nano"), ObjectiveConfig(), SIX)
    return objective, jax.jit(objective.init)(jax.random.key(0), make_batch())["params"]


@pytest.mark.slow
def test_it_obeys_the_contract_and_starts_a_classifier():
    objective, params = start()
    assert isinstance(objective, Pretraining)
    batch = make_batch()
    model = jax.eval_shape(lambda: objective.model.init(jax.random.key(0), *objective._inputs(batch), False))["params"]
    assert jax.tree.map(jnp.shape, {k: v for k, v in params.items() if k != "projector"}) == jax.tree.map(
        lambda leaf: leaf.shape, model
    )
    total, weight, metrics = jax.jit(objective.loss, static_argnums=3)(params, batch, jax.random.key(1), True)
    assert np.isfinite(total)
    assert weight == 2 * batch.weight.sum()
    assert 0 <= metrics["found"][0] <= weight
    features = jax.jit(objective.features)(params, batch)
    assert features.shape[:2] == batch.slice_mask.shape


@pytest.mark.parametrize(
    ("settings", "where"),
    [
        ({"parallel": ParallelConfig(accumulate=2)}, "--parallel.accumulate"),
        ({"parallel": ParallelConfig(mode="pmap")}, "--parallel.mode"),
        ({"data": DataConfig(store="x", batch_size=1)}, "--data.batch-size"),
    ],
)
def test_parts_of_a_batch_are_refused(settings, where):
    config = TrainConfig(**{"data": DataConfig(store="x"), "objective": ObjectiveConfig(name="contrastive")} | settings)
    objective = OBJECTIVES.find("contrastive")(cnn2d(encoder="residual_nano"), config.objective, SIX)
    with pytest.raises(InputError, match=f"^{where}: contrastive compares"):
        check_whole_batch(objective, config)
