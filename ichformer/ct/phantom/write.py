"""Writing a phantom: a legal DICOM series, and its mask as NIfTI."""

import io
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float64, UInt8
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, generate_uid

from ichformer.ct.nifti_out import nifti_bytes
from ichformer.ct.phantom.acquisition.sites import Site
from ichformer.ct.phantom.make import Phantom
from ichformer.files.writing import write_bytes


def uid(*parts: object) -> str:
    """A UID that depends on the given parts alone."""
    return str(generate_uid(entropy_srcs=["ichformer phantom", *map(str, parts)]))


def write_series(
    phantom: Phantom, folder: Path, *, patient: str, name: str, study: str, series: str
) -> tuple[str, ...]:
    """Write one file a slice, ``0001.dcm`` and so on, from inferior to superior.

    Args:
      phantom: what to write.
      folder: made if it is not there.
      patient: PatientID.
      name: PatientName.
      study: StudyInstanceUID.
      series: SeriesInstanceUID.

    Returns:
      the SOPInstanceUIDs, a slice each.
    """
    folder.mkdir(parents=True, exist_ok=True)
    dataset = _header(phantom, patient=patient, name=name, study=study, series=series)
    stored = _stored(phantom)
    origins = slice_origins(phantom)
    instances = tuple(uid(series, number) for number in range(1, len(stored) + 1))
    for number, (instance, origin, pixels) in enumerate(zip(instances, origins, stored, strict=True), start=1):
        dataset.file_meta.MediaStorageSOPInstanceUID = UID(instance)
        dataset.SOPInstanceUID = instance
        dataset.InstanceNumber = number
        dataset.ImagePositionPatient = decimals(origin)
        dataset.SliceLocation = decimals(origin[2:])[0]
        dataset.PixelData = pixels.tobytes()
        save_dataset(dataset, folder / f"{number:04d}.dcm", enforce_file_format=True)
    return instances


def write_mask(mask: UInt8[np.ndarray, "s h w"], affine: Float64[np.ndarray, "4 4"], path: Path) -> None:
    """Write the mask as NIfTI, axes (column, row, slice), with the RAS affine of the series."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(nifti_bytes(mask, affine), path)


def save_dataset(dataset: Dataset, path: Path, *, enforce_file_format: bool) -> None:
    """Write a DICOM file; it is encoded first, as pydicom hides the error of a full disk."""
    encoded = io.BytesIO()
    dataset.save_as(encoded, enforce_file_format=enforce_file_format)
    write_bytes(encoded.getvalue(), path)


def slice_origins(phantom: Phantom) -> Float64[np.ndarray, "s 3"]:
    """ImagePositionPatient of the slices."""
    affine = phantom.volume.affine
    return affine[:3, 3] + np.outer(np.arange(len(phantom.volume.hu)), affine[:3, 0])


def _stored(phantom: Phantom) -> np.ndarray:
    stored = phantom.volume.hu - np.int16(phantom.site.intercept)
    if phantom.site.padding is not None:
        stored[:, phantom.outside_circle] = phantom.site.padding
    return stored


def decimals(values: Sequence[float] | np.ndarray) -> list[str]:
    """Values of a decimal string (DS)."""
    return [f"{value:.8f}" for value in values]


def _header(phantom: Phantom, *, patient: str, name: str, study: str, series: str) -> Dataset:
    """What all slices share; PS3.3 A.3 (CT Image IOD), with every attribute of type 1 and 2."""
    site, affine = phantom.site, phantom.volume.affine
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = CTImageStorage
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SpecificCharacterSet = "ISO_IR 100"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.SOPClassUID = CTImageStorage
    dataset.Modality = "CT"
    dataset.Manufacturer = site.manufacturer
    dataset.ManufacturerModelName = site.model
    dataset.StudyDescription = "HEAD WITHOUT CONTRAST"
    dataset.SeriesDescription = f"HEAD {site.thickness_mm:g} MM"
    for keyword in ("StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName", "StudyID"):
        setattr(dataset, keyword, "")
    dataset.PatientName = name
    dataset.PatientID = patient
    dataset.PatientBirthDate = ""
    dataset.PatientAge, dataset.PatientSex = _age_and_sex(patient)
    dataset.BodyPartExamined = "HEAD"
    dataset.SliceThickness = f"{site.thickness_mm:g}"
    dataset.KVP = "120"
    dataset.DataCollectionDiameter = dataset.ReconstructionDiameter = f"{site.fov_mm:g}"
    dataset.GantryDetectorTilt = f"{site.tilt_deg:g}"
    dataset.ConvolutionKernel = site.kernel
    dataset.PatientPosition = "HFS"
    dataset.StudyInstanceUID = study
    dataset.SeriesInstanceUID = series
    dataset.SeriesNumber = 2
    dataset.AcquisitionNumber = 1
    dataset.FrameOfReferenceUID = uid(study, "frame of reference")
    dataset.PositionReferenceIndicator = "OM"
    pixel_mm = phantom.volume.spacing_mm[1]
    dataset.ImageOrientationPatient = decimals([*affine[:3, 2] / pixel_mm, *affine[:3, 1] / pixel_mm])
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows = dataset.Columns = site.pixels
    dataset.PixelSpacing = decimals([pixel_mm, pixel_mm])
    _pixel_format(dataset, site)
    dataset.WindowCenter, dataset.WindowWidth = "40", "80"
    dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = str(site.intercept), "1", "HU"
    return dataset


def _age_and_sex(patient: str) -> tuple[str, str]:
    """Of an imagined patient, the same in every study; "" in the header of one in ten."""
    number = zlib.crc32(patient.encode())
    if number % 10 == 0:
        return "", ""
    return f"{18 + number // 10 % 78:03d}Y", "FM"[number // 1000 % 2]


def _pixel_format(dataset: Dataset, site: Site) -> None:
    """Unsigned 12 bits where only positive values are stored, signed 16 bits where padding or HU itself are."""
    is_signed = site.intercept == 0 or site.padding is not None
    dataset.BitsAllocated = 16
    dataset.BitsStored = 16 if is_signed else 12
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(is_signed)
    if site.padding is not None:
        dataset.PixelPaddingValue = site.padding
