"""Writing a phantom as RSNA 2019 holds its scans: few tags, and values that wrap at 12 bits.

The set's quirks: no SOPClassUID, InstanceNumber, thickness or tilt; UIDs that are none (``ID_...``); windows with
several values; a flat folder; and, in part of it, unsigned 12-bit values of HU that wrapped at 4096 under an intercept
near 0 (``ct.hounsfield.to_hu`` undoes it).
"""

import hashlib
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from ichformer.ct.io.dicom.dicom_file import quiet_pydicom
from ichformer.ct.phantom.make import Phantom
from ichformer.ct.phantom.write import decimals, save_dataset, slice_origins


def rsna_name(*parts: object, digits: int) -> str:
    """``ID_`` and hexadecimal digits that are the same whenever the parts are."""
    text = "\n".join(["ichformer phantom", *map(str, parts)])
    return f"ID_{hashlib.sha256(text.encode()).hexdigest()[:digits]}"


def write_rsna_series(phantom: Phantom, folder: Path, *, patient: str, study: str, series: str) -> tuple[str, ...]:
    """Write one file a slice, named by its SOPInstanceUID, into a folder that other series may share.

    Args:
      phantom: what to write; of a site without values below -1000 HU.
      folder: made if it is not there.
      patient: PatientID.
      study: StudyInstanceUID.
      series: SeriesInstanceUID.

    Returns:
      the SOPInstanceUIDs, a slice each, from inferior to superior.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # Negative values wrap: -1000 HU are stored as 3096.
    stored = (phantom.volume.hu % 4096).astype("<u2")
    instances = tuple(rsna_name(series, number, digits=9) for number in range(len(stored)))
    with quiet_pydicom():
        dataset = _header(phantom, patient=patient, study=study, series=series)
        for instance, origin, pixels in zip(instances, slice_origins(phantom), stored, strict=True):
            dataset.SOPInstanceUID = instance
            dataset.ImagePositionPatient = decimals(origin)
            dataset.PixelData = pixels.tobytes()
            save_dataset(dataset, folder / f"{instance}.dcm", enforce_file_format=False)
    return instances


def _header(phantom: Phantom, *, patient: str, study: str, series: str) -> Dataset:
    affine, pixel_mm = phantom.volume.affine, phantom.volume.spacing_mm[1]
    dataset = Dataset()
    dataset.preamble = b"\0" * 128
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.Modality = "CT"
    dataset.PatientID = patient
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study, series
    dataset.ImageOrientationPatient = decimals(np.concatenate([affine[:3, 2], affine[:3, 1]]) / pixel_mm)
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows = dataset.Columns = phantom.site.pixels
    dataset.PixelSpacing = decimals([pixel_mm, pixel_mm])
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelRepresentation = 0
    dataset.WindowCenter, dataset.WindowWidth = ["00040", "00040"], ["00080", "00080"]
    dataset.RescaleIntercept, dataset.RescaleSlope = str(phantom.site.intercept), "1"
    return dataset
