"""From a Study index to a store: every series read, brought to one size, and written as a record, once."""

import contextlib
import hashlib
import json
import os
import sys
import threading
import uuid
from concurrent.futures import Executor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from array_record.python.array_record_module import ArrayRecordWriter
from tqdm import tqdm

from ichformer import LABELS
from ichformer.cohorts.index import PATH_COLUMNS, check_index
from ichformer.cohorts.reading import Place, read_place
from ichformer.ct.fingerprint import fingerprint
from ichformer.ct.io.display import WindowHU
from ichformer.ct.known_words import without_free_text
from ichformer.errors import InputError, one_line
from ichformer.files.lease import Lease, hold
from ichformer.files.writing import text_path, write_text
from ichformer.pipeline.preparation.config import PrepareConfig
from ichformer.pipeline.preparation.facts import ScanFacts, complete_facts, describe_scan
from ichformer.pipeline.preparation.masks import read_mask
from ichformer.pipeline.preparation.recipe import prepare_scan
from ichformer.pipeline.preparation.rejects import Reject, full_reason, reason_without_names, say_rejects, write_rejects
from ichformer.pipeline.preparation.tasks import Opened, Task, list_tasks
from ichformer.pipeline.preparation.workers import run_all
from ichformer.pipeline.store.pseudonyms import Naming, choose_key, is_private, with_pseudonyms
from ichformer.pipeline.store.records import (
    INDEX_NAME,
    SHARD_FOLDER,
    STORE_VERSION,
    PreparedScan,
    Store,
    decode_record,
    encode_record,
    read_shard,
    read_store_index,
    shard_path,
)


def prepare(
    index: pd.DataFrame,
    out: Path | str,
    *,
    config: PrepareConfig = PrepareConfig(),
    window_hu: WindowHU | None = None,
    executor: Executor | None = None,
    workers: int | None = None,
    patient_key: Path | str | None = None,
    with_uids: bool = False,
    progress: bool = True,
) -> Store:
    """Prepare every series of the index that is not in the store yet.

    A series that cannot be read goes to ``rejects.csv`` with the reason. Interrupted and called again, it goes on where
    it was: a shard is there whole or not at all. The same input and key give the same bytes.

    Scans of cohorts that are not published (``pseudonyms.PUBLISHED``) get pseudonyms for patient, study and series,
    numbers for names of slices, and lose the free text of their headers.

    Args:
      index: Study index.
      out: the store's folder.
      config: has to be the same as before where the store exists.
      window_hu: for display pictures, the HU that black and white stand for; estimated for each scan where None.
      executor: where to work, such as that of ``cluster_executor``; a pool of processes by default. A process prepares
        one series at a time, whatever its threads.
      workers: processes of that pool; one per core by default.
      patient_key: a file with the key of the pseudonyms, such as that of another store; a new key by default.
      with_uids: keep the UIDs and file names of scans that are not published; patients get pseudonyms all the same.
      progress: show a bar with an ETA on standard error, and name there what was left out.

    Raises:
      InputError: a bad index, configuration, key or table of slice labels, a store of another configuration or naming
        or one that another preparation is writing (``lease``), nowhere to write, or no series that could be read.
    """
    check_index(index)
    out = Path(out).absolute()  # a cluster's workers may run in another folder
    with hold(out, what="preparation") as lease:
        key_file = None if patient_key is None else Path(patient_key)
        opened = _open_folder(index, out, config, key_file, with_uids=with_uids)
        return _prepare_held(opened, config, window_hu, executor, workers, progress=progress, lease=lease)


def _prepare_held(
    opened: Opened,
    config: PrepareConfig,
    window_hu: WindowHU | None,
    executor: Executor | None,
    workers: int | None,
    *,
    progress: bool,
    lease: Lease,
) -> Store:
    """``prepare`` in a folder in which nobody else works."""
    out, known, named = opened.out, opened.known, opened.named
    tasks = list(list_tasks(opened, config, window_hu))
    facts: dict[str, dict[str, Any]] = {}
    for task in tasks:
        if task.shard in known and _has_size(task, known[task.shard]["bytes"]):
            facts[task.name] = {name: known[task.shard][name] for name in _FACTS}
    todo = [task for task in tasks if task.name not in facts]
    described: dict[str, ScanFacts] = {}
    rejects: list[Reject] = []
    outcomes = run_all(_prepare_one, todo, executor=executor, workers=workers or os.cpu_count() or 1)
    with tqdm(total=len(todo), desc="prepare", unit="scan", disable=not (progress and todo), file=sys.stderr) as bar:
        for task, outcome in outcomes:
            lease.confirm()
            if outcome is None:
                outcome = _reject(task, InputError(_KILLED, where=task.path, mend=_LESS))
            if isinstance(outcome, Reject):
                rejects.append(outcome)
                bar.set_postfix(rejected=len(rejects), refresh=False)
            else:
                _check_outcome(outcome, task)
                facts[task.name], described[outcome[0]["sha256"]] = outcome
            bar.update()

    columns = [name for name in named.columns if name not in PATH_COLUMNS]
    entries = [
        {name: _plain(value) for name, value in row.items()} | {"shard": task.shard} | facts[task.name]
        for task, row in zip(tasks, named[columns].to_dict("records"), strict=True)
        if task.name in facts
    ]
    lease.confirm()
    write_rejects(rejects, named["path"].tolist(), out)
    _write_index(out, config, opened.naming, sorted(entries, key=lambda entry: entry["series"]))
    for left_by_the_killed in (out / SHARD_FOLDER).glob(".*.tmp"):
        left_by_the_killed.unlink(missing_ok=True)
    if progress:
        say_rejects(rejects)
    store = Store.open(out)
    complete_facts(store, described)
    return store


_KILLED = "its process was killed whenever it was tried; the memory may not suffice for it"
_LESS = "prepare it with fewer --workers, or on a larger machine"

_FACTS = {
    "n_slices": int,
    "height": int,
    "width": int,
    "has_mask": bool,
    "pixels": str,
    "bytes": int,
    "sha256": str,
}
"""What the index says of a shard, found out when it is written, and of which type it is."""


def _check_outcome(outcome: object, task: Task) -> None:
    """InputError where a worker says what none of ours says: those of a cluster may be other programs elsewhere."""
    match outcome:
        case (dict() as facts, ScanFacts()) if {name: type(value) for name, value in facts.items()} == _FACTS:
            if _has_size(task, facts["bytes"]):
                return
            what = "a worker says that it wrote this shard, but it is not there in full"
            mend = "let all workers see the store's folder under the same path, and run the same command again"
        case _:
            what = f"a worker answered with something else than facts ({one_line(type(outcome).__name__)})"
            mend = "give all workers the same ichformer, and run the same command again"
    raise InputError(what, where=shard_path(task.out, task.shard), mend=mend)


_ONE_AT_A_TIME = threading.Lock()
"""pydicom's settings and Python's filters of warnings belong to the process, not to a thread."""


def _prepare_one(task: Task) -> tuple[dict[str, Any], ScanFacts] | Reject:
    """What index and card say of the task's shard, made unless it is there; or why the series is left out."""
    with _ONE_AT_A_TIME:
        return _shard_or_reject(task)


def _shard_or_reject(task: Task) -> tuple[dict[str, Any], ScanFacts] | Reject:
    path = shard_path(task.out, task.shard)
    if path.is_file():
        with contextlib.suppress(InputError):  # damaged: it is made anew
            record = read_shard(path)
            return _facts_of(path, record, decode_record(record, where=path))
    try:
        scan = _read_scan(task)
        record = encode_record(scan)
    except Exception as error:  # one series must not stop a night's work, whatever a library makes of it
        return _reject(task, error)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")  # machines may share process ids
    try:
        # Uncompressed, as the frames are compressed already.
        writer = ArrayRecordWriter(os.fsencode(temporary), "group_size:1,uncompressed")
        writer.write(record)
        writer.close()
        os.replace(temporary, path)
    except (OSError, RuntimeError) as error:
        raise InputError(f"cannot be written ({error})", where=path, mend="free some space and run again") from None
    finally:
        temporary.unlink(missing_ok=True)
    return _facts_of(path, record, scan)


def _reject(task: Task, error: Exception) -> Reject:
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
    unknown = (np.nan,) * len(LABELS)
    slice_labels = np.array([task.slice_labels.get(name, unknown) for name in volume.source], np.float32)
    if task.slice_labels and not set(volume.source) & task.slice_labels.keys():
        raise InputError(
            f"none of its slices has one of the {len(task.slice_labels)} slice labels", where=task.path, mend=_NAMES
        )
    if task.is_private:
        # Numbers of slices, the lowest first, name them well enough within a scan.
        source = tuple(f"{s:04d}" for s in range(len(volume.hu))) if task.hides_names else volume.source
        volume = replace(volume, source=source, audit=without_free_text(volume.audit))
    scan_labels = np.array(task.scan_labels, np.float32)
    if ((slice_labels == 1).any(0) & (scan_labels == 0)).any():
        raise InputError("a slice is positive, the scan is not", where=task.path, mend="correct the labels")
    scan = PreparedScan(
        volume=volume, slice_labels=slice_labels, scan_labels=scan_labels, mask=mask, pixels=fingerprint(volume.hu)
    )
    scan = prepare_scan(scan, task.config)
    if any(note.code == "brain_not_found" for note in scan.volume.audit.notes):
        raise InputError("no brain can be found in it", where=task.path, mend="prepare it with keep set to head")
    return scan


_NAMES = "name slices by SOPInstanceUID, or by file name where the files have none"


def _facts_of(path: Path, record: bytes, scan: PreparedScan) -> tuple[dict[str, Any], ScanFacts]:
    n_slices, height, width = scan.volume.hu.shape
    entry = {
        "n_slices": n_slices,
        "height": height,
        "width": width,
        "has_mask": scan.mask is not None,
        "pixels": scan.pixels,
        "bytes": path.stat().st_size,
        "sha256": hashlib.sha256(record).hexdigest(),
    }
    return entry, describe_scan(scan)


def _open_folder(
    index: pd.DataFrame, out: Path, config: PrepareConfig, key_file: Path | None, *, with_uids: bool
) -> Opened:
    """The store's folder, made where there was none, with the key of its pseudonyms."""
    earlier = read_store_index(out / INDEX_NAME) if (out / INDEX_NAME).exists() else None
    if earlier is not None and earlier[0] != asdict(config):
        raise InputError(
            f"the store was made with {earlier[0]}, not {asdict(config)}",
            where=out,
            mend="name another folder, or delete this one",
        )
    try:
        (out / SHARD_FOLDER).mkdir(parents=True, exist_ok=True)
        key, naming, named = b"", Naming(), index
        if is_private(index["cohort"]).any():
            recorded = None if earlier is None else earlier[1]
            key, naming = choose_key(out, given=key_file, with_uids=with_uids, recorded=recorded)
            named = with_pseudonyms(index, key, with_uids=with_uids)
        if earlier is None:
            _write_index(out, config, naming, None)
    except OSError as error:
        raise InputError(f"cannot be written ({error.strerror})", where=out, mend="name a folder of your own") from None
    known = {} if earlier is None else {entry["shard"]: entry for entry in earlier[2] or ()}
    return Opened(out=out, index=index, named=named, key=key, naming=naming, known=known)


def _has_size(task: Task, n_bytes: int) -> bool:
    path = shard_path(task.out, task.shard)
    return path.is_file() and path.stat().st_size == n_bytes


def _write_index(out: Path, config: PrepareConfig, naming: Naming, entries: list[dict[str, Any]] | None) -> None:
    values: dict[str, Any] = {"schema": STORE_VERSION, "config": asdict(config), "series": entries}
    if naming.patient_key:
        values["names"] = naming.to_json()
    out.mkdir(parents=True, exist_ok=True)
    write_text(json.dumps(values, indent=1, allow_nan=False) + "\n", out / INDEX_NAME)


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and np.isnan(value) else value
