"""The copy that ``ichformer scrub --out`` makes: it opens, it joins, and it discloses nothing."""

import json
import shutil

import pandas as pd
import pytest

from ichformer.cli import main
from ichformer.cohorts.folder import adapter as folder
from ichformer.errors import InputError
from ichformer.pipeline.store.card import write_card
from ichformer.pipeline.store.pseudonyms import KEY_NAME
from ichformer.pipeline.store.records import Store
from ichformer.privacy.disclosure import find_disclosures
from ichformer.privacy.scrub import scrub
from ichformer.training.runs.run import SEEN_COLUMNS, note_scans, seen_scans
from tests.planted import UID, disclosed, plant_dicom
from tests.stores import prepare_here


@pytest.fixture
def place(tmp_path):
    """The store "uids", "plain" with its key, and "run", which knows the scans of the first."""
    plant_dicom(tmp_path / "scans", 1)
    plant_dicom(tmp_path / "scans", 2)
    plant_dicom(tmp_path / "scans", 3, Modality="MR")
    index = folder.load(tmp_path / "scans", cache=tmp_path / "cache").index
    store = prepare_here(index, tmp_path / "uids", with_uids=True)
    write_card(store)
    prepare_here(index, tmp_path / "plain", patient_key=tmp_path / "uids" / KEY_NAME)
    (tmp_path / "run" / "profile").mkdir(parents=True)
    note_scans(tmp_path / "run", store.index)
    (tmp_path / "run" / "profile" / "vexil.xplane.pb").write_bytes(b"/home/orsolya")
    told = {"data": {"store": "/home/Orsolya Quaxley/stores/a"}, "init_from": "/home/orsolya/runs/b", "lr": 0.5}
    (tmp_path / "run" / "config.json").write_text(json.dumps(told))
    table = store.index[["study", "series", "any"]].assign(patient="folder/" + store.index["patient"])
    table.to_csv(tmp_path / "run" / "validation.csv", index=False)
    (tmp_path / "run" / "notes.md").write_text(f"of 2023-09-11 and 17.02.1943, {UID}.2.1, h.drummle@vexil.example\n")
    return tmp_path


def test_the_copy_of_a_store_is_the_store_without_uids(place):
    before = {path: path.read_bytes() for path in (place / "uids").rglob("*") if path.is_file()}
    assert scrub(place / "uids", place / "copy") == find_disclosures(place / "copy") == []
    assert {path: path.read_bytes() for path in (place / "uids").rglob("*") if path.is_file()} == before
    assert disclosed(place / "copy") == set()
    copy, plain = Store.open(place / "copy"), Store.open(place / "plain")
    same = [name for name in plain.index if name != "shard"]
    pd.testing.assert_frame_equal(copy.index[same], plain.index[same])
    assert copy.naming == plain.naming
    assert copy.read(0).volume.source == plain.read(0).volume.source
    assert (place / "copy" / "card.md").is_file()
    assert "Modality (0008,0060) is MR" in (place / "copy" / "rejects.csv").read_text()


def test_the_copy_of_a_run_names_scans_as_that_of_its_store_does(place):
    assert scrub(place / "run", place / "copy", patient_key=place / "uids" / KEY_NAME) == []
    assert disclosed(place / "copy") == set()
    plain = Store.open(place / "plain").index.sort_values("series", ignore_index=True)
    seen = seen_scans(place / "copy").sort_values("series", ignore_index=True)
    pd.testing.assert_frame_equal(seen[list(SEEN_COLUMNS)], plain[list(SEEN_COLUMNS)])
    table = pd.read_csv(place / "copy" / "validation.csv").sort_values("series", ignore_index=True)
    assert table["patient"].tolist() == ("folder/" + plain["patient"]).tolist()
    assert table["study"].tolist() == plain["study"].tolist()
    config = json.loads((place / "copy" / "config.json").read_text())
    assert config == {"data": {"store": "a"}, "init_from": "b", "lr": 0.5}
    assert (place / "copy" / "notes.md").read_text() == "of (date) and (date), (uid), (address)\n"


def test_a_store_of_earlier_names_gets_pseudonyms_of_a_key_that_nobody_has(place):
    (place / "uids" / KEY_NAME).unlink()
    values = json.loads((place / "uids" / "index.json").read_text())
    del values["names"]
    (place / "uids" / "index.json").write_text(json.dumps(values))
    assert scrub(place / "uids", place / "copy") == []
    copy = Store.open(place / "copy")
    assert copy.naming.patient_key
    assert not set(copy.index["series"]) & set(Store.open(place / "plain").index["series"])


def test_a_published_store_is_copied_as_it_is(tiny_store, tmp_path):
    shutil.copytree(tiny_store, tmp_path / "store")
    main(["scrub", str(tmp_path / "store"), "--out", str(tmp_path / "copy")])
    for path in tiny_store.rglob("*"):
        if path.is_file():
            assert (tmp_path / "copy" / path.relative_to(tiny_store)).read_bytes() == path.read_bytes()


def test_results_for_an_archive_are_left_out(tmp_path):
    (tmp_path / "out" / "head").mkdir(parents=True)
    (tmp_path / "out" / "head" / "report.dcm").write_bytes(b"\0" * 128 + b"DICM DOE^JANE")
    (tmp_path / "out" / "head" / "prediction.json").write_text("{}")
    assert scrub(tmp_path / "out", tmp_path / "copy") == []
    assert [file.name for file in (tmp_path / "copy" / "head").iterdir()] == ["prediction.json"]


def test_what_cannot_be_a_copy(place, capsys):
    (place / "run" / "inner").mkdir()
    for source, out, said in (
        ("run", "plain", "is there already"),
        ("run", "run/copy", "lies in the folder"),
        ("none", "copy", "is no folder"),
    ):
        with pytest.raises(InputError, match=said):
            scrub(place / source, place / out)
    for told in (["--check", "--out", "x"], [], ["--check", "--patient-key", "x"]):
        with pytest.raises(SystemExit) as stop:
            main(["scrub", str(place / "run"), *told])
        assert stop.value.code == 2
    assert capsys.readouterr().err.count("\n") == 3
    assert not (place / "copy").exists()
