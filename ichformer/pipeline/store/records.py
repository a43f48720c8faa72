"""Prepared scans on disk: one record of bytes per scan, and the store that holds them.

A record is its header (``header.py``), one frame per slice of HU (``frames.py``) and, where there is a mask, one frame
per slice of mask. So slices can be read alone.
"""

import hashlib
import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import zstandard
from array_record.python.array_record_module import ArrayRecordReader
from jaxtyping import Float32, Int64, Integer, UInt8

from ichformer.cohorts.index import group_columns
from ichformer.ct.io.dicom.slices import geometry_of_some, offsets_of
from ichformer.ct.volume import Volume
from ichformer.errors import InputError, one_line
from ichformer.labels import SIX, LabelSet
from ichformer.pipeline.store.frames import compress_hu, compress_mask, decompress_hu, decompress_mask
from ichformer.pipeline.store.header import RecordHeader, read_header, write_header
from ichformer.pipeline.store.index_file import INDEX_NAME, SHARD_FOLDER, read_store_index
from ichformer.pipeline.store.pseudonyms import Naming, is_private
from ichformer.settings import as_path

_FIX = "the store is damaged: run prepare again"


@dataclass(frozen=True, kw_only=True, eq=False)
class PreparedScan:
    """A volume with what is known about it.

    Attributes:
      volume: HU and geometry after preparation.
      slice_labels: [S,L] in the order of ``label_set.columns``, NaN where unknown.
      scan_labels: [L], NaN where unknown.
      mask: [S,H,W] with the cohort's own values, 0 for no bleed; None where there is none.
      boxed: whether ``mask`` says instead where boxes round the bleeds are (``cohorts.mask_labels.BOXED``).
      pixels: ``ct.fingerprint`` of the scan before preparation, "" where unknown.
      label_set: its labels and targets.
    """

    volume: Volume
    slice_labels: Float32[np.ndarray, "s labels"]
    scan_labels: Float32[np.ndarray, "labels"]
    mask: UInt8[np.ndarray, "s h w"] | None = None
    boxed: bool = False
    pixels: str = ""
    label_set: LabelSet = SIX

    def __post_init__(self) -> None:
        shape = self.volume.hu.shape
        n_labels = len(self.label_set.columns)
        if self.slice_labels.shape != (shape[0], n_labels) or self.scan_labels.shape != (n_labels,):
            raise ValueError(f"labels {self.slice_labels.shape}, {self.scan_labels.shape} for {shape[0]} slices")
        if self.boxed and self.mask is None:
            raise ValueError("boxed without a mask")
        if self.mask is not None and self.mask.shape != shape:
            raise ValueError(f"mask of {self.mask.shape} on a volume of {shape}")


def encode_record(scan: PreparedScan) -> bytes:
    """Encodes a scan as one record; the same scan always gives the same bytes."""
    volume = scan.volume
    frames = [compress_hu(pixels) for pixels in volume.hu]
    mask_frames = [] if scan.mask is None else [compress_mask(pixels) for pixels in scan.mask]
    n_slices, height, width = volume.hu.shape
    header = RecordHeader(
        shape=(n_slices, height, width),
        spacing_mm=volume.spacing_mm,
        affine=volume.affine,
        source=volume.source,
        audit=volume.audit,
        slice_labels=scan.slice_labels,
        scan_labels=scan.scan_labels,
        frames=tuple(map(len, frames)),
        mask_frames=tuple(map(len, mask_frames)),
        boxed=scan.boxed,
        pixels=scan.pixels,
        label_set=scan.label_set,
    )
    return b"".join([write_header(header), *frames, *mask_frames])


def decode_record(
    data: bytes, *, slices: Sequence[int] | Integer[np.ndarray, "n"] | None = None, where: object = "record"
) -> PreparedScan:
    """Decodes a record, without loss.

    Args:
      data: one record.
      slices: the slices to decode, ascending; all by default. The others are not decompressed. The volume's affine,
        spacing and steps become those of the slices taken.
      where: named in the error.

    Raises:
      InputError: whatever is wrong with the bytes. Sizes are checked before memory is taken.
    """
    header, start = read_header(data, where=where)
    n_slices, height, width = header.shape
    taken = list(range(n_slices)) if slices is None else [int(i) for i in slices]
    if not taken or taken[0] < 0 or taken[-1] >= n_slices or any(b <= a for a, b in itertools.pairwise(taken)):
        raise ValueError(f"slices must be ascending indices below {n_slices}, got {taken}")

    edges = list(itertools.accumulate([start, *header.frames, *header.mask_frames]))
    hu = np.empty((len(taken), height, width), np.int16)
    mask = np.empty_like(hu, np.uint8) if header.mask_frames else None
    try:
        decompress_hu((data[edges[s] : edges[s + 1]] for s in taken), hu)
        if mask is not None:
            decompress_mask((data[edges[m] : edges[m + 1]] for m in (n_slices + s for s in taken)), mask)
    except zstandard.ZstdError as error:
        raise InputError(f"a slice cannot be decompressed ({error})", where=where, fix=_FIX) from error

    if slices is not None:
        header = _header_of_slices(header, taken)
    volume = Volume(hu=hu, spacing_mm=header.spacing_mm, affine=header.affine, source=header.source, audit=header.audit)
    return PreparedScan(
        volume=volume,
        slice_labels=header.slice_labels,
        scan_labels=header.scan_labels,
        mask=mask,
        boxed=header.boxed,
        pixels=header.pixels,
        label_set=header.label_set,
    )


def _header_of_slices(header: RecordHeader, taken: list[int]) -> RecordHeader:
    """The geometry, sources and labels of some of the slices."""
    dz_mm, dy_mm, dx_mm = header.spacing_mm
    offsets_mm = offsets_of(header.audit.steps_mm, dz_mm, header.shape[0])[taken]
    affine, spacing_z_mm, steps_mm = geometry_of_some(header.affine, offsets_mm, dz_mm)
    return replace(
        header,
        spacing_mm=(spacing_z_mm, dy_mm, dx_mm),
        affine=affine,
        source=tuple(header.source[s] for s in taken),
        audit=replace(header.audit, steps_mm=steps_mm),
        slice_labels=header.slice_labels[taken],
    )


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Store:
    """A folder of prepared scans.

    Example:
      >>> import ichformer as ich
      >>> store = ich.Store.open("store")
      >>> row = int(store.rows("train")[0])
      >>> store.read(row).volume.hu.shape[0] == store.n_slices[row]
      True

    Attributes:
      path: the folder.
      config: the preparation's configuration, as plain values.
      index: one row per scan, sorted by series, or by records where series have pseudonyms: the Study index without
        paths, and ``n_slices, height, width, has_mask, boxed_labels, pixels`` (see ``ct.fingerprint``), ``shard``,
        ``bytes`` (of the shard), ``sha256`` (of its record) and ``patient_key`` (by which key the scan is called, see
        ``pseudonyms.Naming``; "" where its names are published).
      naming: how its scans are called.
      label_set: the labels and targets of its scans, which are columns of ``index``.
      recipe: the ``RECIPE_VERSION`` by which they were prepared; None where an earlier ichformer did not say it.
    """

    path: Path
    config: dict[str, Any]
    index: pd.DataFrame
    naming: Naming = field(default_factory=Naming)
    label_set: LabelSet = SIX
    recipe: int | None = None

    def __repr__(self) -> str:
        """Two lines: how many scans are where, and what they are labelled with."""
        counts = self.index["split"].value_counts(sort=False)
        splits = ", ".join(f"{one_line(name) or '(none)'} {count}" for name, count in counts.items())
        return (
            f"Store: {len(self.index)} scans of {self.index['patient'].nunique()} patients, {one_line(self.path)}\n"
            f"       labels and targets {', '.join(self.label_set.columns)}; scans by split: {splits}"
        )

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> "Store":
        """Opens the store in a folder; InputError where its index makes no sense or a shard is not there in full."""
        path = as_path(path, where="store", fix="give the folder of a store")
        found = read_store_index(path / INDEX_NAME)
        if found.entries is None:
            raise InputError(
                "prepare was interrupted", where=path, fix="run prepare again: it does only what is missing"
            )
        if not found.entries:
            raise InputError(
                "the store holds no scan", where=path, fix="see rejects.csv, correct the input, prepare again"
            )
        naming, labels = found.naming, list(found.label_set.columns)
        index = pd.DataFrame(found.entries)
        index = index.assign(order=_orders(index, naming)).sort_values(["order", "series"], ignore_index=True)
        index = index.drop(columns="order")
        groups = group_columns(index)
        index[labels] = index[labels].astype(np.float64)
        index[groups] = index[groups].fillna("")
        index["patient_key"] = np.where(is_private(index["cohort"]), naming.patient_key, "")
        for shard, n_bytes in zip(index["shard"], index["bytes"], strict=True):
            shard = shard_path(path, shard)
            if not shard.is_file() or shard.stat().st_size != n_bytes:
                raise InputError(f"the shard is missing or not of {n_bytes} bytes", where=shard, fix=_FIX)
        return cls(
            path=path, config=found.config, index=index, naming=naming, label_set=found.label_set, recipe=found.recipe
        )

    def rows(self, split: str) -> Int64[np.ndarray, "n"]:
        """Returns the rows of ``index`` that belong to a split; InputError where there is none."""
        rows = np.flatnonzero((self.index["split"] == split).to_numpy()).astype(np.int64)
        if not len(rows):
            splits = ", ".join(sorted(set(self.index["split"])))
            raise InputError(f"holds no scan of the split {split!r}", where=self.path, fix=f"it has: {splits}")
        return rows

    # Columns as lists: looking one scan up in the table takes as long as reading a slice of it.

    @cached_property
    def n_slices(self) -> list[int]:
        """The number of slices of every row."""
        return self.index["n_slices"].tolist()

    @cached_property
    def cohorts(self) -> list[str]:
        """The cohort of every row."""
        return self.index["cohort"].tolist()

    @cached_property
    def _paths(self) -> list[str]:
        return [str(shard_path(self.path, shard)) for shard in self.index["shard"]]

    @cached_property
    def _hashes(self) -> list[str]:
        return self.index["sha256"].tolist()

    def record(self, row: int) -> bytes:
        """Reads the bytes of one scan and checks them against the hash in the index."""
        path = self._paths[row]
        data = read_shard(Path(path))
        if hashlib.sha256(data).hexdigest() != self._hashes[row]:
            raise InputError("the shard is not the one that the index describes", where=path, fix=_FIX)
        return data

    def read(self, row: int, *, slices: Sequence[int] | Integer[np.ndarray, "n"] | None = None) -> PreparedScan:
        """Reads one scan, or some of its slices (see ``decode_record``)."""
        scan = decode_record(self.record(row), slices=slices, where=self._paths[row])
        self._check_labels(scan.label_set, row)
        return scan

    def header(self, row: int) -> RecordHeader:
        """Reads all that is known of one scan but its pixels."""
        header = read_header(self.record(row), where=self._paths[row])[0]
        self._check_labels(header.label_set, row)
        return header

    def _check_labels(self, label_set: LabelSet, row: int) -> None:
        if label_set != self.label_set:
            raise InputError("the shard has other labels than the index", where=self._paths[row], fix=_FIX)


def shard_path(store: Path, shard: str) -> Path:
    """Returns the path of a shard."""
    return store / SHARD_FOLDER / shard


def _orders(index: pd.DataFrame, naming: Naming) -> pd.Series:
    """What the rows of a store are sorted by: the same for every key, so that the same scans train the same model.

    Pseudonyms differ with the key, and the order of true names would tell something of them. Records hold neither.
    """
    has_pseudonyms = is_private(index["cohort"]) & bool(naming.patient_key and not naming.with_uids)
    return index["sha256"].where(has_pseudonyms, index["series"])


def read_shard(path: Path) -> bytes:
    """Reads the one record of a shard; InputError where it is missing or damaged."""
    try:
        reader = ArrayRecordReader(os.fsencode(path), "readahead_buffer_size:0,max_parallelism:0")
        try:
            (data,) = reader.read_all()
        finally:
            reader.close()
    except (RuntimeError, ValueError) as error:
        raise InputError(f"the shard cannot be read ({error})", where=path, fix=_FIX) from error
    return bytes(data)
