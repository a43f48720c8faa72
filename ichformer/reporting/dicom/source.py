"""The slices that results refer to: their headers, made whole, and the way from our grids to their pixels."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pydicom
from jaxtyping import Float32, Float64, Int64, Real
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
from ichformer.errors import InputError
from ichformer.lesions.grid import Grid
from ichformer.reporting.dicom.uids import is_uid, uid_of

_COPIED = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex"),
    *("StudyDate", "StudyTime", "AccessionNumber", "StudyID", "ReferringPhysicianName", "StudyDescription"),
    *("PositionReferenceIndicator", "InstanceNumber", "SliceThickness", "KVP", "AcquisitionDate", "AcquisitionTime"),
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
      minted: keywords of UIDs that are illegal or absent in the source; results refer to UIDs made from them.
      has_thickness: False where the source has no SliceThickness, and the distance of slices stands in its place.
    """

    slices: tuple[Dataset, ...]
    minted: tuple[str, ...]
    has_thickness: bool

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
    """Read the headers of a series once more, with what objects about it need.

    Raises:
      InputError: its frames lie in one file (enhanced CT), or a header can no longer be read.
    """
    if any(header.frames > 1 for header in series.headers):
        raise InputError(
            "is an enhanced CT, whose slices lie in one file: no DICOM results are written for it",
            where=series.path,
            fix="leave out --dicom, or convert it to one file a slice, such as with dcm4che's emf2sf",
        )
    minted: set[str] = set()
    with quiet_pydicom():
        slices = [_completed(header, minted) for header in series.headers]
    along_columns, along_rows = np.reshape(np.array(slices[0].ImageOrientationPatient, float), (2, 3))
    normal = np.cross(along_columns, along_rows)
    upwards = normal * np.sign(normal[2])
    slices.sort(key=lambda one: float(np.array(one.ImagePositionPatient, float) @ upwards))
    lacking = [one for one in slices if not one.get("SliceThickness")]
    origins = np.array([one.ImagePositionPatient for one in slices], float)
    for one in lacking:
        one.SliceThickness = f"{np.median(np.diff(origins @ upwards)) if len(slices) > 1 else 1.0:.8g}"
    return Source(slices=tuple(slices), minted=tuple(sorted(minted)), has_thickness=not lacking)


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


def _completed(header: Header, minted: set[str]) -> Dataset:
    """The header of a slice with what is needed and legal; UIDs that had to be made are added to ``minted``."""
    with open_file(header.path) as file:
        found = pydicom.dcmread(file, stop_before_pixels=True, force=True)
    given = Dataset()
    given.file_meta = pydicom.dataset.FileMetaDataset()
    given.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    given.SpecificCharacterSet = "ISO_IR 192"
    for keyword in _COPIED:
        value = _legal(found, keyword)
        if value is not None or keyword in _ALWAYS:
            setattr(given, keyword, "" if value is None and dictionary_VR(keyword) == "PN" else value)
    about = {
        "StudyInstanceUID": header.study_uid,
        "SeriesInstanceUID": header.series_uid,
        "SOPInstanceUID": header.sop_uid,
        "FrameOfReferenceUID": str(_legal(found, "FrameOfReferenceUID") or ""),
    }
    said = {
        "StudyInstanceUID": (header.study_uid or header.patient_id,),
        "SeriesInstanceUID": (header.study_uid, header.series_uid),
        "SOPInstanceUID": (header.study_uid, header.series_uid, header.sop_uid or header.path.name),
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
