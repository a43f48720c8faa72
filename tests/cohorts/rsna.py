"""A small imitation of RSNA 2019 as it lies on disk: its header to the letter, its faults, its CSV."""

import pathlib

import numpy as np
import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from ichformer import LABELS
from ichformer.ct.io.dicom.dicom_file import quiet_pydicom

SHORT = "ID_6431af929"
"""The file whose pixel data are cut short."""


def write_slice(
    folder: pathlib.Path, name: str, *, patient: str, study: str, series: str, k: int, hu: np.ndarray
) -> None:
    """One file without SOPClassUID and InstanceNumber, with UIDs that are none, tilted by 11 degrees, two windows."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    lean = np.deg2rad(11.0)
    values = {
        "SOPInstanceUID": name,
        "Modality": "CT",
        "PatientID": patient,
        "StudyInstanceUID": study,
        "SeriesInstanceUID": series,
        "StudyID": "",
        "ImagePositionPatient": ["-125.000000", "-19.000000", f"{150.0 + 5.1 * k:.6f}"],
        "ImageOrientationPatient": [
            *("1.000000", "0.000000", "0.000000", "0.000000"),
            *(f"{np.cos(lean):.6f}", f"{-np.sin(lean):.6f}"),
        ],
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": hu.shape[0],
        "Columns": hu.shape[1],
        "PixelSpacing": ["4.000000", "4.000000"],
        "BitsAllocated": 16,
        "BitsStored": 16,
        "HighBit": 15,
        "PixelRepresentation": 1,
        "WindowCenter": "00040\\00040",
        "WindowWidth": "00080\\00080",
        "RescaleIntercept": "-1024",
        "RescaleSlope": "1",
    }
    pydicom.config.settings.writing_validation_mode = pydicom.config.IGNORE
    try:
        with quiet_pydicom():
            for keyword, value in values.items():
                setattr(made, keyword, value)
            pixels = (hu + 1024).astype("<i2").tobytes()
            made.PixelData = pixels[: len(pixels) // 2] if name == SHORT else pixels
            pydicom.dcmwrite(folder / f"{name}.dcm", made, enforce_file_format=False)
    finally:
        pydicom.config.settings.writing_validation_mode = None


def write_rsna(root: pathlib.Path, *, images: str = "stage_2_train") -> dict[str, list[str]]:
    """Three series of two patients in one flat folder; the slices' names by series.

    ``ID_series0`` bleeds (subdural) in its slice 2, ``ID_series1`` of the same patient has a constant slice,
    ``ID_series2`` has the short file.
    """
    folder = root / images
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    names: dict[str, list[str]] = {}
    rows = []
    for s in range(3):
        series = f"ID_series{s}"
        names[series] = [f"ID_{rng.integers(16**9):09x}" for _ in range(5)]
        if s == 2:
            names[series][3] = SHORT
        for k, name in enumerate(names[series]):
            hu = rng.integers(-10, 60, (48, 48))
            hu[:6] = hu[-6:] = -1000
            if (s, k) == (1, 4):
                hu[:] = -1024
            patient = "ID_patient2" if s == 2 else "ID_patient1"
            write_slice(folder, name, patient=patient, study=f"ID_study{s}", series=series, k=k, hu=hu)
            positive = {"subdural", "any"} if (s, k) == (0, 2) else set()
            rows += [f"{name}_{label},{int(label in positive)}" for label in LABELS]
    again = [row for row in rows if row.startswith(names["ID_series1"][0])]
    (root / "stage_2_train.csv").write_text("\n".join(["ID,Label", *rows, *again]) + "\n")
    return names
