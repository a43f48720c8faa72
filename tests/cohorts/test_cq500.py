import shutil

import numpy as np
import pandas as pd
import pydicom
import pytest

from ichformer import LABELS, cli
from ichformer.cohorts.adapters import cq500
from ichformer.cohorts.adapters.bhx import read_boxes
from ichformer.cohorts.reading import places, read_place
from ichformer.cohorts.tables import read_box_table, read_slice_table
from ichformer.ct.io.scans import read_volume
from ichformer.errors import InputError
from ichformer.pipeline.preparation.config import PrepareConfig
from tests.cohorts.cq500 import SLICES, series_uid, write_bhx, write_cq500, write_reads, write_study
from tests.stores import prepare_here

POSITIVE, NEGATIVE, UNREAD = series_uid(7, 4), series_uid(0, 0), series_uid(30, 0)


@pytest.fixture(scope="module")
def set_on_disk(tmp_path_factory):
    root = tmp_path_factory.mktemp("cq500")
    write_cq500(root)
    return root


@pytest.fixture
def with_boxes(set_on_disk, tmp_path):
    """A folder with the tables of both sets, beside which the scans lie."""
    tables = tmp_path / "tables"
    write_bhx(tables / "brain-hemorrhage-extended-1.1")
    (tables / "reads.csv").write_bytes((set_on_disk / "reads.csv").read_bytes())
    return tables


def test_the_majority_of_three_and_one_series_a_study(set_on_disk, tmp_path):
    before = sorted(set_on_disk.rglob("*"))
    index = cq500.load(set_on_disk, cache=tmp_path).set_index("series")
    assert sorted(set_on_disk.rglob("*")) == before
    assert index.index.tolist() == [NEGATIVE, POSITIVE, UNREAD]
    assert index["patient"].tolist() == ["CQ500-CT-0", "CQ500-CT-7", "CQ500-CT-30"]
    assert index["study"].tolist() == index["patient"].tolist() == ["CQ500-CT-0", "CQ500-CT-7", "CQ500-CT-30"]
    assert index["site"].tolist() == ["B1", "B2", ""]
    assert set(index["origin"]) == {"cq500"}
    assert index.loc[POSITIVE, list(LABELS)].tolist() == [0, 0, 0, 0, 1, 1]
    assert index.loc[NEGATIVE, list(LABELS)].tolist() == [0] * 6
    assert index.loc[UNREAD, list(LABELS)].isna().all()
    assert index.loc[POSITIVE, "path"].endswith("CQ500CT7 CQ500CT7/Unknown Study/CT Plain")
    assert (index["boxes"] == "").all()
    left_out = pd.read_csv(tmp_path / "cq500_left_out.csv")
    assert left_out["name"].tolist() == ["CQ500-CT-12"]
    assert "contrast" in left_out["reason"][0]


def test_pixels_are_coded_as_in_the_set(tmp_path):
    folder = write_study(tmp_path, 3, ("CT Plain", "CT Plain-2")) / "CT Plain"
    file = pydicom.dcmread(folder / "CT000000.dcm")
    assert file.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.4.70"
    expected = np.random.default_rng(3).integers(-10, 90, (SLICES, 16, 16))
    np.testing.assert_array_equal(read_volume(folder).hu, expected)


def test_what_was_chosen_and_why_is_written_down(set_on_disk, tmp_path):
    cq500.load(set_on_disk, cache=tmp_path)
    said = pd.read_csv(tmp_path / "cq500_series.csv", dtype=str, keep_default_na=False)
    said = said[said["name"] == "CQ500-CT-7"].set_index("description")
    assert said.index[said["chosen"] == "chosen"].tolist() == ["Plain"]
    assert said["why"].str.split(":").str[0].drop("Plain").to_dict() == {
        "4cc sec 150cc D3D on": "contrast",
        "BONE": "bone_kernel",
        "PLAIN THIN": "second_choice",
        "POST CONTRAST": "contrast",
    }


def test_slices_without_boxes_are_only_known_where_the_scan_is_negative(set_on_disk, tmp_path):
    cq500.load(set_on_disk, cache=tmp_path)
    slices = read_slice_table(tmp_path / "cq500_slices.csv").set_index("series")
    assert (slices.loc[NEGATIVE, list(LABELS)] == 0).all(axis=None)
    positive = slices.loc[POSITIVE]
    assert len(positive) == SLICES
    assert (positive[["epidural", "subarachnoid"]] == 0).all(axis=None)
    assert positive[["subdural", "any"]].isna().all(axis=None)
    assert slices.loc[UNREAD, list(LABELS)].isna().all(axis=None)
    assert positive["file"].tolist() == [f"CT{k:06d}.dcm" for k in range(SLICES)]


def test_boxes(set_on_disk, with_boxes, tmp_path):
    index = cq500.load(set_on_disk, cache=tmp_path, labels=with_boxes).set_index("series")
    assert index["boxes"].tolist() == ["", str(tmp_path / "cq500_boxes.csv"), ""]
    boxes = read_box_table(tmp_path / "cq500_boxes.csv")
    assert set(boxes["series"]) == {POSITIVE}
    assert boxes["slice"].str.removeprefix(POSITIVE + ".").tolist() == ["6", "6", "7", "7", "9"]
    assert boxes["label"].tolist() == ["subdural", "chronic", "subdural", "intraparenchymal", "chronic"]
    assert boxes.iloc[0][["x", "y", "width", "height"]].tolist() == [3.25, 4.5, 6.0, 2.75]
    assert boxes.iloc[2][["x", "y", "width", "height"]].tolist() == [3, 4, 6, 2]
    slices = read_slice_table(tmp_path / "cq500_slices.csv").set_index("slice")
    unknown, epidural = np.nan, 0
    expected = {5: [unknown, unknown], 6: [1, 1], 7: [1, 1], 9: [unknown, unknown]}
    for number, subdural_any in expected.items():
        row = slices.loc[f"{POSITIVE}.{number}"]
        np.testing.assert_array_equal(row[["subdural", "any"]].astype(float), subdural_any)
        assert row["epidural"] == epidural
    assert slices.loc[f"{POSITIVE}.3", "epidural"] == 0
    # A box round a bleed in the tissue, which two of three readers do not see in this scan.
    assert np.isnan(slices.loc[f"{POSITIVE}.7", "intraparenchymal"])
    assert slices.loc[f"{POSITIVE}.6", "intraparenchymal"] == 0


def test_the_third_table_serves_where_the_second_is_not_there(set_on_disk, with_boxes, tmp_path):
    (with_boxes / "brain-hemorrhage-extended-1.1" / "2_Extrapolation_to_All_Series.csv").unlink()
    index = cq500.load(set_on_disk, cache=tmp_path, labels=with_boxes)
    assert (index["boxes"] == "").all()  # it has boxes of another series
    assert len(read_box_table(tmp_path / "cq500_boxes.csv")) == 0


@pytest.mark.slow
def test_from_the_archive_to_a_store(set_on_disk, with_boxes, tmp_path):
    index = cq500.load(set_on_disk, cache=tmp_path, labels=with_boxes)
    store = prepare_here(index, tmp_path / "store", PrepareConfig(size=16))
    assert set(store.index["series"]) == {NEGATIVE, POSITIVE, UNREAD}
    scan = store.read(int(np.flatnonzero(store.index["series"] == POSITIVE)[0]))
    assert scan.volume.spacing_mm[0] == 5.0
    assert np.flatnonzero(scan.slice_labels[:, LABELS.index("subdural")] == 1).tolist() == [5, 6]


@pytest.mark.slow
def test_archives_as_they_come(set_on_disk, tmp_path):
    study = set_on_disk / "qct01" / "CQ500CT7 CQ500CT7"
    shutil.make_archive(str(tmp_path / "set" / "CQ500-CT-7"), "zip", study.parent, study.name)
    (tmp_path / "set" / "CQ500-CT-8.zip").write_bytes(b"cut short")
    index = cq500.load(tmp_path / "set", cache=tmp_path, labels=set_on_disk / "reads.csv")
    assert index["series"].tolist() == [POSITIVE]
    assert ".zip" in index["path"][0]
    assert pd.read_csv(tmp_path / "cq500_left_out.csv")["name"].tolist() == ["CQ500-CT-8"]
    unpacked = cq500.load(set_on_disk, cache=tmp_path / "cache")
    (packed,), (plain,) = places(index), places(unpacked[unpacked["series"] == POSITIVE])
    np.testing.assert_array_equal(read_place(packed).hu, read_place(plain).hu)
    shutil.copytree(study, tmp_path / "set" / study.name)
    assert (
        cq500.load(tmp_path / "set", cache=tmp_path, labels=set_on_disk / "reads.csv")["path"]
        .str.endswith("Plain")
        .all()
    )


@pytest.mark.slow
def test_the_command_line_says_what_is_of_no_use(set_on_disk, tmp_path, capsys):
    out = tmp_path / "store"
    cli.main(["prepare", "--dataset", "cq500", "--source", str(set_on_disk), "--out", str(out), "--size", "16"])
    said = capsys.readouterr().out
    assert "3 series, 0 left out" in said
    assert "1 of no use (cache/cq500_left_out.csv)" in said


def test_studies_in_processes(tmp_path, capsys):
    for study in range(5):
        write_study(tmp_path / "set", study, ("CT Plain",))
    write_reads(tmp_path / "set" / "reads.csv", {0: ("B1", {"EDH": 3})})
    index = cq500.load(tmp_path / "set", cache=tmp_path)
    assert index["patient"].tolist() == [f"CQ500-CT-{k}" for k in range(5)]
    assert index[["epidural", "any"]].iloc[0].tolist() == [1, 1]
    assert "studies" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text.replace("R2:SDH", "R2:SDHH"), "lacks the column 'R2:SDH'"),
        (lambda text: text.replace(",1,", ",yes,", 1), "line 2: R1:ICH is 'yes'"),
        (lambda text: text.replace("B2", "B3"), "line 2: found 'CQ500-CT-7', Category 'B3'"),
        (lambda text: text.replace("CT-0", "CT-7"), "line 3: found 'CQ500-CT-7'"),
        (lambda text: text.replace("CQ500-CT-7", "CQ500-CT-x"), "line 2: found 'CQ500-CT-x'"),
        (lambda text: "", "no CSV table"),
    ],
)
def test_bad_reads(set_on_disk, tmp_path, change, words):
    reads = tmp_path / "reads.csv"
    reads.write_text(change((set_on_disk / "reads.csv").read_text(encoding="utf-8-sig")))
    with pytest.raises(InputError, match=words):
        cq500.load(set_on_disk, cache=tmp_path / "cache", labels=reads)


def test_bad_folders(set_on_disk, tmp_path):
    with pytest.raises(InputError, match=r"holds no reads\.csv"):
        cq500.load(tmp_path, cache=tmp_path / "cache")
    reads = set_on_disk / "reads.csv"
    with pytest.raises(InputError, match="holds no CQ500CT0"):
        cq500.load(tmp_path, cache=tmp_path / "cache", labels=reads)
    write_study(tmp_path / "once", 3, ("CT POST CONTRAST",))
    with pytest.raises(InputError, match="1 studies, none with a series to choose; CQ500-CT-3: none of 1 series"):
        cq500.load(tmp_path / "once", cache=tmp_path / "cache", labels=reads)
    write_study(tmp_path / "once" / "again", 3, ("CT Plain",))
    with pytest.raises(InputError, match="study 3 lies there twice"):
        cq500.load(tmp_path / "once", cache=tmp_path / "cache", labels=reads)


@pytest.mark.parametrize(
    "box",
    [
        "", "None", "[1, 2, 3, 4]", "{'x': 1, 'y': 2, 'width': 3}", "{'x': 'a', 'y': 2, 'width': 3, 'height': 4}",
        "{'x': 1, 'y': 2, 'width': 0, 'height': 4}", "{'x': 1, 'y': 2, 'width': 1e999, 'height': 4}", "{" * 300,
        "__import__('os').system('true')", "{'x': 1, 'y': 2, 'width': 3, 'height': (lambda: 4)()}", "{'\\d': 1}",
        "(" * 400, "{'x': 1, " + " " * 1000 + "}", "{'x': None, 'y': 2, 'width': 3, 'height': 4}",
    ],
)  # fmt: skip
def test_boxes_that_are_none(with_boxes, box):
    path = with_boxes / "brain-hemorrhage-extended-1.1" / "2_Extrapolation_to_All_Series.csv"
    good = "{'x': 1, 'y': 1, 'width': 2, 'height': 2}"
    path.write_text(path.read_text().replace(good, box))
    with pytest.raises(InputError, match=r"line 3: data is .*, no box"):
        read_boxes(path)


def test_an_unknown_label_of_a_box(with_boxes):
    path = with_boxes / "brain-hemorrhage-extended-1.1" / "2_Extrapolation_to_All_Series.csv"
    path.write_text(path.read_text().replace("Chronic", "Tumour", 1))
    with pytest.raises(InputError, match="line 3: labelName is 'Tumour'"):
        read_boxes(path)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("s,1,any,1,1,1,1", "line 2: the label is none of"),
        ("s,1,subdural,1,one,1,1", "line 2: a place or size is no number"),
        ("s,1,subdural,1,,1,1", "line 2: a place or size is no number"),
        ("s,1,subdural,1,inf,1,1", "line 2: a place or size is no number"),
        ("s,1,subdural,1,1,0,1", "line 2: the box has no area"),
    ],
)
def test_a_bad_table_of_boxes(tmp_path, line, words):
    (tmp_path / "boxes.csv").write_text(f"series,slice,label,x,y,width,height\n{line}\n")
    with pytest.raises(InputError, match=words):
        read_box_table(tmp_path / "boxes.csv")
