"""The slices that results refer to: their headers, made whole, and the way from our grids to their pixels."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pydicom
from jaxtyping import Float32, Float64, Int64, Real, Shaped
from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.uid import ExplicitVRLittleEndian
from pydicom.valuerep import PersonName, validate_value

from ichformer.ct.geometry.resampling import covering_matrix
from ichformer.ct.io.archives import open_file
from ichformer.ct.io.dicom.dicom_file import quiet_pydicom
from ichformer.ct.io.dicom.headers import CT_IMAGE, Header
from ichformer.ct.io.dicom.series import Series
from ichformer.lesions.grid import Grid
from ichformer.reporting.dicom.multi_frame import is_frame, multi_frame_image
from ichformer.reporting.dicom.uids import is_uid, uid_of

_COPIED = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex"),
    *("StudyDate", "StudyTime", "AccessionNumber", "StudyID", "ReferringPhysicianName", "StudyDescription"),
    *("PositionReferenceIndicator", "InstanceNumber", "KVP", "AcquisitionDate", "AcquisitionTime"),
)
"""What is taken over from a source; what is absent or illegal there is empty."""

_ALWAYS = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID"),
    *("AccessionNumber", "ReferringPhysicianName", "PositionReferenceIndicator", "InstanceNumber"),
)
"""What highdicom copies, so it has to be there."""

_SEXES = ("M", "F", "O")


@dataclass(frozen=True, kw_only=True, eq=False)
class Source:
    """The slices of a DICOM series as results refer to them.

    Attributes:
      slices: a header for each, without pixels, from inferior to superior.
      frames: for each slice the number of its frame, from 1, where all lie in one file (enhanced CT); else empty.
      minted: keywords of UIDs that are illegal or absent in the source; results refer to UIDs made from them.
      has_thickness: False where the source has no SliceThickness, and the distance of slices stands in its place.
    """

    slices: tuple[Dataset, ...]
    frames: tuple[int, ...]
    minted: tuple[str, ...]
    has_thickness: bool

    @cached_property
    def images(self) -> tuple[Dataset, ...]:
        """The SOP instances: one a slice, or the one that holds all slices as frames."""
        return (multi_frame_image(self.slices, self.frames),) if self.frames else self.slices

    def frames_at(self, at: Sequence[int]) -> list[int]:
        """Numbers of the frames of some slices, counted from 0; empty where each slice is a file of its own."""
        return [self.frames[s] for s in at] if self.frames else []

    def as_stored(self, pixels: Shaped[np.ndarray, "n *picture"]) -> Shaped[np.ndarray, "n *picture"]:
        """What belongs to each slice, in the order of ``images`` and of their frames."""
        return pixels[np.argsort(self.frames)] if self.frames else pixels

    @property
    def shape(self) -> tuple[int, int, int]:
        """Slices, rows and columns."""
        return len(self.slices), int(self.slices[0].Rows), int(self.slices[0].Columns)

    @property
    def grid(self) -> Grid:
        """Where the pixels lie in the patient."""
        first = self.slices[0]
        along_columns, along_rows = np.reshape(np.array(first.ImageOrientationPatient, float), (2, 3))
        row_mm, column_mm = (float(one) for one in first.PixelSpacing)
        origins = np.array([one.ImagePositionPatient for one in self.slices], float)
        heights = np.diff(origins @ np.cross(along_columns, along_rows))
        between = np.abs(heights) if heights.size else np.array([float(first.SliceThickness)])
        return Grid(
            origins_mm=origins,
            row_step_mm=along_rows * row_mm,
            column_step_mm=along_columns * column_mm,
            heights_mm=np.array([between[max(s - 1, 0) : s + 1].mean() for s in range(len(origins))]),
        )


def open_source(series: Series) -> Source:
    """Read the headers of a series that ``check_frames`` allows once more, with what objects about it need.

    Raises:
      InputError: a header can no longer be read.
    """
    minted: set[str] = set()
    with quiet_pydicom():
        found = {file: _read(file) for file in series.files}
        numbered = [(_completed(header, found[header.path], minted), header.frame + 1) for header in series.headers]
    along_columns, along_rows = np.reshape(np.array(numbered[0][0].ImageOrientationPatient, float), (2, 3))
    normal = np.cross(along_columns, along_rows)
    upwards = normal * np.sign(normal[2])
    numbered.sort(key=lambda one: float(np.array(one[0].ImagePositionPatient, float) @ upwards))
    slices = [one for one, _ in numbered]
    lacking = [one for one in slices if "SliceThickness" not in one]
    origins = np.array([one.ImagePositionPatient for one in slices], float)
    for one in lacking:
        one.SliceThickness = f"{np.median(np.diff(origins @ upwards)) if len(slices) > 1 else 1.0:.8g}"
    _agree(slices, minted)
    return Source(
        slices=tuple(slices),
        frames=tuple(number for _, number in numbered) if is_frame(series.headers[0]) else (),
        minted=tuple(sorted(minted)),
        has_thickness=not lacking,
    )


def on_source(values: Real[np.ndarray, "s gh gw"], grid: Grid, source: Source) -> Float32[np.ndarray, "n rows columns"]:
    """Values of a grid on the pixels of the source, in its own orientation; 0 where the grid does not reach.

    Within a slice the values are interpolated linearly, between slices the nearest is taken. So where the grid has the
    source's slices, tilted and uneven ones too, each gets its own.

    Args:
      values: one picture a slice.
      grid: where they lie; its rows and columns run along those of the source, in whatever order and direction.
      source: the slices.
    """
    own = source.grid
    nearest = nearest_slices(grid, source)
    is_turned = abs(grid.row_step_mm @ own.row_step_mm) < abs(grid.row_step_mm @ own.column_step_mm)
    steps = (own.column_step_mm, own.row_step_mm) if is_turned else (own.row_step_mm, own.column_step_mm)
    _, rows, columns = source.shape
    counts = (columns, rows) if is_turned else (rows, columns)
    laid = np.empty(source.shape, np.float32)
    for new, origin_mm, k in zip(laid, own.origins_mm, nearest, strict=True):
        from_origin = origin_mm - grid.origins_mm[k]
        weights = [
            covering_matrix(_places(from_origin, step, count, axis), size)
            for axis, step, count, size in zip(
                (grid.row_step_mm, grid.column_step_mm), steps, counts, values.shape[1:], strict=True
            )
        ]
        picture = weights[0] @ values[k].astype(np.float32) @ weights[1].T
        new[:] = picture.T if is_turned else picture
    return laid


def nearest_slices(grid: Grid, source: Source) -> Int64[np.ndarray, " n"]:
    """For each slice of the source the slice of a grid that lies nearest along the normal."""
    normal = np.cross(grid.column_step_mm, grid.row_step_mm)
    heights = (source.grid.origins_mm @ normal)[:, None] - (grid.origins_mm @ normal)[None]
    return np.abs(heights).argmin(1).astype(np.int64)


def _places(
    from_origin: Float64[np.ndarray, "3"], step: Float64[np.ndarray, "3"], count: int, axis: Float64[np.ndarray, "3"]
) -> Float64[np.ndarray, " n"]:
    """Where pixels along a line lie, counted in steps of an axis of a grid."""
    return (from_origin @ axis + np.arange(count) * (step @ axis)) / (axis @ axis)


def _read(path: Path) -> Dataset:
    with open_file(path) as file:
        return pydicom.dcmread(file, stop_before_pixels=True, force=True)


def _agree(slices: Sequence[Dataset], minted: set[str]) -> None:
    """Gives all slices one orientation, whose angles may waver, and one frame of reference."""
    uids = {one.FrameOfReferenceUID for one in slices}
    for one in slices:
        one.ImageOrientationPatient = slices[0].ImageOrientationPatient
        if len(uids) > 1:
            one.FrameOfReferenceUID = uid_of("FrameOfReferenceUID", *sorted(uids))
            minted.add("FrameOfReferenceUID")


def _completed(header: Header, found: Dataset, minted: set[str]) -> Dataset:
    """The header of a slice with what is needed and legal; UIDs that had to be made are added to ``minted``."""
    given = Dataset()
    given.file_meta = pydicom.dataset.FileMetaDataset()
    given.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    given.SpecificCharacterSet = "ISO_IR 192"
    for keyword in _COPIED:
        value = _legal(found, keyword)
        if value is not None or keyword in _ALWAYS:
            setattr(given, keyword, "" if value is None and dictionary_VR(keyword) == "PN" else value)
    if header.thickness_mm:
        given.SliceThickness = f"{header.thickness_mm:.8g}"
    sop_uid = header.sop_uid
    if is_frame(header):  # all frames have the UID of their file
        sop_uid = sop_uid.rpartition("#")[0]
        given.NumberOfFrames = header.frames
    about = {
        "StudyInstanceUID": header.study_uid,
        "SeriesInstanceUID": header.series_uid,
        "SOPInstanceUID": sop_uid,
        "FrameOfReferenceUID": str(_legal(found, "FrameOfReferenceUID") or ""),
    }
    said = {
        "StudyInstanceUID": (header.study_uid or header.patient_id,),
        "SeriesInstanceUID": (header.study_uid, header.series_uid),
        "SOPInstanceUID": (header.study_uid, header.series_uid, sop_uid or header.path.name),
        "FrameOfReferenceUID": (header.study_uid, header.series_uid),
    }
    used: set[str] = set()
    for keyword, uid in about.items():
        if not is_uid(uid) or uid in used:  # no two things have one UID
            minted.add(keyword)
            uid = uid_of(keyword, *said[keyword])
        used.add(uid)
        setattr(given, keyword, uid)
    given.SOPClassUID = header.sop_class if is_uid(header.sop_class) else CT_IMAGE
    given.Modality = "CT"
    given.Rows, given.Columns = header.rows, header.columns
    given.ImagePositionPatient = _decimals(header.position_mm)
    given.ImageOrientationPatient = _decimals(header.orientation)
    given.PixelSpacing = _decimals(header.spacing_mm)
    given.BitsAllocated, given.BitsStored, given.HighBit = header.bits_allocated, header.bits_stored, header.high_bit
    given.PixelRepresentation, given.SamplesPerPixel = int(header.signed), 1
    given.PhotometricInterpretation = "MONOCHROME2"
    given.RescaleSlope, given.RescaleIntercept = header.slope or 1.0, header.intercept or 0.0
    return given


def _legal(found: Dataset, keyword: str) -> object:
    """The value of an element where it is legal, else None."""
    try:
        value = found.get(keyword)
        if value is None or str(value) == "" or isinstance(value, MultiValue):
            return None
        vr = dictionary_VR(keyword)
        if isinstance(value, PersonName):
            value = str(value)
        if isinstance(value, str):
            validate_value(vr, value, pydicom.config.RAISE)
        return None if keyword == "PatientSex" and value not in _SEXES else value
    except Exception:  # whatever a header holds
        return None


def _decimals(values: Sequence[float] | None) -> list[str]:
    """Numbers as decimal strings of at most 16 characters."""
    return [f"{value:.8g}" for value in values or ()]
