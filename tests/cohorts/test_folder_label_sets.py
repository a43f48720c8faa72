"""A folder with labels and targets of its own: what its CSV may say, and what is refused with its line."""

import numpy as np
import pytest

from ichformer import LABELS
from ichformer.cli import main
from ichformer.cohorts.folder.adapter import read_folder, write_example_labels
from ichformer.cohorts.index import check_index, index_columns, make_index, read_index
from ichformer.cohorts.splits import folds_by_patient, split_by_patient
from ichformer.cohorts.tables import SLICE_COLUMNS, read_slice_table, read_table, write_table
from ichformer.errors import InputError
from ichformer.labels import RESERVED, SIX, LabelSet
from ichformer.pipeline.store.records import Store
from tests.cohorts.nifti_sets import scan, write_nifti
from tests.stores import prepare_here

SCANS = ("p1/a.nii.gz", "p2/b.nii.gz", "p3/c.nii.gz")
OWN = LabelSet(names=("bleed", "fracture"), targets=("volume_ml", "age_years"))


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    root = tmp_path_factory.mktemp("folder") / "scans"
    for seed, name in enumerate(SCANS):
        write_nifti(root / name, scan(seed, slices=3))
    return root


def read(source, tmp_path, text, label_set=OWN, columns=()):
    path = tmp_path / "labels.csv"
    path.write_text(text)
    return read_folder(source, cache=tmp_path / "cache", labels=path, label_set=label_set, columns=columns)


def rows(source, folder):
    """Rows of the index in the order of ``SCANS``."""
    return folder.index.set_index(folder.index["path"].str.removeprefix(f"{source}/")).loc[list(SCANS)]


def test_labels_and_targets_in_place_of_the_six(source, tmp_path):
    text = "path,Bleed,fracture,Volume (mL),age_years,subdural\np1/a,yes,0,12.5,64,x\np2/b,0,,0,?,y\n"
    folder = read(source, tmp_path, text)
    assert tuple(folder.index.columns) == (*index_columns(OWN), "group_subdural")
    assert not set(LABELS) & set(folder.index.columns)
    nan = np.nan
    expected = [[1, 0, 12.5, 64], [0, nan, 0, nan], [nan, nan, nan, nan]]
    np.testing.assert_array_equal(rows(source, folder)[list(OWN.columns)], expected)


def test_any_is_implied_in_the_six_alone(source, tmp_path):
    text = "path,any,subdural,volume_ml\np1/a,,1,3\np2/b,0,1,\n"
    found = rows(source, read(source, tmp_path, text, LabelSet(names=("any", "subdural"), targets=("volume_ml",))))
    np.testing.assert_array_equal(found["any"], [np.nan, 0, np.nan])
    six = LabelSet(targets=("volume_ml",))
    found = rows(source, read(source, tmp_path, "path,SDH,volume_ml\np1/a,1,3\n", six))
    np.testing.assert_array_equal(found["any"], [1, np.nan, np.nan])
    with pytest.raises(InputError, match="line 3: any is 0 where a subtype is 1"):
        read(source, tmp_path, text, six)


def test_a_target_alone_needs_no_label(source, tmp_path):
    text = "path,age_years\np1/a,41\np3/c,7.5\n"
    for label_set in (LabelSet(names=(), targets=("age_years",)), LabelSet(targets=("age_years",))):
        folder = read(source, tmp_path, text, label_set)
        np.testing.assert_array_equal(rows(source, folder)["age_years"], [41, np.nan, 7.5])
        split = split_by_patient(folder.index, seed=0, label_set=label_set)
        assert set(split["split"]) <= {"train", "val", "test"}
        assert len(list(folds_by_patient(folder.index, folds=3, seed=0, label_set=label_set))) == 3


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("path,bleed,volume_ml,age_years\np1/a,1,2,3\n", "has no column fracture, which was asked for"),
        ("path,bleed,frakture,volume_ml,age_years\np1/a,1,0,2,3\n", "frakture -> fracture?"),
        ("path,bleed,fracture,volume_ml,age_years\np1/a,2,0,2,3\n", "line 2: bleed is '2'"),
        ("path,bleed,fracture,volume_ml,age_years\np1/a,1,0,two,3\n", "line 2: volume_ml is 'two', which is no number"),
        ("path;bleed;fracture;volume_ml;age_years\np1/a;1;0;2,5;3\n", "line 2: volume_ml is '2,5', which is no number"),
        ("path,bleed,fracture,volume_ml,age_years\np1/a,1,0,inf,3\n", "line 2: volume_ml is 'inf', which is no number"),
        ("path,bleed,fracture,volume_ml,age_years\np1/a,1,0,1e10,3\n", "line 2: volume_ml is '1e10'"),
        ("path,bleed,fracture,volume_ml,age_years\np1/a,1,0,1_0,3\n", "line 2: volume_ml is '1_0'"),
    ],
)
def test_what_is_refused(source, tmp_path, text, words):
    with pytest.raises(InputError) as error:
        read(source, tmp_path, text)
    assert words in str(error.value)
    assert "labels.csv" in str(error.value)
    assert "\n" not in str(error.value)


def test_columns_are_named_for_own_labels(source, tmp_path):
    text = "path,label,ml\np1/a,1,2\n"
    label_set = LabelSet(names=("bleed",), targets=("volume_ml",))
    folder = read(source, tmp_path, text, label_set, ("bleed=label", "volume_ml=ml"))
    np.testing.assert_array_equal(rows(source, folder).loc["p1/a.nii.gz", ["bleed", "volume_ml"]].tolist(), [1, 2])
    with pytest.raises(InputError, match="MEANING is one of path, series, study, patient, slice, site, split, origin,"):
        read(source, tmp_path, text, label_set, ("subdural=label",))


def test_labels_of_slices_and_of_their_scan(source, tmp_path):
    text = "path,slice,bleed,fracture,volume_ml,age_years\n"
    text += "p1/a,a.nii.gz#1,0,0,0,\np1/a,a.nii.gz#2,1,0,4.123456789,\np1/a,a.nii.gz#3,0,0,1,\np1/a,,,,5.1,64\n"
    text += "p2/b,b.nii.gz#1,0,,,\n"
    folder = read(source, tmp_path, text)
    found = rows(source, folder)
    nan = np.nan
    np.testing.assert_array_equal(found[list(OWN.columns)], [[1, 0, 5.1, 64], [nan] * 4, [nan] * 4])
    table = read_slice_table(tmp_path / "cache" / "slice_labels.csv", label_set=OWN)
    np.testing.assert_array_equal(table["volume_ml"], [0, 4.12345679, 1, nan, nan, nan])
    assert not [note for note in folder.notes if "known of slices only" in note]
    folder = read(source, tmp_path, text.replace("5.1,64", ",64"))
    assert "volume_ml is known of slices only: add rows without a slice that say it of the scans" in folder.notes


def test_a_scan_is_not_negative_beside_a_positive_slice(source, tmp_path):
    text = "path,slice,bleed,fracture,volume_ml,age_years\np1/a,a.nii.gz#1,1,0,0,\np1/a,,0,0,,\n"
    with pytest.raises(InputError, match="line 3: bleed is 0 of a scan, and 1 of its slice in line 2"):
        read(source, tmp_path, text)


def test_an_index_of_own_labels_is_written_and_read(source, tmp_path):
    index = read(source, tmp_path, "path,bleed,fracture,volume_ml,age_years\np1/a,1,0,0.1,64\n").index
    path = tmp_path / "studies.csv"
    write_table(index, path)
    assert read_index(path, label_set=OWN).equals(index)
    with pytest.raises(InputError, match="lacks the column 'epidural'"):
        read_index(path)
    with pytest.raises(InputError, match="boxes go with the six labels"):
        check_index(index.assign(boxes="boxes.csv"), label_set=OWN)
    for column, value in (("bleed", 0.5), ("volume_ml", np.inf)):
        with pytest.raises(InputError, match=column):
            check_index(index.assign(**{column: value}), label_set=OWN)


def test_names_of_other_columns_are_no_labels():
    row = {"cohort": "folder", "origin": "folder", "patient": "p", "series": "s", "path": "/a", "split": "train"}
    reserved = {*index_columns(), *SLICE_COLUMNS, *make_index([row])} - set(LABELS)
    assert reserved <= RESERVED
    for name in ("patient", "n_slices", "group_x", "Bleed", "", "1st", "a" * 41, "_bleed"):
        with pytest.raises(InputError, match="label set"):
            LabelSet(names=(name,))
    for names in ((), ("a", "a"), tuple(f"l{i}" for i in range(101))):
        with pytest.raises(InputError, match="label set"):
            LabelSet(names=names)
    with pytest.raises(InputError, match="names a twice"):
        LabelSet(names=("a",), targets=("a",))
    assert (SIX.names, SIX.is_default, OWN.is_default, OWN.has_subtypes) == (LABELS, True, False, False)


@pytest.mark.slow
def test_the_command_line(source, tmp_path, capsys, monkeypatch):
    example = tmp_path / "example.csv"
    assert write_example_labels(source, example, label_set=OWN) == 3
    assert list(read_table(example, columns=()).columns) == ["path", "patient", "site", "split", *OWN.columns]
    labels = tmp_path / "labels.csv"
    labels.write_text("path,bleed,volume_ml,split\np1/a,1,3.5,train\np2/b,0,0,val\np3/c,0,,test\n")
    monkeypatch.setattr(
        "ichformer.workflows.prepare_cohort.prepare_index",
        lambda index, out, *, label_set, **_: prepare_here(index, out, label_set=label_set),
    )
    options = ["prepare", "--dataset", "folder", "--source", str(source), "--out", str(tmp_path / "store")]
    options += ["--label-names", "bleed", "--targets", "volume_ml"]
    with pytest.raises(SystemExit):
        main(options)
    assert "--label-names: goes with a CSV of labels; name it with --labels" in capsys.readouterr().err
    main([*options, "--labels", str(labels)])
    store = Store.open(tmp_path / "store")
    assert store.label_set == LabelSet(names=("bleed",), targets=("volume_ml",))
    assert store.index.sort_values("split")["volume_ml"].tolist()[1:] == [3.5, 0.0]
    with pytest.raises(SystemExit):
        main(["prepare", "--dataset", "phantom", *options[3:], "--labels", str(labels)])
    assert "goes with --dataset folder only" in capsys.readouterr().err
