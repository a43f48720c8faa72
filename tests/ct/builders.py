"""Tiny DICOM series, made by pydicom, for the tests of this folder."""

import pathlib
from collections.abc import Callable

import numpy as np
import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"


def tilted(degrees: float) -> tuple[float, ...]:
    """ImageOrientationPatient of slices that lean by this much, as a gantry leans them."""
    radians = np.deg2rad(degrees)
    return (1.0, 0.0, 0.0, 0.0, float(np.cos(radians)), -float(np.sin(radians)))


def dataset(
    stored: np.ndarray,
    position_mm: tuple[float, ...] = (0.0, 0.0, 0.0),
    orientation: tuple[float, ...] = (1, 0, 0, 0, 1, 0),
    series_uid: str = "1.2.3",
    sop_uid: str = "1.2.3.1",
    **tags: object,
) -> FileDataset:
    """One slice; ``tags`` replace what stands here, None removes."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CT_IMAGE
    meta.MediaStorageSOPInstanceUID = sop_uid
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    values = {
        "SOPClassUID": CT_IMAGE,
        "SOPInstanceUID": sop_uid,
        "Modality": "CT",
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
        "StudyInstanceUID": "1.2",
        "SeriesInstanceUID": series_uid,
        "SliceThickness": 5,
        "ImagePositionPatient": [f"{v:.6f}" for v in position_mm],
        "ImageOrientationPatient": [f"{v:.9f}" for v in orientation],
        "PixelSpacing": [0.5, 0.5],
        "Rows": stored.shape[0],
        "Columns": stored.shape[1],
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 16,
        "BitsStored": 16,
        "HighBit": 15,
        "PixelRepresentation": int(stored.dtype.kind == "i"),
        "RescaleIntercept": -1024,
        "RescaleSlope": 1,
        "RescaleType": "HU",
    } | tags
    for keyword, value in values.items():
        if value is not None:
            setattr(made, keyword, value)
    made.PixelData = stored.tobytes()
    return made


def write_series(
    folder: pathlib.Path,
    stored: np.ndarray,
    heights_mm: list[float] | None = None,
    names: list[str] | None = None,
    **options: object,
) -> list[pathlib.Path]:
    """A series [S,H,W] whose slices stand at ``heights_mm`` along z, 5 mm apart if not given; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    heights_mm = [5.0 * i for i in range(len(stored))] if heights_mm is None else heights_mm
    uid = str(options.get("series_uid", "1.2.3"))
    files = []
    for i, (picture, z) in enumerate(zip(stored, heights_mm, strict=True)):
        file = folder / (names[i] if names else f"{i:03d}.dcm")
        made = dataset(picture, position_mm=(-10.0, -20.0, z), sop_uid=f"{uid}.{i + 1}", **options)
        pydicom.dcmwrite(file, made)
        files.append(file)
    return files


def ramp(slices: int = 4, rows: int = 12, columns: int = 10) -> np.ndarray:
    """Stored values from air to bone, -1000 to 2000 HU with the intercept of ``dataset``.

    They differ in every voxel, as long as there are no more than 3000.
    """
    count = slices * rows * columns
    values = 24 + np.arange(count) * max(1, 3000 // count) % 3000
    return values.reshape(slices, rows, columns).astype(np.int16)


def head_hu(slices: int = 6, side: int = 64) -> np.ndarray:
    """HU [S,H,W] of something like a head: air, scalp, a ring of bone, brain and a ventricle, with noise."""
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    radius = np.hypot(y, x) / side
    inside = np.select([radius < 0.06, radius < 0.32, radius < 0.38, radius < 0.41], [8, 34, 1300, -60], -1000)
    noise = np.random.default_rng(0).normal(0, 4, (slices, side, side))
    return np.clip(np.rint(inside + noise), -1024, 3071).astype(np.int16)


def write_stack(
    folder: pathlib.Path,
    heights_mm: list[float],
    *,
    seed: int = 0,
    each: Callable[[int], dict[str, object]] = lambda _: {},
    **tags: object,
) -> np.ndarray:
    """Slices of 4 x 4 pixels whose values belong to ``seed``; returns their HU, in the order of ``heights_mm``.

    ``each`` gives the tags of one slice by its number. File names and SOPInstanceUIDs belong to ``seed`` too.
    """
    folder.mkdir(parents=True, exist_ok=True)
    hu = np.random.default_rng(seed).integers(-1000, 900, (len(heights_mm), 4, 4)).astype(np.int16)
    for i, z in enumerate(heights_mm):
        sop_uid = f"1.9.{seed}.{i + 1}"
        values = {"series_uid": "1.2.3", "sop_uid": sop_uid} | tags | each(i)
        made = dataset((hu[i] + 1024).astype(np.int16), position_mm=(-10.0, -20.0, float(z)), **values)
        pydicom.dcmwrite(folder / f"{i:03d}-{seed}.dcm", made)
    return hu


def even(count: int, step_mm: float = 5.0, first_mm: float = 0.0) -> list[float]:
    """Heights of an even stack."""
    return [first_mm + step_mm * i for i in range(count)]
