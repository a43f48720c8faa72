"""What scans and tables say of persons is in nothing that a command writes, unless it was asked for."""

import json
import re
import stat
from pathlib import Path

import pytest

from ichformer.cli import main
from ichformer.pipeline.store.records import Store
from ichformer.pipeline.store.resplit import resplit
from tests.planted import FOLDER, KINDS, SECRETS, UID, disclosed, plant, plant_dicom
from tests.stores import CONFIG, prepare_here
from tests.workflows.counter import open_counter, write_head


@pytest.fixture
def prepare(monkeypatch, capsys):
    """The command, in this process: a pool takes seconds to start. Returns what it printed."""

    def here(index, out, *, patient_key, with_uids, **_):
        return prepare_here(index, out, CONFIG, patient_key=patient_key, with_uids=with_uids)

    def run(source: Path, out: Path, *options: object) -> str:
        told = ["prepare", "--dataset", "folder", "--source", str(source), "--out", str(out), *map(str, options)]
        main(told)
        return capsys.readouterr().out

    monkeypatch.setattr("ichformer.workflows.prepare_cohort.prepare_index", here)
    return run


def plant_labels(path: Path, kind: str) -> Path:
    """A CSV of labels that names patients, dates and files."""
    ending = ".nii.gz" if kind == "nifti" else ""
    lines = ["path,patient,patient_name,birthdate,any"]
    lines += [f"{FOLDER}_{k}{ending},QUAXLEY {k},QUAXLEY ORSOLYA,19430217,{k % 2}" for k in (1, 2)]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("labelled", [False, True])
def test_a_store_names_nobody(kind, labelled, tmp_path, prepare):
    source = plant(tmp_path, kind, (1, 2))
    labels = ["--labels", plant_labels(tmp_path / "labels.csv", kind)] if labelled else []
    said = prepare(source, tmp_path / "store", *labels, "--json")
    assert json.loads(said)["series"] == 2
    assert disclosed(tmp_path / "store") == set()
    store = Store.open(tmp_path / "store")
    assert store.index["patient"].nunique() == 2
    assert all(re.fullmatch(r"P-[0-9a-f]{16}", name) for name in store.index["patient"])
    assert all(re.fullmatch(r"SE-[0-9a-f]{16}", name) for name in store.index["series"])
    header = store.header(0)
    assert header.source == tuple(f"{s:04d}" for s in range(len(header.source)))
    if kind in ("dicom", "zip"):
        audit = header.audit
        assert (audit.description, audit.kernel, audit.manufacturer) == ("Head 5.0", "", "SIEMENS SOMATOM")
        assert (audit.age_years, audit.sex) == (80, "F")


def test_rejects_name_no_file(tmp_path, prepare, capsys):
    source = tmp_path / "scans"
    plant_dicom(source, 1)
    plant_dicom(source, 2, Modality="MR")
    broken = sorted(plant_dicom(source, 3).iterdir())[4].rename(source / f"{FOLDER}_3" / "Quaxley.dcm")
    broken.write_bytes(broken.read_bytes()[:-100])
    prepare(source, tmp_path / "store")
    assert disclosed(tmp_path / "store") == set()
    table = (tmp_path / "store" / "rejects.csv").read_text()
    reasons = dict(re.findall(r"(?m)^SE-[0-9a-f]{16},,(.*),(\d)$", table))
    assert {number: reason.split(";")[0].strip('"') for reason, number in reasons.items()}.keys() == {"2", "3"}
    assert "Modality (0008,0060) is MR, not CT" in table
    assert "PixelData (7FE0,0010)" in table
    main(["inspect", str(source)])
    assert f"{FOLDER}_2" in capsys.readouterr().out.split("\n\n")[1]


@pytest.mark.slow
def test_uids_and_files_are_kept_where_they_are_asked_for(tmp_path, prepare):
    source = tmp_path / "scans"
    plant_dicom(source, 1)
    plant_dicom(source, 2, Modality="MR")
    prepare(source, tmp_path / "store", "--with-uids")
    store = Store.open(tmp_path / "store")
    assert store.index["series"].tolist() == [f"{UID}.2.1"]
    assert store.index["study"].tolist() == [f"{UID}.1.1"]
    assert set(store.header(0).source) == {f"{UID}.2.1.{k}" for k in range(1, 12)}
    assert re.fullmatch(r"P-[0-9a-f]{16}", store.index["patient"][0])
    assert f"{FOLDER}_2" in (tmp_path / "store" / "rejects.csv").read_text()
    found = {secret for _, secret in disclosed(tmp_path / "store")}
    assert found == {UID, "quaxley", "orsolya"}  # the folder's name in rejects.csv
    assert {name for name, secret in disclosed(tmp_path / "store") if secret != UID} == {"rejects.csv"}


@pytest.mark.slow
def test_another_key_changes_names_alone_so_the_same_scans_train_the_same_model(tmp_path, prepare):
    for number in (1, 2, 3):
        write_head(tmp_path / "scans" / str(number), series_uid=f"1.2.{number}", degrees=5.0 * number)
    indices = []
    for name in "ab":
        prepare(tmp_path / "scans", tmp_path / name)
        indices.append(Store.open(tmp_path / name).index)
    a, b = indices
    assert not set(a["series"]) & set(b["series"])
    assert a["sha256"].tolist() == b["sha256"].tolist() == sorted(set(a["sha256"]))
    assert a["split"].tolist() == b["split"].tolist()


@pytest.mark.slow
def test_the_key_is_the_stores_own_and_decides_the_names(tmp_path, prepare, capsys):
    source = tmp_path / "scans"
    for number in (1, 2):
        plant_dicom(source, number)
    for name, options in {"a": [], "b": [], "c": ["--patient-key", tmp_path / "a" / "patient.key"]}.items():
        prepare(source, tmp_path / name, *options)
    a, b, c = (Store.open(tmp_path / name) for name in "abc")
    assert stat.S_IMODE((tmp_path / "a" / "patient.key").stat().st_mode) == 0o600
    key = (tmp_path / "a" / "patient.key").read_text().strip()
    others = (file for file in (tmp_path / "a").rglob("*") if file.is_file() and file.name != "patient.key")
    assert not any(key.encode() in file.read_bytes() for file in others)
    assert set(a.index["patient"]) == set(c.index["patient"])
    assert not set(a.index["patient"]) & set(b.index["patient"])
    assert a.index.equals(c.index)
    assert sorted(a.index["split"]) == sorted(b.index["split"])
    # It goes on with its own key, and with no other.
    before = (tmp_path / "a" / "index.json").read_bytes()
    prepare(source, tmp_path / "a")
    assert (tmp_path / "a" / "index.json").read_bytes() == before
    (tmp_path / "no").write_text("key")
    for where, options, said in (
        ("a", ["--patient-key", tmp_path / "b" / "patient.key"], "another key than that of the store"),
        ("a", ["--with-uids"], "prepared without --with-uids"),
        ("d", ["--patient-key", tmp_path / "no"], "holds no key"),
        ("d", ["--patient-key", tmp_path / "none"], "cannot be read"),
    ):
        with pytest.raises(SystemExit) as stop:
            prepare(source, tmp_path / where, *options)
        assert stop.value.code == 2
        error = capsys.readouterr().err
        assert said in error
        assert error.count("\n") == 1
    (tmp_path / "a" / "patient.key").unlink()
    with pytest.raises(SystemExit):
        prepare(source, tmp_path / "a")
    assert "patient.key: is gone; restore it" in capsys.readouterr().err
    prepare(source, tmp_path / "a", "--patient-key", tmp_path / "c" / "patient.key")
    assert (tmp_path / "a" / "index.json").read_bytes() == before


def test_a_store_of_earlier_names_opens_and_is_not_gone_on_with(tmp_path, prepare, capsys):
    plant_dicom(tmp_path / "scans", 1)
    prepare(tmp_path / "scans", tmp_path / "store", "--with-uids")
    index = tmp_path / "store" / "index.json"
    values = json.loads(index.read_text())
    del values["names"]
    index.write_text(json.dumps(values))
    (tmp_path / "store" / "patient.key").unlink()
    assert Store.open(tmp_path / "store").index["patient_key"].tolist() == [""]
    with pytest.raises(SystemExit):
        prepare(tmp_path / "scans", tmp_path / "store")
    assert "holds names of an earlier ichformer" in capsys.readouterr().err
    assert not (tmp_path / "store" / "patient.key").exists()


def test_published_sets_keep_their_names(tmp_path, capsys):
    for option in (["--with-uids"], ["--patient-key", "k"]):
        with pytest.raises(SystemExit) as stop:
            main(["prepare", "--dataset", "phantom", "--source", str(tmp_path), "--out", str(tmp_path / "o"), *option])
        assert stop.value.code == 2
        assert f"{option[0]}: goes with --dataset folder only" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_reports_name_nobody(kind, tmp_path, monkeypatch, capsys):
    source = plant(tmp_path, kind, (1,))
    run = open_counter(tmp_path / "runs" / "counter", monkeypatch)
    window = ["--window", "0", "80"] if kind == "pictures" else []
    main(["predict", str(source), "--run", str(run.path), "--out", str(tmp_path / "out"), "--json", *window])
    assert len(json.loads(capsys.readouterr().out)["series"]) == 1
    assert disclosed(tmp_path / "out") == set()
    (tmp_path / "sheets").mkdir()
    main(["inspect", str(source), "--json", "--sheet", str(tmp_path / "sheets" / "sheet.png"), *window])
    assert disclosed(tmp_path / "sheets") == disclosed(tmp_path / "runs") == set()
    # The terminal names what its user asked about, and the series by its description, but nothing else of the header.
    said = capsys.readouterr().out.lower()
    for secret in set(SECRETS) - {"quaxley", "orsolya"}:
        assert secret not in said.replace("siemens at saint vexil", "")


def test_identity_on_the_page_where_it_is_asked_for(tmp_path, monkeypatch, capsys):
    plant_dicom(tmp_path / "scans", 1)
    run = open_counter(tmp_path / "runs" / "counter", monkeypatch)
    main(
        ["predict", str(tmp_path / "scans"), "--run", str(run.path), "--out", str(tmp_path / "out"), "--with-identity"]
    )
    capsys.readouterr()
    found = {secret for name, secret in disclosed(tmp_path / "out") if name.endswith("report.html")}
    assert found == {"quaxley", "orsolya", "90417731", "19430217", "20230911"}
    assert {Path(name).name for name, _ in disclosed(tmp_path / "out")} == {"report.html"}


@pytest.mark.slow(minutes=2)
def test_the_whole_way_names_nobody(tmp_path, prepare, capsys):
    """Labels by slice, training, evaluation, robustness, other splits: nothing that was written names anybody."""
    source, out = tmp_path / "scans", tmp_path / "out"
    lines = ["path,slice,patient,split,any"]
    for k in range(1, 10):
        plant_dicom(source, k, PixelSpacing=[1.0, 1.0])  # as large as a head, so that it is scored
        split = "test" if k > 6 else "val" if k > 3 else "train"
        lines += [
            f"{FOLDER}_{k},{UID}.2.{k}.{s},QUAXLEY {k},{split},{int(k % 2 and s in (6, 7))}" for s in range(1, 12)
        ]
    (tmp_path / "labels.csv").write_text("\n".join(lines) + "\n")
    prepare(source, out / "store", "--labels", tmp_path / "labels.csv")
    settings = ["--data.store", str(out / "store"), "--data.num-slices", "4", "--data.batch-size", "2", "--steps", "1"]
    settings += ["--model.name", "slice_vit_nano", "--parallel.data", "1"]
    main(["train", *settings, "--out", str(out / "run")])
    main(["evaluate", str(out / "run")])
    main(["robustness", str(out / "run"), "--corruption", "dose_noise"])
    main(["predict", str(source / f"{FOLDER}_1"), "--run", str(out / "run"), "--out", str(out / "reports")])
    store = Store.open(out / "store")
    resplit(store, store.index["split"], out / "fold-00" / "store")  # as cross-validation and one site left out do it
    capsys.readouterr()
    assert disclosed(out) == set()
    # Nor whose machine it was.
    assert disclosed(out, (str(tmp_path).lower(),)) == set()
    assert any("seen.csv" in str(path) for path in out.rglob("*"))
