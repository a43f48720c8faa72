"""A cohort on disk: legal DICOM that reads back as it was made, an index that the library takes, and the same bytes."""

import csv
import hashlib
import json
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
import scipy.ndimage as ndi

from ichformer import LABELS, SUBTYPES
from ichformer.cohorts.index import read_index
from ichformer.cohorts.tables import SLICE_COLUMNS, read_slice_table
from ichformer.ct.io.dicom.dicom_file import quiet_pydicom
from ichformer.ct.io.dicom.reader import read_series
from ichformer.ct.io.dicom.series import group_files
from ichformer.ct.io.scans import read_volume
from ichformer.ct.phantom import CONFOUNDERS, DEFAULT_SITES, SITES, cohort, make_phantom, write_phantom_cohort
from ichformer.ct.phantom.cohort import write_cohort
from ichformer.ct.phantom.rsna import write_rsna_series
from ichformer.ct.phantom.write import uid, write_mask, write_series
from ichformer.errors import InputError
from ichformer.testing import TINY_SITES, tiny_cohort


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return tiny_cohort(tmp_path_factory.mktemp("phantom") / "tiny", scans=14, seed=3)


def coarse(name):
    """A site with few pixels: what is written and read is the same for any number."""
    return replace(SITES[name], pixels=96, step_mm=2.4)


def digests(folder, pattern="**/*"):
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.glob(pattern))
        if path.is_file()
    }


@pytest.mark.parametrize("name", DEFAULT_SITES)
def test_series_reads_back(tmp_path, name):
    phantom = make_phantom(3, site=coarse(name), subtypes=("intraparenchymal",))
    series = uid(name)
    instances = write_series(phantom, tmp_path / "s", patient="p", name="PHANTOM^1", study=uid("study"), series=series)
    volume = read_volume(tmp_path / "s")
    assert np.array_equal(volume.hu, phantom.volume.hu)
    np.testing.assert_allclose(volume.affine, phantom.volume.affine, atol=1e-5)
    np.testing.assert_allclose(volume.spacing_mm, phantom.volume.spacing_mm, atol=1e-5)
    assert volume.audit.tilt_deg == pytest.approx(SITES[name].tilt_deg, abs=0.01)
    assert volume.source == instances
    write_mask(phantom.mask, phantom.volume.affine, tmp_path / "m.nii.gz")
    mask = nibabel.load(tmp_path / "m.nii.gz")
    s, h, w = (int(v) for v in np.argwhere(phantom.mask)[0])
    assert np.asanyarray(mask.dataobj)[w, h, s] == phantom.mask[s, h, w] == 2
    lps = volume.affine @ [s, h, w, 1]
    ras = mask.affine @ [w, h, s, 1]
    np.testing.assert_allclose(ras, lps * [-1, -1, 1, 1], atol=1e-3)


@pytest.mark.parametrize("site", [coarse("birch"), coarse("dogwood")], ids=lambda site: site.name)
def test_padding_is_stored_outside_the_circle(tmp_path, site):
    phantom = make_phantom(1, site=site)
    write_series(phantom, tmp_path, patient="p", name="PHANTOM^1", study=uid("a"), series=uid("b"))
    first = pydicom.dcmread(tmp_path / "0001.dcm")
    assert first.pixel_array[0, 0] == site.padding == first.PixelPaddingValue
    assert first.pixel_array[site.pixels // 2, site.pixels // 2] != site.padding
    assert (phantom.volume.hu[:, 0, 0] == -1024).all()


def test_headers_are_legal(tiny, monkeypatch):
    monkeypatch.setattr(pydicom.config.settings, "reading_validation_mode", pydicom.config.RAISE)
    seen = set()
    for path in tiny.glob("dicom/**/*.dcm"):
        dataset = pydicom.dcmread(path)
        dataset.walk(lambda _, element: element.value)
        assert dataset.SOPClassUID == dataset.file_meta.MediaStorageSOPClassUID == pydicom.uid.CTImageStorage
        assert str(dataset.PatientName).startswith("PHANTOM^")
        assert dataset.Manufacturer.startswith("PHANTOM WORKS")
        assert dataset.SOPInstanceUID not in seen
        seen.add(dataset.SOPInstanceUID)
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID"):
            assert dataset[keyword].value.is_valid
    assert len(seen) > 100


@pytest.mark.slow
def test_index_labels_and_masks_agree(tiny):
    index = read_index(tiny / "studies.csv")
    with (tiny / "slice_labels.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == SLICE_COLUMNS
    assert len(index) == 14
    assert set(index["cohort"]) == set(index["origin"]) == {"phantom"}
    assert list(index["site"]) == [site.name for site in TINY_SITES] * 7
    for study in index.itertuples():
        volume = read_volume(study.path)
        mask = np.asanyarray(nibabel.load(study.mask).dataobj).transpose(2, 1, 0)
        slices = {row["slice"]: row for row in rows if row["series"] == study.series}
        labels = np.array([[int(slices[name][label]) for label in LABELS] for name in volume.source])
        assert mask.shape == volume.hu.shape
        assert len(slices) == len(volume.source)
        assert (labels.max(axis=0) == [getattr(study, label) for label in LABELS]).all()
        for k in range(len(SUBTYPES)):
            assert not labels[:, k][~(mask == k + 1).any(axis=(1, 2))].any()


def test_some_patients_come_twice_to_one_site(tiny):
    index = read_index(tiny / "studies.csv")
    twice = index[index["patient"].duplicated(keep=False)]
    assert len(twice) == 4
    assert (twice.groupby("patient")["site"].nunique() == 1).all()
    assert index["study"].is_unique


@pytest.mark.slow
def test_same_bytes_for_any_workers_and_any_size(tiny, tmp_path):
    again = write_cohort(
        tmp_path / "again", scans=5, seed=3, sites=TINY_SITES, prevalence=0.5, workers=2, progress=False
    )
    assert digests(again, "dicom/**/*.dcm").items() <= digests(tiny, "dicom/**/*.dcm").items()
    assert digests(again, "masks/*").items() <= digests(tiny, "masks/*").items()
    assert len(digests(again, "masks/*")) == 5


def test_prevalence_and_mixtures():
    plans = [cohort.plan_scan(i, seed=0, sites=TINY_SITES, prevalence=0.5) for i in range(2000)]
    positives = [plan.subtypes for plan in plans if plan.subtypes]
    assert 0.45 < len(positives) / len(plans) < 0.55
    for subtype in SUBTYPES:
        assert sum(subtype in found for found in positives) > 0.2 * len(positives)
    assert {len(found) for found in positives} == {1, 2, 3}
    assert {plan.mechanism for plan in plans if plan.subtypes} == {"trauma", "spontaneous"}
    assert not any(plan.mechanism for plan in plans if not plan.subtypes)
    for site in TINY_SITES:
        share = np.mean([bool(plan.subtypes) for plan in plans if plan.site == site])
        assert 0.44 < share < 0.56
    assert not any(cohort.plan_scan(i, seed=0, sites=TINY_SITES, prevalence=0.0).subtypes for i in range(50))


def test_the_same_cohort_is_left_alone_and_others_are_refused(tmp_path):
    out = tiny_cohort(tmp_path / "c", scans=2, seed=1)
    before = digests(out)
    assert tiny_cohort(out, scans=2, seed=1) == out
    assert digests(out) == before
    with pytest.raises(InputError, match="another phantom cohort"):
        tiny_cohort(out, scans=3, seed=1)
    full = tmp_path / "full"
    full.mkdir()
    (full / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="holds no phantom cohort"):
        tiny_cohort(full)
    assert [path.name for path in full.iterdir()] == ["thesis.txt"]
    assert json.loads((out / "phantom.json").read_text())["sites"] == ["tiny-a", "tiny-b"]


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "empty").mkdir()
    assert (tiny_cohort(tmp_path / "empty", scans=1) / "studies.csv").is_file()


def test_nothing_half_written(tmp_path, monkeypatch):
    def broken(out, seed, order):
        if order.number == 1:
            raise OSError("disk full")
        return original(out, seed, order)

    original = cohort.write_scan
    monkeypatch.setattr(cohort, "write_scan", broken)
    with pytest.raises(OSError, match="disk full"):
        tiny_cohort(tmp_path / "c", scans=3)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"sites": ("elsewhere",)}, "no site 'elsewhere'"),
        ({"sites": ()}, "is empty"),
        ({"scans": 0}, "scans: is 0"),
        ({"prevalence": 1.5}, "prevalence: is 1.5"),
        ({"confounders": -0.1}, "confounders: is -0.1"),
        ({"small": 2.0}, "small: is 2.0"),
        ({"workers": 0}, "workers: is 0"),
        ({"seed": -1}, "seed: is -1"),
    ],
)
def test_bad_orders_are_refused(tmp_path, options, words):
    with pytest.raises(InputError, match=words):
        write_phantom_cohort(tmp_path / "c", **{"scans": 1, "seed": 0, **options})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_public_cohort_with_a_named_site(tmp_path, capsys):
    out = write_phantom_cohort(tmp_path / "c", scans=1, seed=0, sites=("dogwood",), workers=1, progress=False)
    assert read_index(out / "studies.csv")["site"].tolist() == ["dogwood"]
    assert capsys.readouterr() == ("", "")


def test_rsna_slices_lack_what_they_lack_and_read_back(tmp_path):
    site = replace(SITES["rsna2019"], pixels=128, step_mm=1.8)
    phantom = make_phantom(3, site=site, subtypes=("intraparenchymal",), confounders=("metal",))
    names = write_rsna_series(phantom, tmp_path, patient="ID_0a1b2c3d", study="ID_1", series="ID_2")
    with quiet_pydicom():
        slices = [pydicom.dcmread(tmp_path / f"{name}.dcm") for name in names]
        # FACTS of the set: these tags and no others.
        assert {element.keyword for element in slices[0]} == {
            *("SOPInstanceUID", "Modality", "PatientID", "StudyInstanceUID", "SeriesInstanceUID"),
            *("ImagePositionPatient", "ImageOrientationPatient", "SamplesPerPixel", "PhotometricInterpretation"),
            *("Rows", "Columns", "PixelSpacing", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
            *("WindowCenter", "WindowWidth", "RescaleIntercept", "RescaleSlope", "PixelData"),
        }
        assert str(slices[0]["WindowCenter"].value[0].original_string) == "00040"
    stored = np.stack([one.pixel_array for one in slices])
    assert stored[:, 0, 0].tolist() == [3096] * len(names), "air wraps at 12 bits"
    assert phantom.volume.hu.max() == 3071
    volume = read_volume(tmp_path)
    assert np.array_equal(volume.hu, phantom.volume.hu)
    np.testing.assert_allclose(volume.affine, phantom.volume.affine, atol=1e-5)
    assert volume.source == names
    assert volume.audit.tilt_deg == pytest.approx(11.0, abs=0.01)
    assert {"intercept_repaired", "tilt"} <= {note.code for note in volume.audit.notes}
    assert "missing_slices" not in {note.code for note in volume.audit.notes}


def test_rsna_cohort_lies_flat_and_is_read_by_its_file_names(tmp_path):
    site = replace(SITES["rsna2019"], pixels=64, thickness_mm=14.0, step_mm=3.6)
    out = write_cohort(tmp_path / "c", scans=3, seed=1, sites=(site,), prevalence=1.0, workers=1, progress=False)
    index, table = read_index(out / "studies.csv"), read_slice_table(out / "slice_labels.csv")
    assert len(set(index["path"])) == 1
    assert index["patient"].str.fullmatch("ID_[0-9a-f]{8}").all()
    assert len(list((out / "dicom" / "rsna2019").iterdir())) == len(table)
    for study in index.itertuples():
        own = table[table["series"] == study.series]
        (series,) = group_files([Path(study.path) / name for name in own["file"]], path=Path(study.path)).series
        volume = read_series(series)
        assert volume.source == tuple(own["slice"])


@pytest.mark.slow
def test_contents_tell_millilitres_and_confounders(tmp_path):
    options = {"scans": 16, "seed": 3, "sites": TINY_SITES, "prevalence": 0.7, "workers": 1, "progress": False}
    out = write_cohort(tmp_path / "with", confounders=0.3, small=0.3, **options)
    with (out / "contents.csv").open(encoding="utf-8", newline="") as file:
        contents = {row["series"]: row for row in csv.DictReader(file)}
    for number, study in enumerate(read_index(out / "studies.csv").itertuples()):
        row = contents[study.series]
        image = nibabel.load(study.mask)
        voxel_ml = abs(np.linalg.det(image.affine)) / 1000
        mask = np.asanyarray(image.dataobj)
        for k, name in enumerate(SUBTYPES):
            assert float(row[f"{name}_ml"]) == pytest.approx((mask == 1 + k).sum() * voxel_ml, abs=0.01)
            assert (row[f"{name}_side"] in ("left", "right", "both", "midline")) == (k + 1 in mask)
            assert int(row[f"{name}_lesions"]) == ndi.label(mask == 1 + k, np.ones((3, 3, 3)))[1]
        assert abs(float(row["midline_shift_mm"])) < 16
        order = cohort.plan_scan(number, seed=3, sites=TINY_SITES, prevalence=0.7, confounders=0.3, small=0.3)
        assert row["mechanism"] == (order.mechanism or "")
        assert {name for name in CONFOUNDERS if row[name] == "1"} == set(order.confounders)
    assert sum(int(row["motion"]) for row in contents.values()) > 0
    plain = write_cohort(tmp_path / "without", confounders=0.0, small=0.3, **options)
    same = [s for s, row in contents.items() if row["atrophy"] == row["hydrocephalus"] == "0"]
    assert len(same) > 4
    assert all((out / f"masks/{s}.nii.gz").read_bytes() == (plain / f"masks/{s}.nii.gz").read_bytes() for s in same)


def test_without_confounders_the_pixels_are_those_of_version_4(tmp_path):
    """The demo's recipe is tuned on them. To renew: print ``found`` and ``blood``, and raise ``cohort.VERSION``."""
    assert cohort.VERSION == 4
    out = tiny_cohort(tmp_path / "c", scans=3, seed=0)
    found = [pydicom.dcmread(path).pixel_array[32, 16:48:4] for path in sorted(out.glob("dicom/**/0005.dcm"))]
    expected = [
        [1055, 1054, 1049, 1047, 1058, 1052, 1048, 1049],
        [1051, 1053, 1060, 1051, 1036, 1046, 1049, 1057],
        [1115, 1201, 1765, 1331, 1058, 1504, 2062, 1351],
    ]
    # One unit either way: another processor may round the sums of floats otherwise.
    np.testing.assert_allclose(np.array(found, int), expected, rtol=0, atol=1)
    blood = [np.count_nonzero(np.asanyarray(nibabel.load(path).dataobj)) for path in sorted(out.glob("masks/*"))]
    assert np.abs(np.subtract(sorted(blood), [0, 0, 16])).max() <= 2
