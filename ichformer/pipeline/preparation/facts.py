"""Collects what the data card says of one scan, when its shard is written."""

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32, Int16

from ichformer.ct.geometry.orientation import oblique_of
from ichformer.errors import InputError
from ichformer.files.json_files import MAX_BYTES, Count, convert, parse_json
from ichformer.files.writing import read_bytes, write_text
from ichformer.labels import SIX, LabelSet
from ichformer.pipeline.store.records import PreparedScan, Store

FACTS_NAME = "scans.jsonl"
EDGES_HU = (*range(-1024, -64, 64), *range(-64, 128, 4), *range(128, 3136, 64))
"""Where the bins of ``hu_counts`` begin: 4 HU wide where brain and blood lie, 64 elsewhere. The last has no end."""

_LINE_BYTES = 1 << 14
"""Most of a line: it takes a thousand, and some more for each slice whose targets are known."""


@dataclass(frozen=True, kw_only=True)
class ScanFacts:
    """One prepared scan in a few numbers, without anything that names it.

    Attributes:
      spacing_mm: (z, y, x), as prepared.
      thickness_mm: nominal, None where unknown.
      lean_deg: angle between the slices' normal and the patient's axis: a tilted gantry, or how the head lay.
      codes: of the audit's notes, each once.
      positive_slices, negative_slices: for each label, how many.
      hu_counts: voxels in each bin of ``EDGES_HU``.
      slice_targets: for each target, its known values of slices; empty where the label set has no targets.
    """

    spacing_mm: tuple[float, float, float]
    thickness_mm: float | None
    lean_deg: float
    codes: tuple[str, ...]
    positive_slices: tuple[Count, ...]
    negative_slices: tuple[Count, ...]
    hu_counts: tuple[Count, ...]
    slice_targets: tuple[tuple[float, ...], ...] = ()


def describe_scan(scan: PreparedScan) -> ScanFacts:
    """Describes a prepared scan; every voxel is counted."""
    volume, counts = scan.volume, count_slices(scan.slice_labels, scan.label_set)
    thickness_mm = volume.audit.thickness_mm
    return ScanFacts(
        spacing_mm=volume.spacing_mm,
        thickness_mm=None if np.isnan(thickness_mm) else thickness_mm,
        lean_deg=oblique_of(volume.affine),
        codes=tuple(sorted({note.code for note in volume.audit.notes})),
        positive_slices=counts.positive,
        negative_slices=counts.negative,
        hu_counts=_count_hu(volume.hu),
        slice_targets=counts.targets,
    )


class SliceCounts(NamedTuple):
    """What is known of the slices of one scan, as ``ScanFacts`` has it."""

    positive: tuple[int, ...]
    negative: tuple[int, ...]
    targets: tuple[tuple[float, ...], ...]


def count_slices(slice_labels: Float32[np.ndarray, "s labels"], label_set: LabelSet) -> SliceCounts:
    """Counts the slices that are positive and negative for each label, and collects the values of each target."""
    labels, targets = np.split(slice_labels, [len(label_set.names)], axis=1)
    return SliceCounts(
        positive=tuple((labels == 1).sum(0).tolist()),
        negative=tuple((labels == 0).sum(0).tolist()),
        targets=tuple(tuple(values[~np.isnan(values)].tolist()) for values in targets.T),
    )


def complete_facts(store: Store, known: Mapping[str, ScanFacts] = MappingProxyType({})) -> list[ScanFacts]:
    """Returns the facts of every scan of a store, in the order of its index, and writes its ``scans.jsonl``.

    Args:
      store: any; the shards of those scans are read whose facts are neither known nor in ``scans.jsonl``.
      known: by the SHA-256 of the scan's record.

    Raises:
      InputError: a shard that has to be read cannot be.
    """
    path = store.path / FACTS_NAME
    keys = store.index["sha256"].tolist()
    found = read_facts(path, keys, store.label_set) | dict(known)
    facts = [found[key] if key in found else describe_scan(store.read(row)) for row, key in enumerate(keys)]
    lines = (json.dumps({"sha256": key} | _to_json(own)) + "\n" for key, own in zip(keys, facts, strict=True))
    write_text("".join(lines), path)
    return facts


def _to_json(facts: ScanFacts) -> dict[str, Any]:
    values = asdict(facts)
    if not facts.slice_targets:
        del values["slice_targets"]
    return values


def read_facts(path: Path, keys: Collection[str], label_set: LabelSet = SIX) -> dict[str, ScanFacts]:
    """Reads what a ``scans.jsonl`` says of the scans whose records have these SHA-256.

    Lines that are damaged or of something else are left out, and all of them where there is no such file or it is much
    larger than ``keys`` explain: whoever reads it finds the facts out again.
    """
    wanted, found = set(keys), {}
    n_names = len(label_set.names)
    lengths = (n_names, n_names, len(EDGES_HU), len(label_set.targets))
    try:
        lines = read_bytes(path, max_bytes=MAX_BYTES + _LINE_BYTES * len(wanted), fix="delete it").splitlines()
    except InputError:
        return {}
    for line in lines:
        try:
            values = parse_json(line, dict, where=path, fix="delete it")
            facts = convert(values, ScanFacts, where=path, fix="delete it")
        except InputError:
            continue
        counts = (facts.positive_slices, facts.negative_slices, facts.hu_counts, facts.slice_targets)
        key = values.get("sha256")
        if isinstance(key, str) and key in wanted and tuple(map(len, counts)) == lengths:
            found[key] = facts
    return found


def _count_hu(hu: Int16[np.ndarray, "s h w"]) -> tuple[int, ...]:
    each = np.bincount((np.clip(hu, EDGES_HU[0], EDGES_HU[-1]) - EDGES_HU[0]).ravel())
    each = np.pad(each, (0, EDGES_HU[-1] - EDGES_HU[0] + 1 - len(each)))
    return tuple(np.add.reduceat(each, np.array(EDGES_HU) - EDGES_HU[0]).tolist())
