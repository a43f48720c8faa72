"""What ``ichformer scrub --check`` finds, and what it lets pass."""

import json
import os
import shutil

import numpy as np
import pytest

from ichformer.cli import main
from ichformer.cohorts.folder import adapter as folder
from ichformer.pipeline.store.pseudonyms import KEY_NAME
from ichformer.privacy.disclosure import DISCLOSURE_CODES, Disclosure, find_disclosures
from tests.planted import UID, plant_dicom
from tests.stores import prepare_here


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """ "plain", "uids" and "old" (as an earlier ichformer named its scans) of two planted scans."""
    place = tmp_path_factory.mktemp("stores")
    plant_dicom(place / "scans", 1)
    plant_dicom(place / "scans", 2, Modality="MR")
    index = folder.load(place / "scans", cache=place / "cache").index
    prepare_here(index, place / "plain")
    prepare_here(index, place / "uids", with_uids=True)
    shutil.copytree(place / "uids", place / "old")
    (place / "old" / KEY_NAME).unlink()
    values = json.loads((place / "old" / "index.json").read_text())
    del values["names"]
    values["series"][0]["patient"] = "P-0123456789ab"
    (place / "old" / "index.json").write_text(json.dumps(values))
    return place


def codes(place) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for one in find_disclosures(place):
        name = "shard" if one.file.endswith(".array_record") else one.file
        found.setdefault(name, set()).add(one.code)
    return found


def test_a_store_discloses_its_key_alone(stores):
    assert codes(stores / "plain") == {KEY_NAME: {"key"}}


def test_uids_and_files_are_found_where_they_were_asked_for(stores):
    assert codes(stores / "uids") == {
        KEY_NAME: {"key"},
        "index.json": {"uid"},
        "shard": {"uid"},
        "rejects.csv": {"file_name", "uid"},
    }


def test_hashes_of_an_earlier_version_are_found(stores):
    assert codes(stores / "old")["index.json"] == {"name", "uid"}


def test_a_subgroup_that_tells_scans_apart_is_found(tmp_path):
    for number in range(1, 4):
        plant_dicom(tmp_path / "scans", number)
    index = folder.load(tmp_path / "scans", cache=tmp_path / "cache").index
    prepare_here(index.assign(group_alias=["Anna", "Ben", "Cara"], group_kernel=["a", "b", "a"]), tmp_path / "store")
    found = [one for one in find_disclosures(tmp_path / "store") if one.file == "index.json"]
    assert [(one.code, one.count, one.example) for one in found] == [("subgroup", 1, "alias")]


@pytest.mark.slow
def test_published_sets_disclose_nothing(tiny_store, tiny_run):
    assert find_disclosures(tiny_store) == []
    found = {file: own for file, own in codes(tiny_run).items() if not file.startswith("profile/")}
    assert found == {}


@pytest.mark.parametrize(
    ("name", "text", "code"),
    [
        ("config.json", '{"store": "/home/anna/stores/a"}', "path"),
        ("config.json", '{"store": "C:\\\\Users\\\\anna"}', "path"),
        ("run.json", '{"by": "anna.quaxley@vexil.example"}', "email"),
        ("notes.txt", "born 17.02.1943", "date"),
        ("notes.txt", "taken 2023-09-11.", "date"),
        ("a.csv", "x,when\n1,20230911\n", "date"),
        ("seen.csv", f"origin,patient,study\nfolder,P-0123456789abcdef,{UID}.1.2\n", "uid"),
        ("seen.csv", "origin,patient,study\nfolder,P-0123456789ab,\n", "name"),
        ("predictions.csv", "patient,study\nfolder/QUAXLEY,\n", "name"),
        ("blob.pb", "\0/home/anna/x.py\0", "path"),
        ("report.html", '<section class="card identity">', "identity"),
        ("report.dcm", "\0" * 128 + "DICM", "identity"),
        (".lease.3", '{"host": "vexil"}', "machine"),
    ],
)
def test_what_is_found(tmp_path, name, text, code):
    (tmp_path / name).write_text(text)
    assert code in codes(tmp_path)[name]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("run.json", '{"versions": {"jax": "0.10.2", "python": "3.11.9"}, "commit": "a20230911f12"}'),
        ("metrics.jsonl", '{"loss": 0.20230911, "step": 20, "scans_per_s": 1.9430217e-05}'),
        ("seen.csv", f"origin,patient,study,series\nrsna2019,ID_1,{UID}.1.2,ID_2\n"),
        ("seen.csv", "origin,patient,study\nfolder,P-0123456789abcdef,ST-0123456789abcdef\n"),
        ("page.html", "<p>Rows 5/6</p><a href='https://example.org/a/b/c'>x</a></section>"),
        ("a.json", '"1.2.840.10008.1.2.1"'),
    ],
)
def test_what_is_let_pass(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    assert find_disclosures(tmp_path) == []


def test_links_archives_pipes_and_what_cannot_be_read(tmp_path):
    (tmp_path / "far").symlink_to("/home/anna/shards", target_is_directory=True)
    (tmp_path / "near").symlink_to("other")
    np.savez_compressed(tmp_path / "a.npz", np.array("/home/anna/x" * 4, dtype="S60"))
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "index.json").write_text("{}")
    (tmp_path / "deep.json").write_text("[" * 100_000)
    (tmp_path / "wide.csv").write_text("patient,x\nfolder/P-0123456789abcdef," + "9" * 200_000)
    (tmp_path / "b.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:-40])
    damaged = bytearray((tmp_path / "a.npz").read_bytes())
    damaged[60:80] = bytes(20)
    (tmp_path / "c.npz").write_bytes(damaged)
    found = codes(tmp_path)
    assert found["far"] == found["a.npz"] == {"path"}
    assert found["index.json"] == found["wide.csv"] == found["c.npz"] == {"unread"}
    assert set(found) <= {"far", "a.npz", "b.npz", "c.npz", "index.json", "wide.csv"}


def test_the_command(stores, tmp_path, capsys):
    for place, code in ((stores / "plain", 1), (tmp_path / "none", 2)):
        with pytest.raises(SystemExit) as stop:
            main(["scrub", str(place), "--check"])
        assert stop.value.code == code
    printed = capsys.readouterr()
    assert printed.out.splitlines()[0] == "patient.key: key, 1 time"
    assert printed.err.count("\n") == 1
    (tmp_path / "empty").mkdir()
    main(["scrub", str(tmp_path / "empty"), "--check", "--json"])
    assert json.loads(capsys.readouterr().out) == {"disclosed": []}
    with pytest.raises(SystemExit) as stop:
        main(["scrub", str(tmp_path / "empty")])
    assert stop.value.code == 2


def test_every_code_is_documented():
    with pytest.raises(ValueError, match="is not documented"):
        Disclosure(file="a", code="b", count=1, example="")
    assert list(DISCLOSURE_CODES) == sorted(DISCLOSURE_CODES)
