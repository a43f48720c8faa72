"""Run folders from strangers, and damaged ones: each file is read as what it is, or refused in one line."""

import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ichformer.ct.windows import WINDOWS
from ichformer.errors import InputError
from ichformer.evaluation.ood import OOD_NAME, fit_ood, read_ood, write_ood
from ichformer.evaluation.tables.checked import check_table
from ichformer.evaluation.thresholds import THRESHOLDS_NAME, fix_thresholds, read_thresholds
from ichformer.inference.ensembles import ENSEMBLE_NAME
from ichformer.inference.trained import open_trained
from ichformer.objectives.classification import Classification
from ichformer.pipeline.preparation.config import PrepareConfig
from ichformer.training.config import DataConfig, TrainConfig, read_config
from ichformer.training.labels import LABELS_NAME, as_trained
from ichformer.training.monitoring.writers import JsonLines
from ichformer.training.runs.fingerprint import fingerprint
from ichformer.training.runs.run import read_facts
from ichformer.training.runs.store_path import find_store
from ichformer.workflows.predict_scans import predict
from tests.evaluation.tables import prediction_table, write_thresholds
from tests.workflows.counter import BloodCounter, open_counter, write_head

CONFIG = json.loads(TrainConfig(data=DataConfig(store="store")).to_json())
FACTS = {
    "prepare": dataclasses.asdict(PrepareConfig()),
    "store_from_run": "../store",
    "trained_outputs": {"slice": ["any"], "scan": ["any"]},
    "commit": "abc123+changes",
    "versions": {"python": "3.11.7", "jax": "0.10.2"},
    "hardware": {"devices": ["NVIDIA H200"] * 2, "processor": "x86_64", "cores": 16},
    "pretrained": {"file": "w.npz", "sha256": "0" * 64, "layout": "timm"},
    "contract": {"axes": "LPS", "windows_hu": [[0.0, 80.0]], "stages": [{"objective": "mae", "recipe": 3}]},
}
LABELS_FILE = {"split": "train", "trained": {"slice": [], "scan": ["any", "subdural"]}}
ENSEMBLE = {"version": 1, "views": ["plain"], "members": [{"run": "a", "step": 1, "weight": 1.0}]}


def changed(values: Any, way: str, value: Any) -> Any:
    """A copy of nested values with another one at the place "a.b.0"; without it where ``value`` is ``...``."""
    copy = json.loads(json.dumps(values))
    *outer, last = [int(part) if part.isdigit() else part for part in way.split(".")]
    inner = copy
    for part in outer:
        inner = inner[part]
    if value is ...:
        del inner[last]
    else:
        inner[last] = value
    return copy


def refused(read: Callable[[Path], object], path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(InputError) as error:
        read(path)
    said = str(error.value)
    assert said.isprintable()
    assert str(path.parent) in said
    return said


def read_labels(path: Path) -> Classification:
    return as_trained(Classification(model=BloodCounter(), windows=(WINDOWS["brain"],)), path.parent)


READERS: dict[str, tuple[Callable[[Path], object], dict[str, Any]]] = {
    "config.json": (read_config, CONFIG),
    "run.json": (read_facts, FACTS),
    LABELS_NAME: (read_labels, LABELS_FILE),
    THRESHOLDS_NAME: (read_thresholds, {"format": "ichformer thresholds 1"}),
    ENSEMBLE_NAME: (lambda path: open_trained(path.parent), ENSEMBLE),
}
HOSTILE = {
    "nothing": "",
    "cut": '{"version": 1, "da',
    "a list": "[]",
    "null": "null",
    "a number": "5",
    "a text": '"x"',
    "deep lists": "[" * 100_000,
    "deep objects": '{"version":' * 100_000,
    "a thousand digits": '{"version": ' + "9" * 1000 + "}",
    "a million digits": '{"version": ' + "9" * 1_000_000 + "}",
    "not UTF-8": '{"version": "\udcff"}',
    "half a pair": '{"version": 1, "x": "\\ud800"}',
    "a key twice": '{"version": 1, "version": 1}',
    "infinite": '{"version": 1e999}',
    "not a number": '{"version": NaN}',
    "a terminal's escape": '{"version": "\\u001b[2J", "format": "\\u001b[2J"}',
}


@pytest.mark.parametrize("name", READERS)
def test_what_is_no_such_file(name, tmp_path):
    read, _ = READERS[name]
    for text in HOSTILE.values():
        assert len(refused(read, tmp_path / name, text)) < 700


@pytest.mark.parametrize("name", READERS)
def test_a_pipe_is_not_waited_for_and_a_large_file_not_read(name, tmp_path):
    read, _ = READERS[name]
    path = tmp_path / name
    os.mkfifo(path)
    with pytest.raises(InputError, match="is no regular file"):
        read(path)
    path.unlink()
    with path.open("wb") as file:
        file.truncate(1 << 40)  # a hole: no block is taken
    with pytest.raises(InputError, match="is larger than"):
        read(path)


def test_what_is_right_is_read(tmp_path):
    for name, values in (("config.json", CONFIG), ("run.json", FACTS), (LABELS_NAME, LABELS_FILE)):
        (tmp_path / name).write_text(json.dumps(values))
    assert json.loads(read_config(tmp_path / "config.json").to_json()) == CONFIG
    assert read_facts(tmp_path / "run.json") == FACTS
    assert read_labels(tmp_path / LABELS_NAME).scan_labels == ("any", "subdural")
    # Runs of earlier versions lack some facts; later ones may have more.
    for facts in ({"prepare": {}}, FACTS | {"new": [1]}, FACTS | {"trained_outputs": None}):
        (tmp_path / "run.json").write_text(json.dumps(facts))
        assert read_facts(tmp_path / "run.json") == facts


@pytest.mark.parametrize(
    ("name", "way", "value", "said"),
    [
        ("config.json", "version", 2, "layout version 2, this ichformer reads 1"),
        ("config.json", "new", 1, "TrainConfig has no setting 'new'; take it out"),
        ("config.json", "model.new", 1, "ModelConfig has no setting 'new'; take it out"),
        ("config.json", "data", ..., "missing required field data"),
        ("config.json", "data.store", ["x"], "data.store: Expected str, got array"),
        ("config.json", "model", 5, "model: Expected object, got int"),
        ("config.json", "model.name", None, "model.name: Expected str, got null"),
        ("config.json", "steps", 1e3, "steps: Expected int, got float"),
        ("config.json", "steps", 1 << 40, "config.json, --steps: 1099511627776 is out of range"),
        ("config.json", "objective.neighbours", 10**9, "--objective.neighbours: 1000000000 is out of range"),
        ("config.json", "objective.windows", ["brain"] * 100_000, "--objective.windows"),
        ("config.json", "objective.windows", ["lung"], "there is no window 'lung'"),
        ("config.json", "objective.decoder_width", 1 << 30, "a multiple of 32, at most 8192"),
        ("config.json", "objective.decoder_depth", 10**9, "1 to 128 blocks"),
        ("config.json", "data.batch_size", 1 << 50, "1 to 1048576 scans"),
        ("config.json", "data.num_slices", 10**9, "1 to 10000 slices"),
        ("config.json", "data.num_workers", 10**6, "0 to 1024 processes"),
        ("config.json", "optim.name", "adam", "Invalid enum value 'adam'"),
        ("config.json", "data.augmentation.flip", 2, "augmentation.flip: found 2"),
        ("run.json", "prepare", ..., "missing required field prepare"),
        ("run.json", "prepare.size", 10**9, "size: found 1000000000; give 16 to 1024 rows and columns"),
        ("run.json", "prepare.size", "32", "size: Expected int, got str"),
        ("run.json", "prepare.new", 1, "PrepareConfig has no setting 'new'"),
        ("run.json", "versions", ["0.1"], "versions: Expected object, got array"),
        ("run.json", "versions", {"jax": {"a": 1}}, "versions[...]: Expected str | null, got object"),
        ("run.json", "versions", {"jax": "0.1\x1b[31m"}, "versions[...]: Expected str matching regex"),
        ("run.json", "commit", ["abc"], "commit: Expected str, got array"),
        ("run.json", "commit", "a\nb", "commit: Expected str matching regex"),
        ("run.json", "commit", "a" * 100_000, "commit: Expected str of length <= 500"),
        ("run.json", "hardware.devices", "cpu", "hardware.devices: Expected array, got str"),
        ("run.json", "hardware.cores", "many", "hardware.cores: Expected int | null, got str"),
        ("run.json", "pretrained", "x.pt", "pretrained: Expected object, got str"),
        ("run.json", "store_from_run", 3, "store_from_run: Expected str, got int"),
        ("run.json", "trained_outputs.scan", ["brain"], "brain is not in the label set"),
        ("run.json", "trained_outputs.scan", ["\x1b"], "trained_outputs.scan[0]: Expected str matching regex"),
        ("run.json", "contract", ["LPS"], "contract: does not hold what it should"),
        ("run.json", "contract.stages.0.recipe", "3", "stages[0].recipe: Expected int | null, got str"),
        ("run.json", "contract.windows_hu", [[0, 80, 1]], "windows_hu[0]"),
        ("run.json", "contract.axes", "\x1b", "axes: Expected str matching regex"),
        ("run.json", "label_set", {"names": ["a b"]}, "'a b' cannot name a label"),
        ("run.json", "label_set", {"names": [], "targets": []}, "names no label and no target"),
        ("run.json", "label_set", ["any"], "label_set: does not hold what it should"),
        (LABELS_NAME, "trained", ..., "missing required field trained"),
        (LABELS_NAME, "trained.slice", 7, "trained.slice: Expected array, got int"),
        (LABELS_NAME, "trained.scan", [["any"]], "trained.scan[0]: Expected str, got array"),
        (LABELS_NAME, "trained.scan", ["stroke"], "Classification.scan_labels: ('stroke',) is out of range"),
        (ENSEMBLE_NAME, "version", "1", "layout version '1'"),
        (ENSEMBLE_NAME, "views", [], "views: Expected array of length >= 1"),
        (ENSEMBLE_NAME, "views", [5], "views[0]: Expected str, got int"),
        (ENSEMBLE_NAME, "members", {"a": 1}, "members: Expected array, got object"),
        (ENSEMBLE_NAME, "members", [{"step": 1, "weight": 1}] * 10_000, "members: Expected array of length <= 1000"),
        (ENSEMBLE_NAME, "members.0.step", 1.5, "members[0].step: Expected int, got float"),
        (ENSEMBLE_NAME, "members.0.weight", "1", "members[0].weight: Expected float, got str"),
    ],
)  # fmt: skip
def test_values_of_other_types_and_out_of_bounds(name, way, value, said, tmp_path):
    read, values = READERS[name]
    assert said in refused(read, tmp_path / name, json.dumps(changed(values, way, value)))


@pytest.mark.parametrize(
    ("way", "value", "said"),
    [
        ("split", 5, "split: Expected str, got int"),
        ("split", "val\x1b[31m", "split: Expected str matching regex"),
        ("n_patients", "60", "n_patients: Expected int, got str"),
        ("n_patients", -1, "n_patients: Expected int >= 0"),
        ("thresholds", {}, "thresholds: Expected array, got object"),
        ("thresholds", [], "holds no threshold for any of epidural, "),
        ("thresholds.0.n_positive", "7", "thresholds[0].n_positive: Expected int, got str"),
        ("thresholds.0.n_positive", 10**400, "whole number of 401 digits"),
        ("thresholds.1.value", 1.5, "thresholds[1].value: Expected float <= 1.0"),
        ("thresholds.1.rule", ..., "missing required field rule"),
        ("thresholds.1.level", "brain", "thresholds[1].level: Invalid enum value 'brain'"),
        ("format", "ichformer thresholds 9", "its format is 'ichformer thresholds 9'"),
    ],
)
def test_thresholds(way, value, said, tmp_path):
    path = write_thresholds(
        fix_thresholds(check_table(prediction_table("val", n_patients=20))), tmp_path / THRESHOLDS_NAME
    )
    assert said in refused(read_thresholds, path, json.dumps(changed(json.loads(path.read_text()), way, value)))


def test_thresholds_of_other_labels_and_of_another_model(tmp_path):
    table = prediction_table("val", n_patients=20)
    path = write_thresholds(fix_thresholds(check_table(table)), tmp_path / THRESHOLDS_NAME)
    assert read_thresholds(path, model="a").thresholds  # of an earlier version, which did not say whose they are
    found = dataclasses.replace(fix_thresholds(check_table(table)), model="a")
    write_thresholds(found, path)
    assert read_thresholds(path, model="a") == found
    with pytest.raises(InputError, match="was made with other weights than this model has"):
        read_thresholds(path, model="b")
    with pytest.raises(InputError, match="holds no threshold for any of stroke, tumour"):
        read_thresholds(path, labels=("stroke", "tumour"))


def distance(d: int, model: str) -> Any:
    random = np.random.default_rng(0)
    found = fit_ood(random.standard_normal((9, d)), random.standard_normal((5, d)))
    return dataclasses.replace(found, model=model)


def test_an_ood_of_another_model_is_recognised(tmp_path, monkeypatch):
    """An honest mix-up: a file that was copied from another run."""
    run = open_counter(tmp_path / "run", monkeypatch)
    head = write_head(tmp_path / "head")
    write_ood(distance(7, "0" * 32), run.path / OOD_NAME)
    with pytest.raises(InputError, match=r"ood.npz: was made with other weights than this model has"):
        predict(head, run=run.path, out=tmp_path / "out")
    # Of an earlier version, which did not say so: the number of features tells.
    write_ood(distance(7, ""), run.path / OOD_NAME)
    with pytest.raises(InputError, match=r"ood.npz: holds 7 features, and this model gives \d+"):
        predict(head, run=run.path, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_an_ood_of_gigabytes_is_refused(tmp_path):
    path = tmp_path / OOD_NAME
    found = distance(3, "")
    arrays = {"mean": found.mean, "scale": found.scale, "precision": found.precision, "usual": found.usual}
    np.savez_compressed(path, format=np.array("ichformer ood 2"), **arrays | {"usual": np.zeros(1 << 27)})
    assert path.stat().st_size < 2 << 20
    with pytest.raises(InputError, match="unpacks to more than"):
        read_ood(path)
    for changes in (
        {"mean": np.array(["a"] * 3)},
        {"mean": np.zeros(3, [("a", "f8")])},
        {"precision": np.zeros((3, 3), np.complex128)},
        {"usual": np.array(5.0)},
        {"model": np.array([b"x"])},
        {"format": np.zeros(2)},
    ):
        np.savez(path, **{"format": np.array("ichformer ood 2")} | arrays | changes)
        with pytest.raises(InputError, match="delete it"):
            read_ood(path)


def test_a_flipped_bit_of_an_ood_is_found(tmp_path):
    path, random = tmp_path / OOD_NAME, np.random.default_rng(0)
    write_ood(distance(4, "abc"), path)
    data, whole = path.read_bytes(), read_ood(path)
    for _ in range(200):
        flipped = bytearray(data)
        flipped[int(random.integers(len(data)))] ^= 1 << int(random.integers(8))
        path.write_bytes(flipped)
        try:
            found = read_ood(path)
        except InputError:
            continue
        for name in ("mean", "scale", "precision", "usual"):
            np.testing.assert_array_equal(getattr(found, name), getattr(whole, name))


def test_a_fingerprint_changes_with_every_parameter():
    params = {"a": {"kernel": np.arange(6.0, dtype=np.float32).reshape(2, 3)}, "b": np.zeros(2, np.float32)}
    other = {"a": {"kernel": params["a"]["kernel"].copy()}, "b": params["b"]}
    assert fingerprint(params) == fingerprint(other)
    assert len(fingerprint(params)) == 32
    other["a"]["kernel"].view(np.uint32)[1, 2] ^= 1
    changes = [other, {"a": params["a"]}, {"c": params["a"], "b": params["b"]}]
    changes += [{"a": {"kernel": params["a"]["kernel"].T}, "b": params["b"]}]
    assert len({fingerprint(params), fingerprint(params, beside=[0.5]), *map(fingerprint, changes)}) == 6


@pytest.mark.parametrize("told", ["a\0b", "x" * 300, "/" + "x/" * 5000, "\udcff", "\x1b[31m"])
def test_a_store_that_no_path_can_name_is_not_there(told, tmp_path):
    with pytest.raises(InputError, match="the store that the run was trained on is not there"):
        find_store(told, tmp_path, told)


def test_a_run_that_names_no_store_is_named_itself(tmp_path):
    with pytest.raises(InputError, match=f"{tmp_path}: does not say which store it was trained on, as a bundle never"):
        find_store("", tmp_path, "")


def test_lines_of_metrics_that_make_no_sense_are_dropped_when_a_run_goes_on(tmp_path):
    path = tmp_path / "metrics.jsonl"
    good = ['{"step": 1, "loss": 0.5}', '{"step": 2, "loss": NaN}', '{"step": 3, "loss": 0.25, "more": [1]}']
    bad = ["", "[]", "{}", '{"step": "1"}', '{"step": 1e999}', '{"step": 9}', "[" * 9000, '{"step": 3, "lo', "\udcff"]
    path.write_text("\n".join([*good, *bad]), encoding="utf-8", errors="surrogateescape")
    JsonLines(path, resumed_step=3)
    assert path.read_text().splitlines() == good
