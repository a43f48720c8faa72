"""Training on a share of the patients: which are drawn, and that a run knows of no others."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ichformer as ich
from ichformer.errors import InputError
from ichformer.labels import LabelSet
from ichformer.pipeline.augmentation.augment import Augmentation
from ichformer.pipeline.known_labels import known_labels
from ichformer.pipeline.label_statistics import scan_statistics
from ichformer.pipeline.loader import training_batches
from ichformer.pipeline.store.records import Store
from ichformer.training.config import DataConfig, ModelConfig, ParallelConfig, TrainConfig
from ichformer.training.few_patients import drawn_part
from ichformer.training.runs.run import seen_scans
from ichformer.training.trainer import run_training

LABELS = st.lists(st.sampled_from([0.0, 1.0, np.nan]), min_size=2, max_size=40)


def store_of(labels: list[float], *, scans: int = 2) -> Store:
    """A store without records: one patient a label with some scans, of which the first alone has the label.

    The last patient is of the split "val".
    """
    rows = [
        {"origin": "here", "patient": f"p{i}", "split": "train", "any": label if scan == 0 else np.nan}
        for i, label in enumerate([*labels, 1.0])
        for scan in range(scans)
    ]
    index = pd.DataFrame(rows)
    index.loc[index["patient"] == f"p{len(labels)}", "split"] = "val"
    return Store(path=Path("store"), config={}, index=index, label_set=LabelSet(names=("any",)))


def drawn(store: Store, fraction: float, draw: int = 1) -> set[str]:
    part = drawn_part(store, DataConfig(store="store", fraction=fraction, draw=draw))
    return set(part.index["patient"].iloc[part.rows("train")])


@given(LABELS, st.floats(0.01, 1), st.integers(1, 9))
def test_the_same_share_of_each_class_is_left_and_scans_go_with_their_patient(labels, fraction, draw):
    store = store_of(labels)
    try:
        patients = drawn(store, fraction, draw)
    except InputError:
        assert fraction * np.isin(labels, (0, 1)).sum() < 1.5  # fewer than two patients whose label is known
        return
    part = drawn_part(store, DataConfig(store="store", fraction=fraction, draw=draw))
    assert len(part.rows("train")) == 2 * len(patients)
    np.testing.assert_array_equal(part.rows("val"), store.rows("val"))
    own = np.array([f"p{i}" in patients for i in range(len(labels))])
    values = np.array(labels)
    for of_class in (values == 1, values == 0, np.isnan(values)):
        expected = fraction * of_class.sum()
        assert abs(own[of_class].sum() - expected) <= 1.5
    if {0.0, 1.0} <= set(labels):
        assert {0.0, 1.0} <= set(values[own])


@given(LABELS, st.floats(0.3, 1), st.floats(0.3, 1))
def test_a_larger_share_holds_a_smaller_one(labels, one, other):
    store, (few, many) = store_of(labels * 3), sorted((one, other))
    assert drawn(store, few) <= drawn(store, many)


def test_each_draw_is_another_and_comes_again():
    store = store_of([0.0, 1.0] * 20)
    draws = [drawn(store, 0.2, number) for number in (1, 2, 3, 1)]
    assert draws[0] == draws[3]
    assert len(set(map(frozenset, draws))) == 3
    assert drawn(store, 1.0) == {f"p{i}" for i in range(40)}


def test_a_share_without_both_classes_is_refused():
    with pytest.raises(InputError, match=r"--data.fraction: 2.5 % of 40 labelled training patients are fewer than two"):
        drawn(store_of([0.0, 1.0] * 20), 0.025)
    with pytest.raises(InputError, match=r"--data.fraction: 1 % of 20 patients are none; take a larger share"):
        drawn(store_of([np.nan] * 20), 0.01)
    for value in (0.0, 1.5):
        with pytest.raises(InputError, match=r"--data.fraction: .* is out of range; take a number above 0"):
            DataConfig(store="store", fraction=value)


@pytest.mark.slow
def test_batches_and_statistics_are_of_the_drawn_patients(tiny_store):
    store = Store.open(tiny_store)
    data = DataConfig(store=str(tiny_store), fraction=0.4, batch_size=4)
    part = drawn_part(store, data)
    assert 1 < len(part.rows("train")) < len(store.rows("train"))
    batches = training_batches(part, split="train", seed=0, batch_size=4, num_slices=2, augmentation=Augmentation())
    rows = {int(row) for _ in range(6) for row in next(batches).row}
    batches.close()
    assert rows == set(part.rows("train").tolist())
    known = known_labels(part, "train", num_slices=2)
    labels = part.index["any"].iloc[part.rows("train")]
    assert known.n_scans == len(labels)
    assert known.counts["any"].negative_scans == (labels == 0).sum()
    counts = known.counts["any"]
    assert scan_statistics(known).log_odds[ich.LABELS.index("any")] == pytest.approx(
        np.log(counts.positive_scans / counts.negative_scans)
    )


@pytest.mark.slow
def test_a_run_knows_of_the_drawn_scans_only(tiny_store, tmp_path):
    run = tmp_path / "run"
    config = TrainConfig(
        data=DataConfig(store=str(tiny_store), fraction=0.4, batch_size=2, num_slices=2),
        model=ModelConfig(name="slice_vit_nano"),
        parallel=ParallelConfig(data=1),
        steps=1,
    )
    run_training(config, run, progress=False)
    store = Store.open(tiny_store)
    part = drawn_part(store, config.data)
    expected = part.index.iloc[part.rows("train")]
    assert set(seen_scans(run)["series"]) == set(expected["series"])
    assert len(expected) < len(store.rows("train"))
    assert json.loads((run / "labels.json").read_text())["n_scans"] == len(expected)
    for changes in ({"fraction": 1.0}, {"draw": 2}):
        other = dataclasses.replace(config, data=dataclasses.replace(config.data, **changes))
        with pytest.raises(InputError, match=f"a run with another data.{next(iter(changes))} is there"):
            run_training(other, run, progress=False)
    before = (run / "metrics.jsonl").read_bytes()
    run_training(config, run, progress=False)
    assert (run / "metrics.jsonl").read_bytes() == before
