"""Slices grouped by patient and by plane: one orientation, size and pixel spacing."""

import math

from ichformer.ct.io.dicom.headers import Header

_MIN_STACK = 3

_SAME_ANGLE = 2 * math.sin(math.radians(1) / 2)
"""Unit vectors that are nearer point the same way within 1 degree: the angle of a gantry wavers, and is rounded."""

_SAME_SPACING = 0.005
"""Pixel spacings that differ by a smaller part are one: headers round them to 2 or 3 places."""


def by_patient(headers: list[Header]) -> list[list[Header]]:
    """Group slices by StudyInstanceUID and PatientID; a slice without one belongs to the only one that there is.

    An ID that is another one in each slice was made by an anonymiser and tells nothing, so it is not used.
    """
    columns = []
    for ids in ([header.study_uid for header in headers], [header.patient_id for header in headers]):
        named = set(ids) - {""}
        says_nothing = len(named) == 1 or (len(named) == len(ids) and len(ids) >= _MIN_STACK)
        columns.append([""] * len(ids) if says_nothing else ids)
    people: dict[tuple[str, str], list[Header]] = {}
    for header, study, patient in zip(headers, *columns, strict=True):
        people.setdefault((study, patient), []).append(header)
    return list(people.values())


def by_plane(headers: list[Header]) -> list[list[Header]]:
    """Group slices by orientation and pixel spacing; a slice without geometry goes to the first group."""
    planes: list[list[Header]] = []
    for header in headers:
        for plane in planes:
            if is_same_plane(header, plane[0]):
                plane.append(header)
                break
        else:
            planes.append([header])
    return planes


def size_of(header: Header) -> tuple[int, int]:
    """Rows and columns."""
    return header.rows, header.columns


def is_same_plane(header: Header, other: Header) -> bool:
    """Whether two slices have the same orientation and pixel spacing, as far as both say."""
    return is_same_orientation(header, other) and is_same_spacing(header, other)


def is_same_orientation(header: Header, other: Header) -> bool:
    """Whether rows and columns of two slices point the same way within 1 degree, as far as both say."""
    if header.orientation is not None and other.orientation is not None:
        for axis in (slice(0, 3), slice(3, 6)):
            if math.dist(header.orientation[axis], other.orientation[axis]) > _SAME_ANGLE:
                return False
    return True


def is_same_spacing(header: Header, other: Header) -> bool:
    """Whether the pixel spacings of two slices are the same within 0.5 %, as far as both say."""
    if header.spacing_mm is None or other.spacing_mm is None:
        return True
    return all(
        abs(a - b) <= _SAME_SPACING * max(abs(a), abs(b))
        for a, b in zip(header.spacing_mm, other.spacing_mm, strict=True)
    )
