import nibabel
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ichformer.cohorts.adapters import bhsd
from ichformer.cohorts.folder import adapter as folder
from ichformer.cohorts.index import make_index
from ichformer.cohorts.leakage import check_leakage, leaks
from ichformer.cohorts.patients import apart_by_key, same_nobody
from ichformer.cohorts.reading import places, read_place
from ichformer.ct.fingerprint import KEPT, fingerprint
from ichformer.ct.io.scans import read_volume
from ichformer.errors import InputError
from tests.cohorts.nifti_sets import write_bhsd
from tests.ct.builders import write_series


def series(k: int, patient: int, *, origin: str = "c", **more: object) -> dict[str, object]:
    names = {"cohort": origin, "origin": origin, "patient": f"p{patient}", "study": f"s{k}", "series": f"{origin}{k}"}
    return {**names, "path": f"/d/{k}", **more}


@pytest.mark.parametrize(
    ("train", "test", "what"),
    [
        (series(0, 1), series(1, 1), "patient"),
        (series(0, 1, origin="rsna2019"), series(1, 1, origin="rsna2019", cohort="bhsd"), "patient"),
        (series(0, 1), series(1, 2, study="s0"), "study"),
        (series(0, 1, origin="x", series="same"), series(0, 1, origin="y", series="same"), "series"),
        (series(0, 1, origin="rsna2019"), series(1, 2, origin="hemseg200"), "origin"),
        (series(0, 1, origin="HemSeg-200"), series(1, 2, origin="rsna2019"), "origin"),
        (series(0, 1, origin="HemSeg-200"), series(1, 2, origin="BHSD"), "origin"),
        (series(0, 1, origin="MBH-Seg"), series(1, 2, origin="BHSD"), "origin"),
        (series(0, 1, origin="cq500"), series(1, 2, origin="BHX"), "origin"),
    ],
)
def test_leaks_are_found(train, test, what):
    harmless = series(9, 9)
    with pytest.raises(InputError, match=f"^{what}: 1 of 2 series are in training and in test, such as"):
        check_leakage(make_index([harmless, train]), make_index([test]))
    assert leaks(make_index([harmless, train]), make_index([test])).tolist() == ["", what]


@pytest.mark.parametrize(
    ("train", "test"),
    [
        (series(0, 1, origin="x", study=""), series(0, 1, origin="y", study="")),
        (series(0, 1, study=""), series(1, 2, study="")),
        (series(0, 1, origin="rsna2019"), series(1, 2, origin="cq500")),
        (series(0, 1, origin="rsna2019"), series(1, 2, origin="rsna2019", cohort="bhsd")),
        (series(0, 1, origin="instance"), series(1, 2, origin="ctich")),
    ],
)
def test_no_leak(train, test):
    check_leakage(make_index([train]), make_index([test]))


def keyed(k: int, key: str, **more: object):
    return make_index([series(k, k, patient_source="header", **more)]).assign(patient_key=key)


@pytest.mark.parametrize(
    ("train", "test", "comparable"),
    [
        (keyed(0, "aaaaaaaa"), keyed(1, "aaaaaaaa"), True),
        (keyed(0, "aaaaaaaa"), keyed(1, "bbbbbbbb"), False),
        (keyed(0, "aaaaaaaa"), keyed(1, "bbbbbbbb", origin="d"), False),
        (keyed(0, "aaaaaaaa"), keyed(1, ""), False),  # a store of an earlier version
        (keyed(0, "aaaaaaaa"), keyed(1, "", origin="rsna2019"), True),
        (keyed(0, ""), keyed(1, ""), True),
        (make_index([series(0, 0, patient_source="header")]), keyed(1, ""), True),
    ],
)
def test_patients_of_two_keys_are_not_said_to_differ(train, test, comparable):
    check_leakage(train, test)
    assert (apart_by_key(train, test) == "") == comparable
    said = same_nobody(train, test)
    assert ("which was checked" in said) == comparable
    assert ("prepare both with one key (prepare --patient-key)" in said) != comparable


def test_what_does_not_leak_can_be_trained_on():
    train = make_index([series(k, k, origin="rsna2019") for k in range(6)])
    test = make_index([series(k, k - 4, origin="rsna2019", cohort="bhsd") for k in (6, 7)])
    allowed = train[leaks(train, test) == ""]
    assert allowed["patient"].tolist() == ["p0", "p1", "p4", "p5"]
    check_leakage(allowed, test)


def scan(seed: int, slices: int = 12) -> np.ndarray:
    """Stored values of a head of noise in a field of air that pads differently at its rim."""
    stored = np.full((slices, 20, 20), 24, np.int16)
    stored[:, 4:-4, 4:-4] = 1024 + np.random.default_rng(seed).integers(-60, 120, (slices, 12, 12))
    return stored


def write_nifti_of(path, hu_lps: np.ndarray) -> None:
    """The same HU as another program might write them: float, other axes and padding."""
    hu_lps = np.where(hu_lps < -500, -2000, hu_lps).astype(np.float32)
    affine = np.diag([-0.4, 0.5, 5.0, 1.0])  # columns to the left, rows to the front, slices up
    nibabel.save(nibabel.Nifti1Image(hu_lps[:, ::-1].transpose(2, 1, 0), affine), path)


def test_the_same_pixels_under_other_names(tmp_path):
    for name, seed, patient in (("a", 1, "DOE"), ("b", 2, "ROE")):
        write_series(tmp_path / "dicom" / name, scan(seed), series_uid=f"1.{seed}", PatientID=patient)
    dicom = folder.load(tmp_path / "dicom", cache=tmp_path).index
    write_nifti_of(tmp_path / "x.nii.gz", read_volume(tmp_path / "dicom" / "b").hu)
    write_nifti_of(tmp_path / "y.nii.gz", (scan(3) - 1024)[:, ::-1])
    nifti = make_index(
        [series(k, k, origin="other", path=str(tmp_path / name)) for k, name in enumerate(("x.nii.gz", "y.nii.gz"))]
    )
    check_leakage(dicom, nifti)
    dicom, nifti = (
        index.assign(pixels=[fingerprint(read_place(place).hu) for place in places(index)]) for index in (dicom, nifti)
    )
    assert leaks(dicom, nifti).tolist() == ["", "pixels"]
    with pytest.raises(InputError, match=r"^pixels: 1 of 2 series .*1\.2 .*under other names"):
        check_leakage(dicom, nifti)
    check_leakage(dicom, nifti.iloc[1:])


def test_two_scans_without_known_pixels_are_not_the_same():
    index = make_index([series(0, 0)]).assign(pixels="")
    check_leakage(index, index.assign(origin="y", series="z"))


def test_bhsd_against_rsna(tmp_path):
    write_bhsd(tmp_path)
    test = bhsd.load(tmp_path, cache=tmp_path / "cache")
    patients = ("ID_2db7ee14", "ID_ffffffff", "ID_0bee00a2")
    train = make_index(
        [
            {"cohort": "rsna2019", "origin": "rsna2019", "patient": patient, "series": f"ID_{k}", "path": "/d"}
            for k, patient in enumerate(patients)
        ]
    )
    assert leaks(train, test).tolist() == ["patient", "", "patient"]


@given(st.integers(0, 1000), st.permutations(range(6)), st.booleans(), st.booleans(), st.integers(0, 3))
def test_a_fingerprint_knows_a_scan_turned_padded_and_reordered(seed, order, flipped, transposed, margin):
    hu = (scan(seed, 6) - 1024).astype(np.int16)
    other = hu[list(order)]
    other = other[:, ::-1] if flipped else other
    other = other.transpose(0, 2, 1) if transposed else other
    other = np.pad(other, ((0, 0), (margin, margin), (0, 0)), constant_values=-1024)
    assert fingerprint(np.ascontiguousarray(other)) == fingerprint(hu)


@given(st.integers(0, 1000))
def test_a_fingerprint_changes_with_any_pixel_of_tissue(seed):
    hu = (scan(seed, 1) - 1024).astype(np.int16)
    changed = hu.copy()
    changed[0, 10, 10] += 1
    assert not set(fingerprint(hu).split()) & set(fingerprint(changed).split())


def test_a_part_of_a_scan_is_known_and_other_scans_are_not():
    scans = [(scan(seed, 40) - 1024).astype(np.int16) for seed in range(30)]
    prints = [set(fingerprint(hu).split()) for hu in scans]
    assert {len(said) for said in prints} == {KEPT}
    parts = [set(fingerprint(hu[10:30]).split()) for hu in scans]
    assert all(mine & part for mine, part in zip(prints, parts, strict=True))
    assert not any(mine & other for k, mine in enumerate(prints) for other in parts[:k] + parts[k + 1 :])


def test_air_has_no_fingerprint():
    assert fingerprint(np.full((3, 20, 20), -1024, np.int16)) == ""
    assert fingerprint(np.full((3, 20, 20), 30, np.int16)) == ""


def test_real_scans(real_data):
    head = read_volume(real_data / "dcm_qa_ct" / "GE").hu
    tissue = fingerprint(head).split()
    assert len(tissue) == KEPT
    assert set(tissue) & set(fingerprint(head[::-1, ::-1]).split()) == set(tissue)
    template = read_volume(next((real_data / "ct_template").rglob("scct*.nii*"))).hu
    assert not set(tissue) & set(fingerprint(template).split())
