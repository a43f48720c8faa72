import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ichformer.ct.windows import WINDOWS, apply_windows
from ichformer.errors import InputError
from ichformer.objectives.inputs import model_inputs
from ichformer.training.build import build_objective
from ichformer.training.config import DataConfig, ModelConfig, ObjectiveConfig, TrainConfig

TWO = (WINDOWS["brain"], WINDOWS["bone"])


@functools.cache
def two_windows(k: int):
    return jax.jit(lambda hu, mask: model_inputs(hu, mask, TWO, k))


@pytest.mark.slow
@settings(max_examples=25)
@given(slices=st.integers(1, 5), before=st.integers(0, 2), after=st.integers(0, 2), k=st.integers(0, 2))
def test_channels_are_the_windows_of_the_slices_around(slices, before, after, k):
    """Against the sentence that defines it, read out loop by loop."""
    total = before + slices + after
    hu = np.random.default_rng(slices).integers(-50, 150, (1, total, 2, 2)).astype(np.int16)
    mask = (np.arange(total) >= before) & (np.arange(total) < before + slices)
    got = np.asarray(two_windows(k)(hu, mask[None]))
    assert got.shape == (1, total, 2, 2, 2 * (2 * k + 1))
    for s in np.flatnonzero(mask):
        around = [t if 0 <= t < total and mask[t] else s for t in range(s - k, s + k + 1)]
        want = np.concatenate([apply_windows(hu[0, t], TWO) for t in around], axis=-1)
        np.testing.assert_allclose(got[0, s], want, atol=1e-6)


def test_a_run_may_ask_for_neighbours():
    config = TrainConfig(
        data=DataConfig(store=""),
        model=ModelConfig(name="slice_vit_nano"),
        objective=ObjectiveConfig(windows=("brain",), neighbours=1),
    )
    objective = build_objective(config)
    assert objective.inputs(jnp.zeros((1, 4, 8, 8), jnp.int16), jnp.ones((1, 4), bool)).shape == (1, 4, 8, 8, 3)
    with pytest.raises(InputError, match=r"--objective\.neighbours: -1"):
        ObjectiveConfig(neighbours=-1)


def test_a_slice_that_is_seen_alone_is_its_own_neighbour():
    hu = np.random.default_rng(0).integers(-50, 150, (2, 4, 2, 2)).astype(np.int16)
    mask = np.ones((2, 4), bool)
    got = model_inputs(jnp.asarray(hu), jnp.asarray(mask), TWO, 1, jnp.asarray([False, True]))
    np.testing.assert_allclose(got[0], model_inputs(jnp.asarray(hu[:1]), jnp.asarray(mask[:1]), TWO, 1)[0], atol=1e-6)
    np.testing.assert_allclose(got[1], jnp.tile(apply_windows(hu[1], TWO, jnp), 3), atol=1e-6)


def test_training_drops_the_neighbours_of_some_scans_and_prediction_of_none():
    settings = {"windows": ("brain",), "neighbours": 1}
    data, model = DataConfig(store=""), ModelConfig(name="cnn2d_nano")
    often, never = (
        build_objective(TrainConfig(data=data, model=model, objective=ObjectiveConfig(**settings, **more)))
        for more in ({"neighbour_dropout": 0.25}, {})
    )
    share = np.mean([often._alone(jax.random.key(seed), 16) for seed in range(100)])
    assert abs(share - 0.25) < 0.05
    assert never._alone(jax.random.key(0), 16) is None
    with pytest.raises(InputError, match=r"--objective\.neighbour-dropout: 2"):
        ObjectiveConfig(neighbour_dropout=2.0)
