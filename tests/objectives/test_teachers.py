"""What objectives with a teacher have to hold: the teacher is an average, sees what the model does not, and is kept."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ichformer.errors import InputError
from ichformer.labels import SIX
from ichformer.models.families.cnn import cnn2d
from ichformer.models.families.slice_vit import slice_vit
from ichformer.objectives.base import Pretraining
from ichformer.objectives.config import ObjectiveConfig
from ichformer.objectives.masked.masks import SAME_IN_ALL_SLICES
from ichformer.objectives.registry import OBJECTIVES
from ichformer.objectives.teacher import Taught, Teacher, first_means, loss_with
from ichformer.training.build import check_teacher, check_whole_batch
from ichformer.training.config import DataConfig, ParallelConfig, TrainConfig
from ichformer.training.state import create_state, from_stored, to_stored
from ichformer.training.step import train_step
from tests.objectives.masked.test_masked import MODELS, SETTINGS, batch_of_noise

SMALL = {"width": 24, "depth": 1, "num_heads": 2, "context_depth": 1, "context_heads": 2}
ONE = ParallelConfig()
SETTINGS_OF = {"dino": {"prototypes": 16, "small_views": 1, "neighbours": 1}, "jepa": {}}


@functools.cache
def start(name):
    settings = dataclasses.replace(SETTINGS, **SETTINGS_OF[name])
    objective = OBJECTIVES.find(name)(slice_vit(patch_size=4, **SMALL), settings, SIX)
    return objective, jax.jit(objective.init)(jax.random.key(0), batch_of_noise())["params"]


@functools.cache
def losses(name):
    """The compiled loss of an objective with a teacher, and its gradients by the parameters and by the teacher's."""
    objective, _ = start(name)

    def loss(params, of_teacher, means, batch, rng):
        teacher = Teacher(params=of_teacher, means=means)
        total, weight, metrics = loss_with(objective, teacher)(params, batch, rng, True)
        return total / weight, metrics

    return jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))


@pytest.mark.slow
@pytest.mark.parametrize("name", SETTINGS_OF)
def test_gradients_reach_the_model_and_not_the_teacher(name):
    objective, params = start(name)
    assert isinstance(objective, Pretraining)
    assert isinstance(objective, Taught)
    (loss, metrics), (own, of_teacher) = losses(name)(
        params, params, first_means(objective), batch_of_noise(), jax.random.key(1)
    )
    assert np.isfinite(loss)
    assert max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(of_teacher)) == 0
    encoder = jax.tree.leaves(own["encoder"])
    assert all(float(jnp.abs(leaf).max()) > 0 for leaf in encoder)
    for mean in first_means(objective):
        assert metrics[mean][0].shape == first_means(objective)[mean].shape
    features = objective.features(params, batch_of_noise())
    assert features.shape[:2] == batch_of_noise().hu.shape[:2]


@pytest.mark.slow
@pytest.mark.parametrize("name", SETTINGS_OF)
def test_another_teacher_gives_another_loss_and_a_scan_of_weight_0_none(name):
    objective, params = start(name)
    batch, rng = batch_of_noise(), jax.random.key(1)
    means = first_means(objective)
    (loss, _), _ = losses(name)(params, params, means, batch, rng)
    other = jax.tree.map(lambda leaf: 1.5 * leaf, params)
    (changed, _), _ = losses(name)(params, other, means, batch, rng)
    assert abs(loss - changed) > 1e-4
    some = batch._replace(weight=jnp.asarray([1.0, 1.0, 1.0, 0.0]))
    twice = some._replace(hu=some.hu.at[3].set(some.hu[0]))
    (one, first), _ = losses(name)(params, params, means, some, rng)
    (two, second), _ = losses(name)(params, params, means, twice, rng)
    np.testing.assert_allclose(one, two, rtol=1e-5)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5), first, second)


@pytest.mark.slow
def test_the_step_keeps_average_and_centres_and_the_loss_falls():
    objective, params = start("dino")
    optimizer = optax.adam(3e-3)
    state = create_state(params, optimizer, ema=True, metric_means=first_means(objective))
    step = jax.jit(functools.partial(train_step, objective=objective, optimizer=optimizer, ema_decay=0.9))
    found = []
    for i in range(30):
        state, metrics = step(state, batch_of_noise(i % 4), jax.random.key(2))
        found.append({name: float(value) for name, value in metrics.items()})
    assert np.mean([each["loss"] for each in found[-5:]]) < found[0]["loss"] - 0.1
    assert not any("centre" in name for name in found[0])
    assert 0 <= found[-1]["teacher_entropy"] <= np.log(16) + 1e-4
    assert all(float(jnp.abs(mean).max()) > 0 for mean in state.metric_means.values())
    apart = jax.tree.map(lambda a, b: float(jnp.abs(a - b).max()), state.params, state.ema_params)
    assert max(jax.tree.leaves(apart)) > 0
    again = from_stored(to_stored(state))
    jax.tree.map(np.testing.assert_array_equal, again, state)


def test_a_state_without_means_is_stored_as_it_always_was():
    state = create_state({"a": jnp.ones(2)}, optax.sgd(0.1), ema=False)
    assert set(to_stored(state)) == {"step", "params", "opt_state", "ema_params", "guard"}
    jax.tree.map(np.testing.assert_array_equal, from_stored(to_stored(state)), state)


def config(objective, parallel=ONE, ema_decay=0.99):
    return TrainConfig(data=DataConfig(store="store"), objective=objective, parallel=parallel, ema_decay=ema_decay)


def test_without_an_average_there_is_no_teacher():
    objective, _ = start("jepa")
    check_teacher(objective, config(ObjectiveConfig(name="jepa")))
    with pytest.raises(InputError, match=r"--ema-decay.*the teacher of jepa"):
        check_teacher(objective, config(ObjectiveConfig(name="jepa"), ema_decay=0.0))


def test_only_what_compares_scans_needs_the_whole_batch():
    build = OBJECTIVES.find("dino")
    parts = ParallelConfig(accumulate=2)
    alone = ObjectiveConfig(name="dino", spread_weight=0.0)
    check_whole_batch(build(cnn2d(encoder="residual_nano"), alone, SIX), config(alone, parts))
    for compares in (ObjectiveConfig(name="dino"), dataclasses.replace(alone, centring="sinkhorn")):
        with pytest.raises(InputError, match="compares all scans"):
            check_whole_batch(build(cnn2d(encoder="residual_nano"), compares, SIX), config(compares, parts))


@pytest.mark.parametrize("name", ["slice_vit", "vit3d", "vit3d joint", "swin3d"])
def test_jepa_hides_blocks_at_full_depth_where_the_model_sees_the_scan_at_once(name):
    objective = OBJECTIVES.find("jepa")(MODELS[name][1](), SETTINGS, SIX)
    batch = batch_of_noise()
    tissue = objective._tissue(batch)
    hidden = np.asarray(objective._hidden(jax.random.key(1), tissue))
    places = np.asarray(tissue)
    if name == "slice_vit":
        assert (hidden[0, 0] != hidden[0, 1]).any()
    else:
        same = hidden.any(1, keepdims=True) & places
        np.testing.assert_array_equal(hidden, same)
    assert abs(hidden.sum() / places.sum() - SETTINGS.mask_ratio) < 0.1


@pytest.mark.parametrize("masks", SAME_IN_ALL_SLICES)
@pytest.mark.parametrize("objective", ["mae", "jepa", "spark"])
def test_masks_at_the_same_places_of_all_slices_are_so_for_a_model_of_slices_too(objective, masks):
    settings = dataclasses.replace(SETTINGS, masks=masks)
    built = OBJECTIVES.find(objective)(MODELS["cnn2d" if objective == "spark" else "slice_vit"][1](), settings, SIX)
    tissue = built._tissue(batch_of_noise())
    hidden = np.asarray(built._hidden(jax.random.key(1), tissue))
    assert hidden.any()
    np.testing.assert_array_equal(hidden, hidden.any(1, keepdims=True) & np.asarray(tissue))


def test_jepa_refuses_other_families():
    with pytest.raises(InputError, match=r"--model\.name.*jepa pretrains"):
        OBJECTIVES.find("jepa")(cnn2d(encoder="residual_nano"), SETTINGS, SIX)
