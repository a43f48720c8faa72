"""Whose the scans are, how that is known, and what is said where it is not."""

import json

import pandas as pd
import pytest

from ichformer.cli import main
from ichformer.cohorts.folder.adapter import read_folder
from ichformer.cohorts.index import make_index, read_index
from ichformer.cohorts.patients import PATIENT_SOURCES, UNCERTAIN, count_patients, same_nobody
from ichformer.cohorts.registry import COHORTS
from ichformer.cohorts.splits import split_by_patient, split_warnings
from ichformer.cohorts.tables import write_table
from ichformer.errors import InputError
from ichformer.pipeline.store.records import Store
from ichformer.testing import tiny_cohort
from tests.cohorts import nifti_sets, rsna
from tests.cohorts.cq500 import write_cq500
from tests.ct.builders import ramp, write_series
from tests.stores import prepare_here


def dicoms(root, ids, *, studies=None):
    """A series for each PatientID in case0, case1, ...; each in a study of its own, or in that of ``studies``."""
    for number, patient_id in enumerate(ids):
        study = str(number) if studies is None else studies[number]
        write_series(
            root / f"case{number}",
            ramp(),
            series_uid=f"1.{number}",
            PatientID=patient_id,
            StudyInstanceUID=f"9.{study}",
        )
    return root


def sources(root, tmp_path, **options):
    index = read_folder(root, cache=tmp_path / "cache", **options).index
    return index["patient_source"].tolist(), index


def test_patients_of_headers(tmp_path):
    found, index = sources(dicoms(tmp_path / "s", ["A1", "B2", "A1", "C3"]), tmp_path)
    assert found == ["header"] * 4
    patients = count_patients(index)
    assert (patients.certain, patients.n_patients) == (True, 3)
    assert patients.known_from() == "patients known from the DICOM headers"
    assert list(patients.warnings()) == []


def test_one_series_under_two_spellings_of_one_id_is_said(tmp_path):
    for name, patient_id in (("a", "Meyer"), ("b", "MEYER"), ("c", "Schmidt")):
        uid = "1.3" if name == "c" else "1.2"
        hu = ramp() + ord(name)
        write_series(tmp_path / "s" / name, hu, series_uid=uid, PatientID=patient_id, StudyInstanceUID="9")
    folder = read_folder(tmp_path / "s", cache=tmp_path)
    assert (len(folder.index), folder.index["patient"].nunique()) == (3, 2)
    (said,) = (note for note in folder.notes if "PatientID" in note)
    assert said.startswith("series of which each part is read as a scan of its own")
    assert said.endswith("(capitals, blanks or zeros): 1. Correct the PatientID in the files")
    assert "Meyer" not in " ".join(folder.notes)


def test_an_id_that_an_anonymiser_left_is_said(tmp_path):
    found, index = sources(dicoms(tmp_path / "s", ["ANONYMOUS"] * 6), tmp_path)
    assert found == ["shared"] * 6
    (warning,) = count_patients(index).warnings()
    assert warning.startswith("one PatientID stands in 6 scans of 6 studies, as anonymisers leave it")
    assert "--patient-from" in warning
    # Nobody leaks, and the user hears why there is no test.
    index = split_by_patient(index, seed=0)
    assert set(index["split"]) == {"train"}
    (warning,) = split_warnings(index)
    assert warning == (
        "no scan is in the split val or test (scans: train 6, val 0, test 0). 6 scans are of 1 patient, and a patient "
        "stays in one split"
    )


@pytest.mark.parametrize(
    ("ids", "studies", "expected"),
    [
        # Follow-up scans are no anonymiser's work.
        (["A", "A", "B", "C", "D"], None, ["header"] * 5),
        (["A", "A", "B", "C"], "1123", ["header"] * 4),
        (["A", "A", "A", "B"], None, ["shared"] * 3 + ["header"]),
        (["A", "A"], None, ["shared"] * 2),
        (["A", "A"], "11", ["header"] * 2),
        (["0", "0", "A", "B", "C", "D"], None, ["shared"] * 2 + ["header"] * 4),
        (["anonymized", "x1", "ANONYMIZED", "x2", "x3", "x4"], None, ["shared", "header"] * 2 + ["header"] * 2),
        (["anonymized", "x1", "x2"], None, ["header"] * 3),
        (["ANON_001", "ANON_001", "ANON_002", "ANON_003", "ANON_004"], None, ["header"] * 5),
        (["", "", "A"], "112", ["study", "study", "header"]),
    ],
)
def test_which_ids_are_in_doubt(tmp_path, ids, studies, expected):
    found, index = sources(dicoms(tmp_path / "s", ids, studies=studies), tmp_path)
    assert found == expected
    if "" in ids:
        assert index["patient"].nunique() == 2


def niftis(root):
    for seed, name in enumerate(("sub-01/ses-1/ct.nii.gz", "sub-01/ses-2/ct.nii.gz", "sub-02/ses-1/ct.nii.gz")):
        nifti_sets.write_nifti(root / name, nifti_sets.scan(seed, slices=2))
    return root


def test_scans_without_a_header_are_guesses(tmp_path):
    found, index = sources(niftis(tmp_path / "s"), tmp_path)
    assert found == ["guessed"] * 3
    patients = count_patients(index)
    assert patients.known_from() == "patients guessed from file names (3 of 3 scans)"
    assert not patients.certain
    (warning,) = patients.warnings()
    assert warning.startswith(
        "patients guessed from file names (3 of 3 scans). Scans of one person may lie in two splits"
    )


@pytest.mark.parametrize(("patient_from", "source"), [("folder", "folder"), (r"sub-(\d+)", "pattern")])
def test_patients_from_the_path(tmp_path, patient_from, source):
    found, index = sources(niftis(tmp_path / "s"), tmp_path, patient_from=patient_from)
    assert found == [source] * 3
    assert index["patient"][0] == index["patient"][1] != index["patient"][2]
    assert "sub-01" not in " ".join(index["patient"])
    # DICOM headers come after it.
    found, index = sources(dicoms(tmp_path / "d", ["X"] * 2), tmp_path, patient_from=r"(\d+)")
    assert found == ["pattern"] * 2
    assert index["patient"].nunique() == 2


def test_the_csv_goes_before_the_path_and_the_path_before_the_header(tmp_path):
    root = dicoms(tmp_path / "s", ["X", "Y", "Z"])
    (tmp_path / "labels.csv").write_text("path,patient,any\ncase0,X,1\ncase1,,0\n")
    found, index = sources(root, tmp_path, labels=tmp_path / "labels.csv", patient_from="folder")
    assert found == ["table", "folder", "folder"]
    # A name in the CSV and the same PatientID are one patient.
    assert index["patient"][0] == sources(root, tmp_path)[1]["patient"][0]
    # What the path says can be the key of the CSV.
    (tmp_path / "labels.csv").write_text("patient,any\ncase2,1\n")
    found, index = sources(root, tmp_path, labels=tmp_path / "labels.csv", patient_from="folder")
    assert index["any"].dropna().tolist() == [1]
    assert found == ["folder"] * 3


def test_a_csv_made_from_the_headers_knows_no_more_than_they_do(tmp_path):
    root = dicoms(tmp_path / "s", ["ANONYMOUS"] * 3)
    (tmp_path / "labels.csv").write_text("path,patient,any\ncase0,ANONYMOUS,1\ncase1,ANONYMOUS,0\ncase2,Z,0\n")
    found, _ = sources(root, tmp_path, labels=tmp_path / "labels.csv")
    assert found == ["shared", "shared", "table"]


@pytest.mark.parametrize(
    ("patient_from", "words"),
    [
        ("folders", "'folders' has 0 groups"),
        (r"(sub)-(\d+)", "has 2 groups"),
        (r"sub-(\d+", "is no regular expression"),
        (r"subject-(\d+)", "has no patient by that: sub-01/ses-1/ct.nii.gz"),
        (r"sub-(02)", "has no patient by that: sub-01/ses-1/ct.nii.gz"),
        (r"sub-01|(.)", "has no patient by that: sub-01/ses-1/ct.nii.gz"),
    ],
)
def test_patterns_that_do_not_tell_every_patient(tmp_path, patient_from, words):
    with pytest.raises(InputError) as refused:
        read_folder(niftis(tmp_path / "s"), cache=tmp_path, patient_from=patient_from)
    assert words in str(refused.value)
    assert str(refused.value).startswith("--patient-from: ")


def test_a_folder_that_holds_scans_itself_names_no_patient(tmp_path):
    niftis(tmp_path / "s")
    nifti_sets.write_nifti(tmp_path / "s" / "loose.nii.gz", nifti_sets.scan(9, slices=2))
    with pytest.raises(InputError, match=r"has no patient by that: loose\.nii\.gz"):
        read_folder(tmp_path / "s", cache=tmp_path, patient_from="folder")


def test_files_of_one_series_belong_to_one_patient(tmp_path):
    write_series(tmp_path / "s" / "a", ramp(), series_uid="1.1")
    (tmp_path / "s" / "b").mkdir()
    (tmp_path / "s" / "a" / "003.dcm").rename(tmp_path / "s" / "b" / "003.dcm")
    with pytest.raises(InputError, match=r"belongs to another patient than other files of its series: b/003\.dcm"):
        read_folder(tmp_path / "s", cache=tmp_path, patient_from="folder")


@pytest.mark.slow
def test_public_sets_say_how_their_patients_are_known(tmp_path):
    nifti_sets.write_ctich(tmp_path / "ctich")
    nifti_sets.write_instance(tmp_path / "instance")
    nifti_sets.write_bhsd(tmp_path / "bhsd")
    rsna.write_rsna(tmp_path / "rsna2019")
    write_cq500(tmp_path / "cq500")
    expected = {"ctich": "dataset", "instance": "guessed", "bhsd": "dataset", "rsna2019": "header", "cq500": "study"}
    for name, source in expected.items():
        index = COHORTS[name](tmp_path / name, cache=tmp_path / "cache")
        assert set(index["patient_source"]) == {source}, name
    assert set(COHORTS["phantom"](tiny_cohort(tmp_path / "p", scans=2), cache=tmp_path)["patient_source"]) == {
        "dataset"
    }


def test_an_index_that_does_not_say_is_unknown(tmp_path):
    row = {"cohort": "c", "patient": "p", "series": "1", "path": "/x", "origin": "c"}
    index = make_index([row])
    assert index["patient_source"].tolist() == ["unknown"]
    path = tmp_path / "i.csv"
    write_table(index.assign(group_sex="F"), path)
    read = read_index(path)
    assert read["group_sex"].tolist() == ["F"]
    pd.read_csv(path, dtype=str).drop(columns="patient_source").to_csv(path, index=False)
    assert read_index(path)["patient_source"].tolist() == ["unknown"]
    with pytest.raises(InputError, match="patient_source is 'me'"):
        make_index([{**row, "patient_source": "me"}])
    with pytest.raises(InputError, match="column group_x: has 31 values"):
        make_index([{**row, "series": str(k), "group_x": str(k)} for k in range(31)])


def test_checked_is_said_only_where_every_patient_is_known():
    def table(*words):
        row = {"cohort": "c", "patient": "p", "path": "/x", "origin": "c"}
        return make_index([{**row, "series": str(k), "patient_source": word} for k, word in enumerate(words)])

    assert set(UNCERTAIN) < set(PATIENT_SOURCES)
    for source in PATIENT_SOURCES:
        for sides in ((table("header"), table("header", source)), (table("header", source), table("header"))):
            said = same_nobody(*sides)
            assert ("which was checked" in said) == (source not in UNCERTAIN)
            assert (PATIENT_SOURCES[source] in said) == (source in UNCERTAIN)
    assert "evaluated: patients guessed from file names (1 of 2 scans); known from" in same_nobody(
        table("header"), table("header", "guessed")
    )


@pytest.mark.slow
def test_prepare_says_it_on_the_terminal_in_the_json_and_on_the_card(tmp_path, capsys, monkeypatch):
    def here(index, out, *, config, **_):
        return prepare_here(index, out, config)  # a pool of processes takes seconds to start

    monkeypatch.setattr("ichformer.workflows.prepare_cohort.prepare_index", here)
    root, out = niftis(tmp_path / "s"), tmp_path / "store"
    words = ["--source", str(root), "--size", "32", "--out"]
    main(["prepare", "--dataset", "folder", *words, str(out)])
    said = capsys.readouterr().out
    assert "patients guessed from file names (3 of 3 scans); 3 in all\n" in said
    assert "warning: patients guessed from file names (3 of 3 scans)." in said
    card = (out / "card.md").read_text()
    assert "3 in all; patients guessed from file names (3 of 3 scans)." in card
    main(["prepare", "--dataset", "folder", "--json", "--patient-from", "folder", *words, str(tmp_path / "known")])
    found = json.loads(capsys.readouterr().out)
    assert (found["patients"], found["patients_known_from"]) == (2, {"folder": 3})
    assert not any("guessed" in warning for warning in found["warnings"])
    assert "guessed" not in (tmp_path / "known" / "card.md").read_text()
    # Prepared again with the patients, nothing but the index changes.
    shards = {path.name: path.stat().st_mtime_ns for path in (out / "shards").iterdir()}
    main(["prepare", "--dataset", "folder", "--patient-from", "folder", *words, str(out)])
    assert {path.name: path.stat().st_mtime_ns for path in (out / "shards").iterdir()} == shards
    assert "guessed" not in (out / "index.json").read_text()


def test_a_store_of_an_earlier_version_is_read_and_says_that_it_does_not_know(tmp_path):
    index = read_folder(niftis(tmp_path / "s"), cache=tmp_path, patient_from="folder").index.assign(group_a="x")
    path = prepare_here(index, tmp_path / "store").path / "index.json"
    assert Store.open(path.parent).index["group_a"].tolist() == ["x"] * 3
    values = json.loads(path.read_text())

    def store_with(change):
        path.write_text(json.dumps({**values, "series": [change(dict(entry)) for entry in values["series"]]}))
        return Store.open(path.parent)

    old = store_with(lambda entry: {k: v for k, v in entry.items() if k not in ("patient_source", "group_a")}).index
    assert count_patients(old).known_from() == "patients known in a way that was not recorded (3 of 3 scans)"
    (warning,) = count_patients(old).warnings()
    assert warning.endswith("prepare the store again with this version, which records it")
    first = Store.open(path.parent).index["series"][0]  # the file has another order, which depends on the store's key
    some = store_with(lambda entry: entry if entry["series"] == first else {**entry, "group_b": "y"}).index
    assert some["group_b"].tolist() == ["", "y", "y"]
    for wrong in ({"patient_source": ["header"]}, {"patient_source": "me"}, {"group_a": 1}, {"group_a": None}):
        with pytest.raises(InputError, match=r"does not hold what it should|something else than text"):
            store_with(lambda entry, wrong=wrong: {**entry, **wrong})


def test_options_of_a_folder_go_with_a_folder_only(tmp_path, capsys):
    for option in (("--patient-from", "folder"), ("--columns", "any=ICH"), ("--example-labels", "x.csv")):
        with pytest.raises(SystemExit) as ended:
            main(["prepare", "--dataset", "instance", "--source", str(tmp_path), "--out", str(tmp_path / "o"), *option])
        assert ended.value.code == 2
        assert f"{option[0]}: goes with --dataset folder only" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["prepare", "--dataset", "folder", "--source", str(tmp_path)])
    assert "--out: is missing" in capsys.readouterr().err
