"""Channels of the scans that are trained on have mean 0 and standard deviation 1, whatever the windows."""

import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler

from ichformer.cohorts.registry import COHORTS
from ichformer.ct.windows import WINDOWS, Window, apply_windows
from ichformer.models.layers.standardise import STANDARDISE, Standardise
from ichformer.pipeline.store.records import Store
from ichformer.testing import tiny_cohort
from ichformer.training.config import DataConfig, ModelConfig, ObjectiveConfig, ParallelConfig, TrainConfig
from ichformer.training.input_scale import standardise_inputs
from ichformer.training.runs.run import Run
from ichformer.training.state import TrainState
from ichformer.training.trainer import run_training
from tests.stores import prepare_here

NAMES = ("hu_0_20", "hu_40_60", "bone")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("store")
    index = COHORTS["phantom"](tiny_cohort(folder / "cohort", scans=6), cache=folder / "cache")
    return prepare_here(index.assign(split=["train"] * 4 + ["test"] * 2), folder / "store")


def state_of(params, ema_params=None) -> TrainState:
    return TrainState(step=0, params=params, opt_state=(), ema_params=ema_params, metric_means={}, guard=())


def layer(channels: int):
    return {"encoder": {STANDARDISE: {"mean": np.zeros(channels, np.float32), "sd": np.ones(channels, np.float32)}}}


@pytest.mark.slow
def test_a_run_starts_from_the_scans_of_its_split_and_leaves_them_as_they_are(store, tmp_path):
    config = TrainConfig(
        data=DataConfig(store=str(store.path), batch_size=8, num_slices=2),
        objective=ObjectiveConfig(windows=NAMES, neighbours=1),
        model=ModelConfig(name="cnn2d_nano"),
        parallel=ParallelConfig(data=1),
        steps=2,
        ema_decay=0.5,
    )
    run_training(config, tmp_path / "run", progress=False)
    found = Run.open(tmp_path / "run").params["encoder"][STANDARDISE]
    windows = tuple(WINDOWS[name] for name in NAMES)
    scans = [apply_windows(store.read(int(row)).volume.hu, windows) for row in store.rows("train")]
    # Each scan weighs the same, however many slices it has.
    weights = np.concatenate([np.full(scan[..., 0].size, 1 / scan[..., 0].size) for scan in scans])
    voxels = np.concatenate([scan.reshape(-1, 3) for scan in scans]).astype(np.float64)
    scaler = StandardScaler().fit(voxels, sample_weight=weights)
    np.testing.assert_allclose(found["mean"], np.tile(scaler.mean_, 3), rtol=1e-5)
    np.testing.assert_allclose(found["sd"], np.tile(scaler.scale_, 3), rtol=1e-5)
    channels = Standardise().apply({"params": {n: v[:3] for n, v in found.items()}}, jnp.asarray(voxels, jnp.float32))
    np.testing.assert_allclose(channels, scaler.transform(voxels), atol=1e-3)


def test_a_window_without_anything_in_it_is_not_blown_up(store):
    windows = (Window(center_hu=20_000, width_hu=10),)
    state = standardise_inputs(state_of(layer(1)), store, split="train", windows=windows, neighbours=0)
    found = state.params["encoder"][STANDARDISE]
    assert found["mean"] == 0
    assert found["sd"] == pytest.approx(0.02)


def test_the_running_mean_starts_from_the_same_and_what_is_no_such_layer_stays(store):
    other = {"head": {"mean": np.full(2, 7.0)}}
    windows = (WINDOWS["brain"], WINDOWS["bone"])
    state = state_of(layer(2) | other, layer(2) | other)
    found = standardise_inputs(state, store, split="train", windows=windows, neighbours=0)
    assert (found.params["encoder"][STANDARDISE]["sd"] < 1).all()
    for name in ("mean", "sd"):
        values = [params["encoder"][STANDARDISE][name] for params in (found.params, found.ema_params)]
        np.testing.assert_array_equal(*values)
        assert values[0] is not values[1]  # a step gives its state's memory up
    np.testing.assert_array_equal(found.params["head"]["mean"], 7)


def test_nothing_is_read_where_the_model_has_no_such_layer(store, monkeypatch):
    monkeypatch.setattr(Store, "read", None)
    state = state_of({"encoder": {"mean": np.zeros(3)}})
    assert standardise_inputs(state, store, split="train", windows=(), neighbours=0) is state
