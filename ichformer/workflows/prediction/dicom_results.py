"""The DICOM objects about a series that was scored."""

import importlib.util
from dataclasses import replace
from typing import TYPE_CHECKING

from ichformer.ct.io.dicom.series import Series
from ichformer.ct.io.scans import Scan
from ichformer.errors import InputError
from ichformer.reporting.dicom.multi_frame import check_frames
from ichformer.reporting.scan.reading import Reading

if TYPE_CHECKING:
    from ichformer.reporting.dicom.made import Made


def check_can_write() -> None:
    """InputError where the library that writes DICOM objects is not there."""
    if importlib.util.find_spec("highdicom") is None:
        raise InputError("needs highdicom", where="--dicom", fix="pip install 'ichformer[clinic]'")


def series_of(scan: Scan) -> Series:
    """The series that results belong to.

    Raises:
      InputError: the scan is no DICOM series, or results cannot refer to its frames.
    """
    if not isinstance(scan, Series):
        raise InputError("is no DICOM series, to which results could belong", where=scan.path, fix="leave out --dicom")
    check_frames(scan)
    return scan


def with_dicom(scan: Scan, reading: Reading, *, made_from: str, model: str) -> tuple[Reading, dict[str, bytes]]:
    """The objects about a series, by the names of their files (``reporting.dicom.objects``).

    Args:
      scan: the series.
      reading: what the model said of it.
      made_from: a hash of all that the prediction depends on.
      model: fingerprint of the model.

    Returns:
      The reading, with a remark where results cannot refer to the UIDs that the series has; and the files.

    Raises:
      InputError: the scan is no DICOM series, or one of which no results can be written.
    """
    from ichformer.reporting.dicom.objects import as_files, dicom_objects

    made, remarks = made_of(scan, made_from=made_from, name=reading.model.get("Name", ""), model=model)
    reading = replace(reading, remarks=(*reading.remarks, *remarks))
    return reading, as_files(dicom_objects(made, reading))


def made_of(scan: Scan, *, made_from: str, name: str, model: str) -> "tuple[Made, tuple[str, ...]]":
    """What all objects about a series have in common, and remarks on what its headers lack.

    Args:
      scan: the series.
      made_from: a hash of all that the objects depend on.
      name: of the model.
      model: its fingerprint.

    Raises:
      InputError: as in ``with_dicom``.
    """
    from ichformer.reporting.dicom.made import Made
    from ichformer.reporting.dicom.source import open_source

    source = open_source(series_of(scan))
    remarks = []
    if source.minted:
        remarks.append(
            f"The series has no legal {', '.join(source.minted)}. The DICOM objects refer to UIDs that were made in "
            "their place, so an archive may not show them beside this series."
        )
    if not source.has_thickness:
        remarks.append("The series has no SliceThickness. In the DICOM objects the distance of slices stands for it.")
    return Made(source=source, made_from=made_from, model=name, fingerprint=model), tuple(remarks)
