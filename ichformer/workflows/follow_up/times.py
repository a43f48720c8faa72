"""When a scan was taken, as its header says it, and how long before another one."""

from dataclasses import dataclass
from datetime import datetime

import pydicom

from ichformer.ct.io.archives import open_file
from ichformer.ct.io.dicom.dicom_file import quiet_pydicom
from ichformer.ct.io.dicom.series import Series
from ichformer.ct.io.scans import Scan

_DATES = (
    ("AcquisitionDateTime", ""),
    ("AcquisitionDate", "AcquisitionTime"),
    ("ContentDate", "ContentTime"),
    ("SeriesDate", "SeriesTime"),
    ("StudyDate", "StudyTime"),
)
"""Where a header says when a scan was taken, the closest to it first."""


@dataclass(frozen=True, kw_only=True)
class Taken:
    """When a scan was taken.

    Attributes:
      at: None where the header does not say it.
      has_time: whether it says the time of the day too.
    """

    at: datetime | None
    has_time: bool


def taken(scan: Scan) -> Taken:
    """When a scan was taken; not known of NIfTI and pictures."""
    if not isinstance(scan, Series):
        return Taken(at=None, has_time=False)
    tags = [tag for pair in _DATES for tag in pair if tag]
    with quiet_pydicom(), open_file(scan.files[0]) as file:
        header = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=tags, force=True)
        for date_tag, time_tag in _DATES:
            date = _digits(header.get(date_tag))
            time = date[8:] or (_digits(header.get(time_tag)) if time_tag else "")
            if found := _moment(date[:8], time[:6]):
                return Taken(at=found, has_time=len(time) >= 4)
    return Taken(at=None, has_time=False)


def hours_between(earlier: Taken, later: Taken) -> float | None:
    """The hours from one scan to the other, negative where the second is the earlier one.

    Where one of them has no time of the day, whole days are counted.

    Returns:
      None where one of the times is not known.
    """
    if earlier.at is None or later.at is None:
        return None
    if earlier.has_time and later.has_time:
        return (later.at - earlier.at).total_seconds() / 3600
    return 24.0 * (later.at.date() - earlier.at.date()).days


def _digits(value: object) -> str:
    """The digits of a date or a time, up to its fraction and its zone."""
    said = str(value or "").replace(":", "").replace("-", "")
    return "".join(c for c in said.partition(".")[0].partition("+")[0].strip() if c.isdecimal())


def _moment(date: str, time: str) -> datetime | None:
    try:
        return datetime.strptime(date + time.ljust(6, "0")[:6], "%Y%m%d%H%M%S")
    except ValueError:
        return None
