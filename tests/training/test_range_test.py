"""The learning rate range test: losses whose fall is known, noise, and a store."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ichformer.errors import InputError
from ichformer.pipeline.store.records import Store
from ichformer.training.config import DataConfig, ModelConfig, TrainConfig
from ichformer.training.optimizer.range_test import has_diverged, range_test, rising_rate, smoothed
from ichformer.workflows.find_learning_rate import find_learning_rate

RATES = np.geomspace(1e-6, 1, 100)


def losses(seed: int, *, falls_by: float, noise: float) -> np.ndarray:
    """Level below 1e-4, falling on the logarithm of the rate to 1e-2, then rising steeply."""
    logs, rng = np.log10(RATES), np.random.default_rng(seed)
    fall = np.interp(logs, [-6, -4, -2, -1, 0], [0, 0, -falls_by, -falls_by, 3])
    return 1.0 + fall + rng.normal(0, noise, len(RATES))


@given(seed=st.integers(0, 2**31), noise=st.floats(0.0, 0.15))
def test_the_suggested_rate_lies_in_the_fall(seed, noise):
    found = range_test(RATES, losses(seed, falls_by=0.6, noise=noise))
    assert found.suggested is not None
    assert 1e-5 < found.suggested < 2e-2


def test_noise_and_a_loss_that_rises_give_no_suggestion():
    suggested = [range_test(RATES, losses(seed, falls_by=0.0, noise=0.2)).suggested for seed in range(200)]
    assert sum(one is not None for one in suggested) <= 10
    assert range_test(RATES, np.linspace(1, 2, 100)).suggested is None
    assert range_test(RATES[:5], np.linspace(2, 1, 5)).suggested is None


def test_what_follows_a_number_that_is_none_is_left_out():
    told = losses(0, falls_by=0.6, noise=0.05)
    told[70:] = np.nan
    found = range_test(RATES, told)
    assert len(found.losses) == len(found.rates) == len(found.smooth) == 70
    assert found.suggested is not None
    assert has_diverged(told)
    assert not has_diverged(told[:70])
    assert range_test(RATES, np.full(100, np.nan)).suggested is None


def test_the_running_mean_is_that_of_pandas():
    told = losses(1, falls_by=0.6, noise=0.2)
    np.testing.assert_allclose(smoothed(told), pd.Series(told).ewm(alpha=0.1).mean(), rtol=1e-12)


def test_the_rate_rises_by_the_same_factor():
    rate = rising_rate(1e-6, 1.0, 100)
    np.testing.assert_allclose([rate(k) for k in range(100)], RATES, rtol=1e-4)


@pytest.mark.slow
def test_a_store_gives_a_table_and_a_picture_and_is_left_as_it_is(tiny_store, tmp_path):
    config = TrainConfig(
        data=DataConfig(store=str(tiny_store), batch_size=8, num_slices=4), model=ModelConfig(name="cnn2d_nano")
    )
    before = sorted(tiny_store.rglob("*"))
    found = find_learning_rate(config, tmp_path / "lr", steps=20, highest=10.0, progress=False)
    table = pd.read_csv(tmp_path / "lr" / "learning_rates.csv")
    np.testing.assert_allclose(table["loss"], found.losses)
    assert (tmp_path / "lr" / "learning_rates.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(tiny_store.rglob("*")) == before
    assert len(Store.open(tiny_store).index) > 0
    again = find_learning_rate(config, tmp_path / "again", steps=20, highest=10.0, progress=False)
    np.testing.assert_array_equal(again.losses, found.losses)


@pytest.mark.parametrize("wrong", [{"lowest": 0.0}, {"lowest": 2.0, "highest": 1.0}, {"steps": 3}, {"steps": 10**6}])
def test_ranges_that_make_no_sense_are_refused(tmp_path, wrong):
    config = TrainConfig(data=DataConfig(store="none"))
    with pytest.raises(InputError):
        find_learning_rate(config, tmp_path / "lr", **wrong)
    assert list(tmp_path.iterdir()) == []
