"""Prepared scans on disk: one record of bytes per scan, and the store that holds them.

A record is ``b"ICHR"``, version (u16), header's length (u32), header's CRC-32 (u32), all little-endian; the header as
JSON; one frame per slice of HU; then, where there is a mask, one frame per slice of mask. So slices can be read alone.
"""

import hashlib
import itertools
import json
import re
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import zstandard
from array_record.python.array_record_module import ArrayRecordReader
from jaxtyping import Float32, Float64, Int64, Integer, UInt8

from ichformer import LABELS
from ichformer.ct.volume import Audit, Volume
from ichformer.errors import InputError
from ichformer.pipeline.frames import CODEC, compress_hu, compress_mask, decompress_hu, decompress_mask

RECORD_VERSION = 1
STORE_VERSION = 1
INDEX_NAME = "index.json"
SHARD_FOLDER = "shards"
_MAGIC = b"ICHR"
_PREFIX = struct.Struct("<4sHII")
_MAX_VOXELS = 1 << 29  # 1 GiB of HU: 2,000 slices of 512 x 512
_MEND = "the store is damaged: run prepare again"


@dataclass(frozen=True, kw_only=True, eq=False)
class PreparedScan:
    """A volume with what is known about it.

    Attributes:
      volume: HU and geometry after preparation.
      slice_labels: [S,6] in the order of ``LABELS``, NaN where unknown.
      scan_labels: [6], NaN where unknown.
      mask: [S,H,W] with the cohort's own values, 0 for no bleed; None where there is none.
    """

    volume: Volume
    slice_labels: Float32[np.ndarray, "s labels"]
    scan_labels: Float32[np.ndarray, "labels"]
    mask: UInt8[np.ndarray, "s h w"] | None = None

    def __post_init__(self) -> None:
        shape = self.volume.hu.shape
        if self.slice_labels.shape != (shape[0], len(LABELS)) or self.scan_labels.shape != (len(LABELS),):
            raise ValueError(f"labels {self.slice_labels.shape}, {self.scan_labels.shape} for {shape[0]} slices")
        if self.mask is not None and self.mask.shape != shape:
            raise ValueError(f"mask of {self.mask.shape} on a volume of {shape}")


def encode_record(scan: PreparedScan) -> bytes:
    """The bytes of one record; the same scan always gives the same bytes."""
    volume = scan.volume
    frames = [compress_hu(pixels) for pixels in volume.hu]
    mask_frames = [] if scan.mask is None else [compress_mask(pixels) for pixels in scan.mask]
    header = {
        "shape": list(volume.hu.shape),
        "spacing_mm": [float(v) for v in volume.spacing_mm],
        "affine": volume.affine.tolist(),
        "source": list(volume.source),
        "audit": volume.audit.to_json(),
        "slice_labels": [_nan_to_none(row) for row in scan.slice_labels],
        "scan_labels": _nan_to_none(scan.scan_labels),
        "codec": CODEC,
        "frames": [len(frame) for frame in frames],
        "mask_frames": [len(frame) for frame in mask_frames],
    }
    text = json.dumps(header, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
    prefix = _PREFIX.pack(_MAGIC, RECORD_VERSION, len(text), zlib.crc32(text))
    return b"".join([prefix, text, *frames, *mask_frames])


def decode_record(
    data: bytes, *, slices: Sequence[int] | Integer[np.ndarray, "n"] | None = None, where: object = "record"
) -> PreparedScan:
    """The inverse of ``encode_record``, without loss.

    Args:
      data: one record.
      slices: the slices to decode, ascending; all by default. The others are not decompressed. The volume's affine and
        z spacing are those of the slices taken, by their mean step where they are not evenly spaced.
      where: named in the error.

    Raises:
      InputError: whatever is wrong with the bytes. Sizes are checked before memory is taken.
    """
    header, start = _read_header(data, where)
    n_slices, height, width = header.shape
    taken = list(range(n_slices)) if slices is None else [int(i) for i in slices]
    if not taken or taken[0] < 0 or taken[-1] >= n_slices or any(b <= a for a, b in itertools.pairwise(taken)):
        raise ValueError(f"slices must be ascending indices below {n_slices}, got {taken}")

    edges = list(itertools.accumulate([start, *header.frames, *header.mask_frames]))
    hu = np.empty((len(taken), height, width), np.int16)
    mask = np.empty_like(hu, np.uint8) if header.mask_frames else None
    try:
        for k, s in enumerate(taken):
            hu[k] = decompress_hu(data[edges[s] : edges[s + 1]], height=height, width=width)
            if mask is not None:
                m = n_slices + s
                mask[k] = decompress_mask(data[edges[m] : edges[m + 1]], height=height, width=width)
    except zstandard.ZstdError as error:
        raise InputError(f"a slice cannot be decompressed ({error})", where=where, mend=_MEND) from error

    step = (taken[-1] - taken[0]) / (len(taken) - 1) if len(taken) > 1 else 1.0
    affine = header.affine.copy()
    affine[:, 3] = header.affine @ [taken[0], 0.0, 0.0, 1.0]
    affine[:3, 0] *= step
    dz_mm, dy_mm, dx_mm = header.spacing_mm
    volume = Volume(
        hu=hu,
        spacing_mm=(dz_mm * step, dy_mm, dx_mm),
        affine=affine,
        source=tuple(header.source[s] for s in taken),
        audit=header.audit,
    )
    return PreparedScan(
        volume=volume, slice_labels=header.slice_labels[taken], scan_labels=header.scan_labels, mask=mask
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Store:
    """A folder of prepared scans.

    Attributes:
      path: the folder.
      config: the preparation's configuration, as plain values.
      index: one row per scan, sorted by series: the Study index without paths, and ``n_slices, height, width, shard,
        bytes, sha256`` (of the record).
    """

    path: Path
    config: dict[str, Any]
    index: pd.DataFrame

    @classmethod
    def open(cls, path: Path | str) -> "Store":
        """Reads ``index.json`` and looks whether every shard is there; InputError where not."""
        path = Path(path)
        index_path = path / INDEX_NAME
        config, entries = read_store_index(index_path)
        if entries is None:
            raise InputError(
                "prepare was interrupted", where=path, mend="run prepare again: it does only what is missing"
            )
        if not entries:
            raise InputError(
                "the store holds no scan", where=path, mend="see rejects.csv, mend the input, prepare again"
            )
        index = pd.DataFrame(entries).sort_values("series", ignore_index=True)
        index[list(LABELS)] = index[list(LABELS)].astype(np.float64)
        for shard in index["shard"]:
            if not shard_path(path, shard).is_file():
                raise InputError("the shard is missing", where=shard_path(path, shard), mend=_MEND)
        return cls(path=path, config=config, index=index)

    def rows(self, split: str) -> Int64[np.ndarray, "n"]:
        """The rows of ``index`` that belong to a split."""
        rows = np.flatnonzero((self.index["split"] == split).to_numpy()).astype(np.int64)
        if not len(rows):
            splits = ", ".join(sorted(set(self.index["split"])))
            raise InputError(f"no scan belongs to split {split!r}", where=self.path, mend=f"it has: {splits}")
        return rows

    def shard_paths(self, rows: Sequence[int] | Integer[np.ndarray, "n"]) -> list[str]:
        """The rows' files, each of one record: what ``grain.sources.ArrayRecordDataSource`` takes."""
        return [str(shard_path(self.path, shard)) for shard in self.index["shard"].iloc[list(rows)]]

    def read(self, row: int) -> PreparedScan:
        """One scan, checked against the hash in the index."""
        (path,) = self.shard_paths([row])
        data = read_shard(Path(path))
        if hashlib.sha256(data).hexdigest() != self.index["sha256"].iloc[row]:
            raise InputError("the shard is not the one that the index describes", where=path, mend=_MEND)
        return decode_record(data, where=path)


def shard_path(store: Path, shard: str) -> Path:
    """Where a shard lies."""
    return store / SHARD_FOLDER / shard


def read_shard(path: Path) -> bytes:
    """The one record of a shard; InputError where it is missing or damaged."""
    try:
        reader = ArrayRecordReader(str(path), "readahead_buffer_size:0,max_parallelism:0")
        try:
            (data,) = reader.read_all()
        finally:
            reader.close()
    except (RuntimeError, ValueError) as error:
        raise InputError(f"the shard cannot be read ({error})", where=path, mend=_MEND) from error
    return bytes(data)


def read_store_index(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]] | None]:
    """Configuration and entries of an ``index.json``; None for the entries where prepare has not finished."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        version, config, entries = values["schema"], values["config"], values["series"]
    except FileNotFoundError as error:
        raise InputError(
            "this is no store: it has no index.json", where=path.parent, mend="run prepare first"
        ) from error
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"the index cannot be read ({type(error).__name__})", where=path, mend=_MEND) from error
    if version != STORE_VERSION:
        raise InputError(f"schema {version}, this ichformer reads {STORE_VERSION}", where=path, mend="prepare anew")
    texts, counts = ("series", "split", "shard", "sha256"), ("n_slices", "height", "width", "bytes")
    for entry in entries or ():
        sound = (
            isinstance(entry, dict)
            and {*texts, *counts, *LABELS} <= entry.keys()
            and all(isinstance(entry[k], str) for k in texts)
            and all(type(entry[k]) is int for k in counts)
            and all(entry[k] is None or isinstance(entry[k], int | float) for k in LABELS)
            and re.fullmatch(r"[0-9a-f]{32}\.array_record", entry["shard"])
        )
        if not sound:
            raise InputError("an entry of the index makes no sense", where=path, mend=_MEND)
    return config, entries


@dataclass(frozen=True, kw_only=True, eq=False)
class _Header:
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    affine: Float64[np.ndarray, "4 4"]
    source: tuple[str, ...]
    audit: Audit
    slice_labels: Float32[np.ndarray, "s labels"]
    scan_labels: Float32[np.ndarray, "labels"]
    frames: tuple[int, ...]
    mask_frames: tuple[int, ...]


def _read_header(data: bytes, where: object) -> tuple[_Header, int]:
    """The checked header of a record and where its first frame begins."""

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
        header = _parse_header(json.loads(text))
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise refuse(f"the record's header makes no sense ({type(error).__name__}: {error})") from error
    if start + sum(header.frames) + sum(header.mask_frames) != len(data):
        raise refuse("the record's frames do not add up to its length")
    return header, start


def _parse_header(values: dict[str, Any]) -> _Header:
    """The header from parsed JSON; ValueError, KeyError, TypeError or OverflowError for anything unexpected."""
    _expect(values["codec"] == CODEC, "codec")
    n_slices, height, width = (_count(v) for v in values["shape"])
    _expect(n_slices * height * width <= _MAX_VOXELS, "shape")
    frames, mask_frames = (tuple(_count(v) for v in values[k]) for k in ("frames", "mask_frames"))
    _expect(len(frames) == n_slices and len(mask_frames) in (0, n_slices), "number of frames")
    source = tuple(values["source"])
    _expect(len(source) == n_slices and all(isinstance(v, str) for v in source), "source")
    dz_mm, dy_mm, dx_mm = (float(v) for v in values["spacing_mm"])
    _expect(all(0 < v < 1e6 for v in (dz_mm, dy_mm, dx_mm)), "spacing_mm")
    affine = np.asarray(values["affine"], np.float64)
    _expect(affine.shape == (4, 4) and bool((np.abs(affine) < 1e9).all()), "affine")
    slice_labels, scan_labels = (np.asarray(values[k], np.float64) for k in ("slice_labels", "scan_labels"))
    _expect(slice_labels.shape == (n_slices, len(LABELS)) and scan_labels.shape == (len(LABELS),), "labels")
    known = np.concatenate([slice_labels.ravel(), scan_labels])
    _expect(bool((np.isnan(known) | ((known >= 0) & (known <= 1))).all()), "labels")
    return _Header(
        shape=(n_slices, height, width),
        spacing_mm=(dz_mm, dy_mm, dx_mm),
        affine=affine,
        source=source,
        audit=_parse_audit(values["audit"]),
        slice_labels=slice_labels.astype(np.float32),
        scan_labels=scan_labels.astype(np.float32),
        frames=frames,
        mask_frames=mask_frames,
    )


def _parse_audit(values: dict[str, Any]) -> Audit:
    texts = (values[k] for k in ("modality", "description", "kernel", "manufacturer"))
    notes = (text for note in values["notes"] for text in (note["code"], note["text"]))
    _expect(all(isinstance(v, str) for v in (*texts, *notes)), "audit")
    thickness_mm = values["thickness_mm"]
    numbers = {"tilt_deg": float(values["tilt_deg"]), "missing_slices": int(values["missing_slices"])}
    return Audit.from_json({**values, **numbers, "thickness_mm": None if thickness_mm is None else float(thickness_mm)})


def _expect(condition: bool, what: str) -> None:
    if not condition:
        raise ValueError(f"unexpected {what}")


def _count(value: Any) -> int:
    _expect(type(value) is int and 0 < value < 1 << 31, "size")
    return int(value)


def _nan_to_none(values: Float32[np.ndarray, "labels"]) -> list[float | None]:
    return [None if np.isnan(v) else float(v) for v in values]
