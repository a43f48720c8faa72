"""The header of a record: checked bytes before the frames, which say all about a scan but its pixels.

``b"ICHR"``, version (u16), length of the text (u32), its CRC-32 (u32), all little-endian; then the text, JSON.
"""

import json
import struct
import zlib
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64

from ichformer import LABELS
from ichformer.ct.audit import Audit
from ichformer.errors import InputError
from ichformer.pipeline.frames import CODEC

RECORD_VERSION = 4
"""Raised too where the same scan and settings give other voxels: stores of both would be mixed."""

_MAGIC = b"ICHR"
_PREFIX = struct.Struct("<4sHII")
MAX_VOXELS = 1 << 29
"""In a record: 1 GiB of HU, which are 2,000 slices of 512 x 512."""

_MEND = "the store is damaged: run prepare again"


@dataclass(frozen=True, kw_only=True, eq=False)
class RecordHeader:
    """A scan without its pixels.

    Attributes:
      shape: slices, rows, columns.
      spacing_mm, affine, source, audit: as in ``Volume``.
      slice_labels: [S,6], NaN where unknown.
      scan_labels: [6], NaN where unknown.
      frames: length in bytes of each slice's frame of HU.
      mask_frames: the same of the mask's; empty where there is none.
      pixels: ``ct.fingerprint`` of the scan as it was read.
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
    pixels: str = ""


def write_header(header: RecordHeader) -> bytes:
    """The header as bytes; the same header always gives the same."""
    values = asdict(header) | {
        "codec": CODEC,
        "spacing_mm": [float(v) for v in header.spacing_mm],
        "affine": header.affine.tolist(),
        "audit": header.audit.to_json(),
        "slice_labels": [_nan_to_none(row) for row in header.slice_labels],
        "scan_labels": _nan_to_none(header.scan_labels),
    }
    text = json.dumps(values, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
    return _PREFIX.pack(_MAGIC, RECORD_VERSION, len(text), zlib.crc32(text)) + text


def read_header(data: bytes, *, where: object) -> tuple[RecordHeader, int]:
    """The header of a record and where its first frame begins; InputError for whatever is wrong with it."""

    def refuse(what: str) -> InputError:
        return InputError(what, where=where, mend=_MEND)

    if len(data) < _PREFIX.size:
        raise refuse(f"a record of {len(data)} bytes is cut short")
    magic, version, length, checksum = _PREFIX.unpack_from(data)
    if magic != _MAGIC:
        raise refuse("this is no ichformer record")
    if version != RECORD_VERSION:
        raise InputError(f"record version {version} is not {RECORD_VERSION}", where=where, mend="prepare anew")
    start = _PREFIX.size + length
    text = data[_PREFIX.size : start]
    if len(text) != length or zlib.crc32(text) != checksum:
        raise refuse("the record's header is damaged")
    try:
        header = _parse(json.loads(text))
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise refuse(f"the record's header makes no sense ({type(error).__name__}: {error})") from error
    if start + sum(header.frames) + sum(header.mask_frames) != len(data):
        raise refuse("the record's frames do not add up to its length")
    return header, start


def _parse(values: dict[str, Any]) -> RecordHeader:
    """The header from parsed JSON; ValueError, KeyError, TypeError or OverflowError for anything unexpected."""
    _expect(values["codec"] == CODEC, "codec")
    n_slices, height, width = (_count(v) for v in values["shape"])
    _expect(n_slices * height * width <= MAX_VOXELS, "shape")
    frames, mask_frames = (tuple(_count(v) for v in values[k]) for k in ("frames", "mask_frames"))
    _expect(len(frames) == n_slices and len(mask_frames) in (0, n_slices), "number of frames")
    source = tuple(values["source"])
    _expect(len(source) == n_slices and all(isinstance(v, str) for v in source), "source")
    pixels = values["pixels"]
    _expect(isinstance(pixels, str), "pixels")
    dz_mm, dy_mm, dx_mm = (_length_mm(v) for v in values["spacing_mm"])
    affine = np.asarray(values["affine"], np.float64)
    _expect(affine.shape == (4, 4) and bool((np.abs(affine) < 1e9).all()), "affine")
    slice_labels, scan_labels = (np.asarray(values[k], np.float64) for k in ("slice_labels", "scan_labels"))
    _expect(slice_labels.shape == (n_slices, len(LABELS)) and scan_labels.shape == (len(LABELS),), "labels")
    known = np.concatenate([slice_labels.ravel(), scan_labels])
    _expect(bool((np.isnan(known) | ((known >= 0) & (known <= 1))).all()), "labels")
    return RecordHeader(
        shape=(n_slices, height, width),
        spacing_mm=(dz_mm, dy_mm, dx_mm),
        affine=affine,
        source=source,
        audit=_parse_audit(values["audit"], n_slices=n_slices),
        slice_labels=slice_labels.astype(np.float32),
        scan_labels=scan_labels.astype(np.float32),
        frames=frames,
        mask_frames=mask_frames,
        pixels=pixels,
    )


def _parse_audit(values: dict[str, Any], *, n_slices: int) -> Audit:
    texts = (*(values[k] for k in ("modality", "description", "kernel", "manufacturer")), values.get("sex", ""))
    notes = (text for note in values["notes"] for text in (note["code"], note["text"]))
    _expect(all(isinstance(v, str) for v in (*texts, *notes)), "audit")
    steps_mm = [_length_mm(v) for v in values["steps_mm"]]
    _expect(len(steps_mm) in (0, n_slices - 1), "number of steps")
    checked = {
        "thickness_mm": _number_or_none(values["thickness_mm"]),
        "age_years": _number_or_none(values.get("age_years")),
        "tilt_deg": float(values["tilt_deg"]),
        "missing_slices": int(values["missing_slices"]),
        "steps_mm": steps_mm,
    }
    return Audit.from_json(values | checked)


def _number_or_none(value: Any) -> float | None:
    return None if value is None else float(value)


def _expect(condition: bool, what: str) -> None:
    if not condition:
        raise ValueError(f"unexpected {what}")


def _count(value: Any) -> int:
    _expect(type(value) is int and 0 < value < 1 << 31, "size")
    return int(value)


def _length_mm(value: Any) -> float:
    _expect(0 < float(value) < 1e6, "length")
    return float(value)


def _nan_to_none(values: Float32[np.ndarray, "labels"]) -> list[float | None]:
    return [None if np.isnan(v) else float(v) for v in values]
