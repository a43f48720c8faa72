"""Reads and writes the header of a record: checked bytes with all that is known of a scan but its pixels.

``b"ICHR"``, version (u16), length of the text (u32), its CRC-32 (u32), all little-endian; then the text, JSON.
"""

import json
import struct
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any

import msgspec
import numpy as np
from jaxtyping import Float32, Float64

from ichformer.ct.audit import Audit
from ichformer.errors import InputError
from ichformer.files.json_files import parse_json
from ichformer.labels import MAX_TARGET, SIX, LabelSet
from ichformer.pipeline.store.frames import CODEC

RECORD_VERSION = 4
"""Raised too where the same scan and settings give other voxels: stores of both would be mixed."""

OWN_LABELS_VERSION = 5
"""Of records with another label set than the six, which their header names: an earlier ichformer refuses them."""

BOXED_VERSION = 6
"""Of records with boxes in place of a mask, which an earlier ichformer would take for a mask: it refuses them."""

_MAGIC = b"ICHR"
_PREFIX = struct.Struct("<4sHII")
MAX_VOXELS = 1 << 29
"""In a record: 1 GiB of HU, which are 2,000 slices of 512 x 512."""

_FIX = "the store is damaged: run prepare again"


@dataclass(frozen=True, kw_only=True, eq=False)
class RecordHeader:
    """A scan without its pixels.

    Attributes:
      shape: slices, rows, columns.
      spacing_mm, affine, source, audit: as in ``Volume``.
      slice_labels: [S,L] in the order of ``label_set.columns``, NaN where unknown.
      scan_labels: [L], NaN where unknown.
      frames: length in bytes of each slice's frame of HU.
      mask_frames: the same of the mask's; empty where there is none.
      boxed: whether the mask is one of boxes.
      pixels: ``ct.fingerprint`` of the scan as it was read.
      label_set: its labels and targets.
    """

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    affine: Float64[np.ndarray, "4 4"]
    source: tuple[str, ...]
    audit: Audit
    slice_labels: Float32[np.ndarray, "s labels"]
    scan_labels: Float32[np.ndarray, "labels"]
    frames: tuple[int, ...]
    mask_frames: tuple[int, ...]
    boxed: bool = False
    pixels: str = ""
    label_set: LabelSet = SIX


def write_header(header: RecordHeader) -> bytes:
    """Writes a header as bytes; the same header always gives the same bytes."""
    values = asdict(header) | {
        "codec": CODEC,
        "spacing_mm": [float(v) for v in header.spacing_mm],
        "affine": header.affine.tolist(),
        "audit": header.audit.to_json(),
        "slice_labels": [_nan_to_none(row) for row in header.slice_labels],
        "scan_labels": _nan_to_none(header.scan_labels),
    }
    del values["boxed"]  # the version says it
    version = RECORD_VERSION if header.label_set.is_default else OWN_LABELS_VERSION
    if version == RECORD_VERSION:
        del values["label_set"]
    if header.boxed:
        version = BOXED_VERSION  # a study index refuses boxes beside other labels than the six
    text = json.dumps(values, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
    return _PREFIX.pack(_MAGIC, version, len(text), zlib.crc32(text)) + text


def read_header(data: bytes, *, where: object) -> tuple[RecordHeader, int]:
    """Reads the header of a record and where its first frame begins; InputError for whatever is wrong with it."""

    def refuse(what: str) -> InputError:
        return InputError(what, where=where, fix=_FIX)

    if len(data) < _PREFIX.size:
        raise refuse(f"a record of {len(data)} bytes is cut short")
    magic, version, length, checksum = _PREFIX.unpack_from(data)
    if magic != _MAGIC:
        raise refuse("this is no ichformer record")
    if version not in (RECORD_VERSION, OWN_LABELS_VERSION, BOXED_VERSION):
        known = f"{RECORD_VERSION}, {OWN_LABELS_VERSION} or {BOXED_VERSION}"
        raise InputError(f"record version {version} is not {known}", where=where, fix="prepare anew")
    start = _PREFIX.size + length
    text = data[_PREFIX.size : start]
    if len(text) != length or zlib.crc32(text) != checksum:
        raise refuse("the record's header is damaged")
    try:
        kind: type[_Header | _OwnHeader] = _OwnHeader if version == OWN_LABELS_VERSION else _Header
        header = replace(_checked(parse_json(text, kind, where=where, fix=_FIX)), boxed=version == BOXED_VERSION)
        _expect(bool(header.mask_frames) or not header.boxed, "boxes")
    except ValueError as error:
        raise refuse(f"the record's header makes no sense ({error})") from error
    if start + sum(header.frames) + sum(header.mask_frames) != len(data):
        raise refuse("the record's frames do not add up to its length")
    return header, start


_Size = Annotated[int, msgspec.Meta(gt=0, lt=1 << 31)]
_LengthMm = Annotated[float, msgspec.Meta(gt=0, lt=1e6)]
_Coordinate = Annotated[float, msgspec.Meta(gt=-1e9, lt=1e9)]
LabelValue = Annotated[float, msgspec.Meta(ge=0, le=1)] | None
"""What is known of a label: None is unknown, and numbers between 0 and 1 are shares of several readers."""

TargetValue = Annotated[float, msgspec.Meta(ge=-MAX_TARGET, le=MAX_TARGET)] | None
"""What is known of a target: None is unknown."""

_Row = tuple[_Coordinate, _Coordinate, _Coordinate, _Coordinate]
_LabelRow = tuple[LabelValue, LabelValue, LabelValue, LabelValue, LabelValue, LabelValue]


class _AnyHeader(msgspec.Struct, kw_only=True):
    """The text of a record's header, without its labels."""

    codec: str
    shape: tuple[_Size, _Size, _Size]
    frames: list[_Size]
    mask_frames: list[_Size]
    source: tuple[str, ...]
    pixels: str
    spacing_mm: tuple[_LengthMm, _LengthMm, _LengthMm]
    affine: tuple[_Row, _Row, _Row, _Row]
    audit: dict[str, Any]


class _Header(_AnyHeader, kw_only=True):
    """The text of the header of a record with the six labels."""

    slice_labels: list[_LabelRow]
    scan_labels: _LabelRow


class _OwnHeader(_AnyHeader, kw_only=True):
    """The text of the header of a record with a label set of its own."""

    label_set: LabelSet
    slice_labels: list[list[TargetValue]]
    scan_labels: list[TargetValue]


def _checked(found: _Header | _OwnHeader) -> RecordHeader:
    """The header, if its parts fit together; ValueError for anything unexpected."""
    n_slices, height, width = found.shape
    label_set = found.label_set if isinstance(found, _OwnHeader) else SIX
    _expect(found.codec == CODEC, "codec")
    _expect(n_slices * height * width <= MAX_VOXELS, "shape")
    _expect(len(found.frames) == n_slices and len(found.mask_frames) in (0, n_slices), "number of frames")
    _expect(len(found.source) == n_slices, "source")
    _expect(len(found.slice_labels) == n_slices, "labels")
    if isinstance(found, _OwnHeader):
        _expect(not label_set.is_default, "label set")
        rows = [*found.slice_labels, found.scan_labels]
        _expect(all(len(row) == len(label_set.columns) for row in rows), "number of labels")
        _expect(all(_are_labels(row[: len(label_set.names)]) for row in rows), "label")
    return RecordHeader(
        shape=found.shape,
        spacing_mm=found.spacing_mm,
        affine=np.array(found.affine, np.float64),
        source=found.source,
        audit=_audit(found.audit, n_slices=n_slices),
        slice_labels=np.array(found.slice_labels, np.float32),
        scan_labels=np.array(found.scan_labels, np.float32),
        frames=tuple(found.frames),
        mask_frames=tuple(found.mask_frames),
        pixels=found.pixels,
        label_set=label_set,
    )


def _are_labels(values: Sequence[float | None]) -> bool:
    return all(value is None or 0 <= value <= 1 for value in values)


def _audit(values: dict[str, Any], *, n_slices: int) -> Audit:
    _expect({"modality", "description", "thickness_mm", "tilt_deg", "steps_mm", "notes"} <= values.keys(), "audit")
    try:
        audit = Audit.from_json(values)
    except InputError as error:
        raise ValueError(f"audit: {error.what}") from None
    _expect(len(audit.steps_mm) in (0, n_slices - 1), "number of steps")
    _expect(all(0 < step_mm < 1e6 for step_mm in audit.steps_mm), "step")
    return audit


def _expect(condition: bool, what: str) -> None:
    if not condition:
        raise ValueError(f"unexpected {what}")


def _nan_to_none(values: Float32[np.ndarray, "labels"]) -> list[float | None]:
    return [None if np.isnan(v) else float(v) for v in values]
