"""The bench of the loader counts what it draws, and its shares are parts of a whole."""

import json

import pytest

from ichformer.bench.loader import bench_loader
from ichformer.cli import main
from ichformer.cohorts.registry import COHORTS
from ichformer.errors import InputError
from ichformer.pipeline.preparation.config import PrepareConfig
from ichformer.testing import tiny_cohort
from tests.stores import prepare_here


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bench")
    index = COHORTS["phantom"](tiny_cohort(folder / "cohort", scans=2), cache=folder / "cache")
    return prepare_here(index.assign(split="train"), folder / "store", PrepareConfig(size=64)).path


@pytest.mark.slow
def test_figures_fit_each_other(capsys, store):
    main(["bench", "loader", str(store), "--batches", "3", "--batch-size", "2", "--num-slices", "5", "--json"])
    found = json.loads(capsys.readouterr().out)
    series_mb = 5 * 64 * 64 * 2 / 1e6
    assert found["mb_per_s"] == pytest.approx(found["series_per_s"] * series_mb)
    assert found["series_per_s"] > 0
    shares = [found[f"{name}_share"] for name in ("read", "decode", "augment")]
    assert sum(shares) == pytest.approx(1)
    assert min(shares) > 0
    assert {name: found[name] for name in ("batches", "workers", "batch_size", "num_slices")} == {
        "batches": 3,
        "workers": 0,
        "batch_size": 2,
        "num_slices": 5,
    }
    main(["bench", "loader", str(store), "--batches", "1"])
    said = capsys.readouterr().out
    assert "series/s" in said
    assert "decode" in said


def test_what_cannot_be_measured(store):
    with pytest.raises(InputError, match="batches: found 0; give 1 or more"):
        bench_loader(store, batches=0)
    with pytest.raises(InputError, match="it has: train"):
        bench_loader(store, split="test")
