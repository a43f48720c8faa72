"""Makes the shard of one series, or finds the reason why it is left out: the work of one process."""

import contextlib
import hashlib
import os
import threading
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from array_record.python.array_record_module import ArrayRecordWriter

from ichformer import LABELS
from ichformer.cohorts.mask_labels import boxes_in
from ichformer.cohorts.reading import Place, find_place, read_place
from ichformer.ct.fingerprint import fingerprint
from ichformer.ct.io.scans import only_scan
from ichformer.ct.known_words import without_free_text
from ichformer.errors import InputError, one_line
from ichformer.files.writing import text_path
from ichformer.pipeline.preparation.boxes import draw_boxes
from ichformer.pipeline.preparation.facts import ScanFacts, describe_scan
from ichformer.pipeline.preparation.masks import read_mask
from ichformer.pipeline.preparation.recipe import prepare_scan
from ichformer.pipeline.preparation.rejects import Reject, full_reason, reason_without_names
from ichformer.pipeline.preparation.tasks import Task
from ichformer.pipeline.store.records import PreparedScan, decode_record, encode_record, read_shard, shard_path

FACTS = {
    "n_slices": int,
    "height": int,
    "width": int,
    "has_mask": bool,
    "boxed_labels": str,
    "pixels": str,
    "bytes": int,
    "sha256": str,
}
"""What the index says of a shard, found out when it is written, and of which type it is."""


def check_outcome(outcome: object, task: Task) -> None:
    """Raises InputError for an answer that no worker of ours gives: workers of a cluster may be other programs."""
    match outcome:
        case (dict() as facts, ScanFacts()) if {name: type(value) for name, value in facts.items()} == FACTS:
            if has_size(task, facts["bytes"]):
                return
            what = "a worker says that it wrote this shard, but it is not there in full"
            fix = "let all workers see the store's folder under the same path, and run the same command again"
        case _:
            what = f"a worker answered with something else than facts ({one_line(type(outcome).__name__)})"
            fix = "give all workers the same ichformer, and run the same command again"
    raise InputError(what, where=shard_path(task.out, task.shard), fix=fix)


_ONE_AT_A_TIME = threading.Lock()
"""pydicom's settings and Python's filters of warnings belong to the process, not to a thread."""


def prepare_one(task: Task) -> tuple[dict[str, Any], ScanFacts] | Reject:
    """Makes the shard of a task unless it is there; returns what index and card say of it, or why it is left out."""
    with _ONE_AT_A_TIME:
        return _shard_orreject_task(task)


def _shard_orreject_task(task: Task) -> tuple[dict[str, Any], ScanFacts] | Reject:
    path = shard_path(task.out, task.shard)
    if path.is_file():
        with contextlib.suppress(InputError):  # damaged: it is made anew
            record = read_shard(path)
            return _facts_of(path, record, decode_record(record, where=path))
    try:
        scan = _read_scan(task)
        record = encode_record(scan)
    except Exception as error:  # one series must not stop a night's work, whatever a library makes of it
        return reject_task(task, error)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")  # machines may share process ids
    try:
        # Uncompressed, as the frames are compressed already.
        writer = ArrayRecordWriter(os.fsencode(temporary), "group_size:1,uncompressed")
        writer.write(record)
        writer.close()
        os.replace(temporary, path)
    except (OSError, RuntimeError) as error:
        raise InputError(f"cannot be written ({error})", where=path, fix="free some space and run again") from None
    finally:
        temporary.unlink(missing_ok=True)
    return _facts_of(path, record, scan)


def reject_task(task: Task, error: Exception) -> Reject:
    """Returns the report of a series that is left out because of an error."""
    return Reject(
        name=task.name,
        number=task.number,
        path=task.path,
        reason=full_reason(error, text_path(task.path)),
        reason_without_names=reason_without_names(error, text_path(task.path)) if task.hides_names else "",
    )


def _read_scan(task: Task) -> PreparedScan:
    place = Place(series=task.series, path=task.path, files=task.files)
    volume = read_place(place, missing=task.config.missing, window_hu=task.window_hu)
    mask = read_mask(task.mask, volume) if task.mask else None
    if task.boxes:
        mask = draw_boxes(task.boxes, volume, only_scan(find_place(place)))
    unknown = (np.nan,) * len(task.label_set.columns)
    slice_labels = np.array([task.slice_labels.get(name, unknown) for name in volume.source], np.float32)
    if task.slice_labels and not set(volume.source) & task.slice_labels.keys():
        raise InputError(
            f"none of its slices has one of the {len(task.slice_labels)} slice labels", where=task.path, fix=_NAMES
        )
    if task.is_private:
        # Numbers of slices, the lowest first, name them well enough within a scan.
        source = tuple(f"{s:04d}" for s in range(len(volume.hu))) if task.hides_names else volume.source
        volume = replace(volume, source=source, audit=without_free_text(volume.audit))
    scan_labels = np.array(task.scan_labels, np.float32)
    names = slice(len(task.label_set.names))
    if ((slice_labels[:, names] == 1).any(0) & (scan_labels[names] == 0)).any():
        raise InputError("a slice is positive, the scan is not", where=task.path, fix="correct the labels")
    scan = PreparedScan(
        volume=volume,
        slice_labels=slice_labels,
        scan_labels=scan_labels,
        mask=mask,
        boxed=bool(task.boxes),
        pixels=fingerprint(volume.hu),
        label_set=task.label_set,
    )
    scan = prepare_scan(scan, task.config)
    if any(note.code == "brain_not_found" for note in scan.volume.audit.notes):
        raise InputError("no brain can be found in it", where=task.path, fix="prepare it with keep set to head")
    return scan


_NAMES = "name slices by SOPInstanceUID, or by file name where the files have none"


def _facts_of(path: Path, record: bytes, scan: PreparedScan) -> tuple[dict[str, Any], ScanFacts]:
    n_slices, height, width = scan.volume.hu.shape
    entry = {
        "n_slices": n_slices,
        "height": height,
        "width": width,
        "has_mask": scan.mask is not None and not scan.boxed,
        "boxed_labels": " ".join(_boxed_labels(scan)),
        "pixels": scan.pixels,
        "bytes": path.stat().st_size,
        "sha256": hashlib.sha256(record).hexdigest(),
    }
    return entry, describe_scan(scan)


def _boxed_labels(scan: PreparedScan) -> list[str]:
    """The subtypes that its boxes are drawn round."""
    if not scan.boxed:
        return []
    assert scan.mask is not None
    return [LABELS[k] for k, inside in enumerate(boxes_in(scan.mask)) if inside.any()]


def has_size(task: Task, n_bytes: int) -> bool:
    """Returns whether the shard of a task is there with this number of bytes."""
    path = shard_path(task.out, task.shard)
    return path.is_file() and path.stat().st_size == n_bytes
