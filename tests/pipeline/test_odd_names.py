"""Folders whose names are no UTF-8, or forge what is printed, from the phantoms to the store and its records."""

import json
import os
from pathlib import Path

import pytest

from ichformer.cli import main
from ichformer.cohorts.registry import COHORTS
from ichformer.files.writing import path_text
from ichformer.pipeline.store.records import Store
from ichformer.testing import tiny_cohort
from tests.stores import prepare_here

NAMES = [os.fsdecode(b"b\xe9"), "a\nb\x1b[31m\u202ec", "-rf"]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_store_is_prepared_and_read(tmp_path, name):
    cohort, out = tiny_cohort(tmp_path / name / "cohort", scans=2), tmp_path / name / "store"
    index = COHORTS["phantom"](cohort, cache=out / "cache")
    index["split"] = "train"
    prepare_here(index, out)
    store = Store.open(out)
    assert len(store.index) == 2
    plain = prepare_here(COHORTS["phantom"](tiny_cohort(tmp_path / "c", scans=2), cache=tmp_path), tmp_path / "s")
    assert [store.record(row) for row in (0, 1)] == [plain.record(row) for row in (0, 1)]


def test_a_cohort_moves_with_its_folder(tmp_path):
    before, after = tmp_path / NAMES[0], tmp_path / "moved" / NAMES[0]
    index = COHORTS["phantom"](tiny_cohort(before, scans=1), cache=tmp_path)
    after.parent.mkdir()
    moved = COHORTS["phantom"](before.rename(after), cache=tmp_path)
    for column in ("path", "mask", "slice_labels"):
        (was,), (now,) = index[column], moved[column]
        assert now == was.replace(path_text(before), path_text(after)) != was


@pytest.mark.parametrize("name", NAMES[:2])
def test_what_is_printed_cannot_be_forged_and_json_is_utf8(tmp_path, monkeypatch, capsys, name):
    monkeypatch.chdir(tmp_path)
    tiny = {"scans": 1, "seed": 0, "sites": None, "prevalence": 0.5, "confounders": 0.0, "small": 0.0}
    monkeypatch.setattr("ichformer.ct.phantom.cohort.write_phantom_cohort", lambda out, **asked: asked == tiny and out)
    main(["phantom", "--out", name, "--scans", "1"])
    printed = capsys.readouterr().out
    assert printed.count("\n") == 1
    assert printed.rstrip("\n").isprintable()
    main(["phantom", "--out", name, "--scans", "1", "--json"])
    said = json.loads(capsys.readouterr().out)["cohort"]
    assert said.encode().decode() == said == path_text(Path(name))
