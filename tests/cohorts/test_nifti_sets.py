import numpy as np
import pandas as pd
import pytest

from ichformer import LABELS
from ichformer.cohorts.adapters import bhsd, ctich, instance
from ichformer.cohorts.adapters.voxels import slice_values
from ichformer.cohorts.tables import read_slice_table
from ichformer.ct.io.nifti import read_nifti
from ichformer.errors import InputError
from tests.cohorts.nifti_sets import BHSD, SLICES, mask, scan, write_bhsd, write_ctich, write_instance, write_nifti
from tests.stores import prepare_here

UNKNOWN = np.nan


def by_slice(path, series):
    """Of one series [S,6], in the order of the table, and the names of its slices."""
    table = read_slice_table(path)
    own = table[table["series"] == series]
    return own[list(LABELS)].to_numpy(), own["slice"].tolist()


def test_ctich(tmp_path):
    write_ctich(tmp_path / "set")
    before = sorted((tmp_path / "set").rglob("*"))
    index = ctich.load(tmp_path / "set", cache=tmp_path / "cache").set_index("series")
    assert sorted((tmp_path / "set").rglob("*")) == before
    assert index.index.tolist() == ["ctich-049", "ctich-050", "ctich-051", "ctich-066"]
    assert set(index["origin"]) == {"ctich"}
    assert index.loc["ctich-049", list(LABELS)].tolist() == [1, 0, 0, 0, 0, 1]
    assert index.loc["ctich-050", list(LABELS)].tolist() == [0] * 6
    assert index.loc["ctich-051", list(LABELS)].tolist() == [0, 0, 0, 0, 0, 1]
    assert index.loc["ctich-066", list(LABELS)].isna().all()
    assert index.loc["ctich-049", "path"] == str(tmp_path / "set" / "ct_scans" / "049.nii")
    assert index.loc["ctich-049", "mask"] == str(tmp_path / "set" / "masks" / "049.nii")
    labels, names = by_slice(tmp_path / "cache" / "ctich_slices.csv", "ctich-049")
    assert labels[:, 0].tolist() == labels[:, -1].tolist() == [0, 1, 1, 0, 0, 0]
    assert names == [f"049.nii#{number}" for number in range(1, SLICES + 1)]
    assert not (tmp_path / "cache" / "ctich_left_out.csv").exists()


def test_ctich_labels_lie_where_the_mask_does(tmp_path):
    write_ctich(tmp_path)
    ctich.load(tmp_path, cache=tmp_path / "cache")
    labels, names = by_slice(tmp_path / "cache" / "ctich_slices.csv", "ctich-049")
    values = slice_values(tmp_path / "masks" / "049.nii", tmp_path / "ct_scans" / "049.nii")
    assert [bool(v) for v in values] == (labels[:, -1] == 1).tolist()
    assert set().union(*values) == {255}
    assert tuple(names) == read_nifti(tmp_path / "ct_scans" / "049.nii").source


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text.replace("49,2,0,0,0,1,0,0", "49,2,0,0,0,1,0,1"), "line 3: says a subtype and No_Hemorrhage"),
        (lambda text: text.replace("49,2,", "49,1,"), "line 3: contradicts an earlier line"),
        (lambda text: text.replace("49,2,", "49,,"), "line 3: lacks a patient or a slice"),
        (lambda text: text.replace("49,2,", "49,two,"), "line 3: SliceNumber is 'two'"),
        (lambda text: text.replace("49,2,0", "49,2,7"), "line 3: intraventricular is '7'"),
        (lambda text: text.replace("No_Hemorrhage", "None"), "lacks the column 'No_Hemorrhage'"),
    ],
)
def test_a_bad_csv_of_ctich(tmp_path, change, words):
    write_ctich(tmp_path)
    csv = tmp_path / "hemorrhage_diagnosis_raw_ct.csv"
    csv.write_text(change(csv.read_text()))
    with pytest.raises(InputError, match=words):
        ctich.load(tmp_path, cache=tmp_path / "cache")


def test_ctich_rows_that_do_not_fit_the_scan(tmp_path):
    write_ctich(tmp_path)
    write_nifti(tmp_path / "ct_scans" / "049.nii", scan(1, SLICES - 1))
    index = ctich.load(tmp_path, cache=tmp_path / "cache")
    assert "ctich-049" not in set(index["series"])
    left_out = pd.read_csv(tmp_path / "cache" / "ctich_left_out.csv")
    assert "SliceNumber 6, but 049.nii has 5 slices" in left_out["reason"][0]
    write_nifti(tmp_path / "ct_scans" / "049.nii", scan(1))
    ctich.load(tmp_path, cache=tmp_path / "cache")
    assert not (tmp_path / "cache" / "ctich_left_out.csv").exists()


def test_instance(tmp_path):
    write_instance(tmp_path)
    index = instance.load(tmp_path, cache=tmp_path / "cache").set_index("series")
    assert index.index.tolist() == ["instance-001", "instance-002"]
    assert index.loc["instance-002", list(LABELS)].tolist() == [0] * 6
    np.testing.assert_array_equal(index.loc["instance-001", list(LABELS)].astype(float), [UNKNOWN] * 5 + [1])
    labels, _ = by_slice(tmp_path / "cache" / "instance_slices.csv", "instance-001")
    assert labels[:, -1].tolist() == [0, 0, 1, 1, 0, 0]
    np.testing.assert_array_equal(labels[:, 0], [0, 0, UNKNOWN, UNKNOWN, 0, 0])
    left_out = pd.read_csv(tmp_path / "cache" / "instance_left_out.csv")
    assert left_out["name"].tolist() == ["instance-003"]
    assert "003.nii.gz: shape [24, 24, 5], but its scan has [24, 24, 6]" in left_out["reason"][0]


def test_bhsd(tmp_path):
    write_bhsd(tmp_path / "set")
    index = bhsd.load(tmp_path / "set", cache=tmp_path / "cache").set_index("series")
    assert set(index["cohort"]) == {"bhsd"}
    assert set(index["origin"]) == {"rsna2019"}
    assert index["patient"].tolist() == [
        *("ID_0237f3c9", "ID_2db7ee14", "ID_2db7ee14", "ID_039bebb1", "ID_0bee00a2"),
    ]
    assert index["study"].tolist()[:3] == ["ID_40015688b9", "ID_2591d00dfc", "ID_f27e38fdfd"]
    expected = {
        "ID_2db7ee14_ID_2591d00dfc": [1, 0, 0, 0, 1, 1],
        "ID_2db7ee14_ID_f27e38fdfd": [0, 1, 1, 1, 0, 1],
        "ID_0237f3c9_ID_40015688b9": [0, 0, 0, 1, 0, 1],
        "ID_039bebb1_ID_0fdcfd6fbb": [UNKNOWN] * 5 + [1],
        "ID_0bee00a2_ID_0b9e78b135": [0] * 6,
    }
    for series, labels in expected.items():
        np.testing.assert_array_equal(index.loc[series, list(LABELS)].astype(float), labels)
    assert [bool(mask) for mask in index["mask"]] == [True] * 3 + [False] * 2
    assert [bool(path) for path in index["slice_labels"]] == [True] * 3 + [False, True]
    for series, places in BHSD.items():
        labels, names = by_slice(tmp_path / "cache" / "bhsd_slices.csv", series)
        found = {names[row]: int(label) + 1 for row, label in np.argwhere(labels[:, :-1] == 1)}
        assert found == {f"{series}.nii.gz#{number}": value for number, value in places.items()}
    labels, _ = by_slice(tmp_path / "cache" / "bhsd_no_bleed_slices.csv", "ID_0bee00a2_ID_0b9e78b135")
    assert labels.tolist() == [[0] * 6] * SLICES


def test_bhsd_files_that_do_not_fit(tmp_path):
    write_bhsd(tmp_path)
    labelled = tmp_path / "label_192"
    names = sorted(BHSD)
    (labelled / "ground truths" / f"{names[0]}.nii.gz").unlink()
    # Upside down: labels would lie on the wrong slices.
    write_nifti(labelled / "ground truths" / f"{names[1]}.nii.gz", mask({2: 1}), step_mm=-5.0)
    write_nifti(labelled / "images" / "scan7.nii.gz", scan(7))
    (tmp_path / "unlabel_2000" / "nobleed" / "ID_0bee00a2_ID_0b9e78b135.nii.gz").write_bytes(b"broken")
    index = bhsd.load(tmp_path, cache=tmp_path / "cache")
    assert index["series"].tolist() == [names[2], "ID_039bebb1_ID_0fdcfd6fbb"]
    left_out = pd.read_csv(tmp_path / "cache" / "bhsd_left_out.csv").set_index("name")["reason"]
    assert "does not exist" in left_out[names[0]]
    assert "mm off its scan" in left_out[names[1]]
    assert "its patient is unknown" in left_out["scan7"]
    assert "cannot be read" in left_out["ID_0bee00a2_ID_0b9e78b135"]


def test_a_value_that_is_no_subtype_makes_a_slice_unknown(tmp_path):
    write_bhsd(tmp_path)
    name = min(BHSD)
    write_nifti(tmp_path / "label_192" / "ground truths" / f"{name}.nii.gz", mask({1: 6, 2: 3}))
    index = bhsd.load(tmp_path, cache=tmp_path / "cache").set_index("series")
    np.testing.assert_array_equal(
        index.loc[name, list(LABELS)].astype(float), [UNKNOWN, UNKNOWN, 1, UNKNOWN, UNKNOWN, 1]
    )


@pytest.mark.parametrize(
    ("voxels", "words"),
    [
        (np.full((24, 24, SLICES), 0.5, np.float32), "holds other values than 0 to 255"),
        (np.full((24, 24, SLICES), 300, np.int16), "holds other values than 0 to 255"),
        (np.full((24, 24, SLICES), np.nan, np.float32), "holds other values than 0 to 255"),
        (np.zeros((24, 12, SLICES), np.uint8), r"shape \[24, 12, 6\], but its scan has \[24, 24, 6\]"),
    ],
)
def test_masks_that_are_none(tmp_path, voxels, words):
    write_nifti(tmp_path / "scan.nii", scan(0))
    write_nifti(tmp_path / "mask.nii.gz", voxels)
    with pytest.raises(InputError, match=words):
        slice_values(tmp_path / "mask.nii.gz", tmp_path / "scan.nii")


def test_a_mask_cut_short(tmp_path):
    write_nifti(tmp_path / "scan.nii", scan(0))
    write_nifti(tmp_path / "mask.nii", mask({1: 1}))
    whole = (tmp_path / "mask.nii").read_bytes()
    (tmp_path / "mask.nii").write_bytes(whole[:1000])
    with pytest.raises(InputError, match=r"mask\.nii: "):
        slice_values(tmp_path / "mask.nii", tmp_path / "scan.nii")


@pytest.mark.parametrize(("load", "write"), [(instance.load, write_instance), (bhsd.load, write_bhsd)])
def test_sets_whose_labels_are_their_masks(tmp_path, load, write):
    with pytest.raises(InputError, match="holds no"):
        load(tmp_path, cache=tmp_path / "cache")
    write(tmp_path)
    with pytest.raises(InputError, match="leave it out"):
        load(tmp_path, cache=tmp_path / "cache", labels=tmp_path / "x.csv")
    for folder in ("label", "ground truths"):
        for path in tmp_path.glob(f"*/{folder}/*"):
            path.unlink()
    with pytest.raises(InputError, match="no scan has a mask that fits"):
        load(tmp_path, cache=tmp_path / "cache")


def test_ctich_without_files(tmp_path):
    with pytest.raises(InputError, match=r"holds no ct_scans/049\.nii"):
        ctich.load(tmp_path, cache=tmp_path / "cache")
    write_ctich(tmp_path)
    (tmp_path / "hemorrhage_diagnosis_raw_ct.csv").unlink()
    with pytest.raises(InputError, match=r"holds no hemorrhage_diagnosis_raw_ct\.csv"):
        ctich.load(tmp_path, cache=tmp_path / "cache")


@pytest.mark.parametrize(
    ("load", "write", "series"),
    [
        (ctich.load, write_ctich, "ctich-049"),
        (instance.load, write_instance, "instance-001"),
        (bhsd.load, write_bhsd, "ID_2db7ee14_ID_f27e38fdfd"),
    ],
)
def test_from_the_files_to_a_store(tmp_path, load, write, series):
    write(tmp_path / "set")
    index = load(tmp_path / "set", cache=tmp_path / "cache")
    store = prepare_here(index, tmp_path / "store")
    assert set(store.index["series"]) == set(index["series"])
    scan = store.read(int(np.flatnonzero(store.index["series"] == series)[0]))
    bleeds = (scan.mask > 0).any((1, 2))
    assert 0 < bleeds.sum() < SLICES
    np.testing.assert_array_equal(scan.slice_labels[:, -1], bleeds)
