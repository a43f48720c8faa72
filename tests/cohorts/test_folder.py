import hashlib

import numpy as np
import pytest

from ichformer import LABELS
from ichformer.cohorts.folder import adapter as folder
from ichformer.cohorts.registry import COHORTS
from ichformer.cohorts.tables import read_slice_table
from ichformer.errors import InputError
from ichformer.testing import tiny_cohort
from tests.ct.builders import ramp, write_series


@pytest.fixture
def source(tmp_path):
    """Two patients with three series: a/one and a/two of Doe, b of Roe."""
    root = tmp_path / "scans"
    for place, patient, uid in (("a/one", "DOE^1", "1.1"), ("a/two", "DOE^1", "1.2"), ("b", "ROE^2", "2.1")):
        write_series(root / place, ramp(), series_uid=uid, PatientID=patient, StudyInstanceUID=f"9.{uid[0]}")
    (root / "b" / "notes.txt").write_text("not a picture")
    return root


def load(source, csv: str | None = None):
    labels = None
    if csv is not None:
        labels = source.parent / "labels.csv"
        labels.write_text(csv)
    return folder.load(source, cache=source.parent / "cache", labels=labels).index


def test_series_without_labels(source):
    index = load(source)
    assert index["series"].tolist() == ["1.1", "1.2", "2.1"]
    assert index["study"].tolist() == ["9.1", "9.1", "9.2"]
    assert index["path"].tolist() == [str(source / place) for place in ("a/one", "a/two", "b")]
    assert index[list(LABELS)].isna().all(axis=None)


def test_patients_are_hashed(source):
    index = load(source)
    expected = ["P-" + hashlib.sha256(name).hexdigest()[:12] for name in (b"DOE^1", b"DOE^1", b"ROE^2")]
    assert index["patient"].tolist() == expected
    assert "DOE" not in index.to_csv()


@pytest.mark.parametrize(
    ("csv", "expected"),
    [
        ("series,any,subdural\n1.1,1,1\n2.1,0,0\n", [1, None, 0]),
        ("series,subdural\n1.2,1\n", [None, 1, None]),
        ("study,any\n9.1,1\n9.2,0\n", [1, 1, 0]),
        ("patient,any\nROE^2,1\nDOE^1,0\n", [0, 0, 1]),
        ("patient,any\nP-" + hashlib.sha256(b"ROE^2").hexdigest()[:12] + ",1\n", [None, None, 1]),
        ("path,any\na,1\nb/,0\n", [1, 1, 0]),
        ("path,any,site,split\na/one,1,NA,test\nb,0,x,train\n", [1, None, 0]),
        ("path,any\na\\two,1\n", [None, 1, None]),
    ],
)
def test_labels(source, csv, expected):
    index = load(source, csv)
    np.testing.assert_array_equal(index["any"], [np.nan if v is None else v for v in expected])
    assert (index["slice_labels"] == "").all()
    if "split" in csv:
        assert index["split"].tolist() == ["test", "", "train"]
        assert index["site"].tolist() == ["NA", "", "x"]


def test_the_origin_of_a_folder(source):
    index = load(source, "patient,any,origin\nDOE^1,1,hemseg200\nROE^2,0,\n")
    assert index["origin"].tolist() == ["hemseg200", "hemseg200", "folder"]
    assert set(load(source)["origin"]) == {"folder"}


def test_slice_labels(source):
    index = load(
        source,
        "series,slice,any,epidural\n1.1,1.1.2,1,1\n1.1,000.dcm,0,0\n"
        + "".join(f"2.1,00{k}.dcm,0,0\n" for k in range(4)),
    )
    np.testing.assert_array_equal(index["any"], [1, np.nan, 0])
    np.testing.assert_array_equal(index["epidural"], [1, np.nan, 0])
    np.testing.assert_array_equal(index["subdural"], [np.nan] * 3)
    assert index["slice_labels"][1] == ""
    table = read_slice_table(source.parent / "cache" / "slice_labels.csv")
    assert table["slice"].tolist() == [f"1.1.{k}" for k in (1, 2, 3, 4)] + [f"2.1.{k}" for k in (1, 2, 3, 4)]
    np.testing.assert_array_equal(table["any"], [0, 1, np.nan, np.nan, 0, 0, 0, 0])


@pytest.mark.parametrize(
    ("csv", "words"),
    [
        ("series,any\n1.1,1\n3.3,0\n", "line 3: matches no series: '3.3'"),
        ("path,any\n../scans/b,1\n", "matches no series"),
        ("series,any\n,1\n", "line 2: matches no series"),
        ("path,any\n,1\n", "line 2: matches no series"),
        ("series,any\n1.1,1\n1.1,1\n", "line 3: labels what an earlier line labels"),
        ("path,any\na,1\na/one,1\n", "line 3: labels what an earlier line labels"),
        ("series,path,any\n1.1,b,1\n", "line 2: matches no series: 'b 1.1'"),
        ("name,any\nx,1\n", r"has no column that names the scan .*: name -> path\?"),
        ("series,anny\n1.1,1\n", "has a column 'anny'"),
        ("series,site\n1.1,x\n", "has no labels"),
        ("series,any\n1.1,2\n", "line 2: any is '2'"),
        ("series,any,subdural\n1.1,0,1\n", "a subtype is 1"),
        ("series,any,split\n1.1,0,training\n", "split is 'training'"),
        ("series,slice,any\n1.1,1.1.9,1\n", "line 2: its scan has no slice '1.1.9'; it has "),
        ("series,slice,any\n1.1,,1\n1.1,000.dcm,1\n", "line 2: its scan has no slice ''"),
        ("series,slice,any\n1.1,1.1.1,1\n1.1,000.dcm,1\n", "line 3: labels what an earlier"),
        ("series,slice,any,site\n1.1,1.1.1,1,x\n1.1,1.1.2,1,y\n", "several sites"),
    ],
)
def test_bad_labels(source, csv, words):
    with pytest.raises(InputError, match=words):
        load(source, csv)


def test_folders_without_series(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        load(tmp_path / "nothing")
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("hello")
    with pytest.raises(InputError, match="holds no series among 1 files"):
        load(tmp_path / "texts")


def test_series_that_share_a_uid_or_have_none(tmp_path):
    write_series(tmp_path / "s" / "a", ramp(), series_uid="1.1", PatientID="x")
    write_series(tmp_path / "s" / "b", ramp(rows=8), series_uid="1.1", PatientID="x")
    write_series(tmp_path / "s" / "c", ramp(), series_uid="1.7", PatientID="", SeriesInstanceUID=None)
    index = load(tmp_path / "s")
    assert [name[:4] for name in index["series"][:2]] == ["1.1#", "1.1#"]
    assert index["series"].is_unique
    assert index["series"][2].startswith("S-")


def test_every_cohort_is_registered():
    assert set(COHORTS) == {"bhsd", "cq500", "ctich", "folder", "instance", "phantom", "rsna2019"}


def test_phantoms(tmp_path):
    index = COHORTS["phantom"](tiny_cohort(tmp_path / "p", scans=3), cache=tmp_path / "cache")
    assert set(index["origin"]) == {"phantom"}
    assert index[list(LABELS)].notna().all(axis=None)
    assert not (tmp_path / "cache").exists()
    with pytest.raises(InputError, match=r"no studies\.csv"):
        COHORTS["phantom"](tmp_path, cache=tmp_path / "cache")
    with pytest.raises(InputError, match="labels of their own"):
        COHORTS["phantom"](tmp_path / "p", cache=tmp_path / "cache", labels=tmp_path / "x.csv")
