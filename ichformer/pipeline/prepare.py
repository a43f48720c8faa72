"""From a Study index to a store: every series read, brought to one size, and written as a record, once."""

import contextlib
import hashlib
import json
import os
import sys
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from array_record.python.array_record_module import ArrayRecordWriter
from tqdm import tqdm

from ichformer import LABELS
from ichformer.cohorts.index import PATH_COLUMNS, check_index
from ichformer.cohorts.reading import Place, read_place
from ichformer.cohorts.tables import read_slice_table, write_table
from ichformer.ct.display import WindowHU
from ichformer.ct.fingerprint import fingerprint
from ichformer.errors import InputError, one_line
from ichformer.files import text_path, write_text
from ichformer.lease import Lease, hold
from ichformer.pipeline.facts import ScanFacts, complete_facts, describe_scan
from ichformer.pipeline.header import RECORD_VERSION
from ichformer.pipeline.masks import read_mask
from ichformer.pipeline.prepare_config import PrepareConfig
from ichformer.pipeline.recipe import RECIPE_VERSION, prepare_scan
from ichformer.pipeline.records import (
    INDEX_NAME,
    REJECTS_NAME,
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
from ichformer.pipeline.workers import run_all


def prepare(
    index: pd.DataFrame,
    out: Path | str,
    *,
    config: PrepareConfig = PrepareConfig(),
    window_hu: WindowHU | None = None,
    executor: Executor | None = None,
    workers: int | None = None,
    progress: bool = True,
) -> Store:
    """Prepare every series of the index that is not in the store yet.

    A series that cannot be read goes to ``rejects.csv`` with the reason. Interrupted and called again, it goes on where
    it was: a shard is there whole or not at all. The same input gives the same bytes.

    Args:
      index: Study index.
      out: the store's folder.
      config: has to be the same as before where the store exists.
      window_hu: for display pictures, the HU that black and white stand for; estimated for each scan where None.
      executor: where to work, such as that of ``cluster_executor``; a pool of processes by default. A process prepares
        one series at a time, whatever its threads.
      workers: processes of that pool; one per core by default.
      progress: show a bar with an ETA on standard error.

    Raises:
      InputError: a bad index, configuration or table of slice labels, a store of another configuration or one that
        another preparation is writing (``lease``), nowhere to write, or no series that could be read.
    """
    check_index(index)
    out = Path(out).absolute()  # a cluster's workers may run in another folder
    with hold(out, what="preparation") as lease:
        return _prepare_held(index, out, config, window_hu, executor, workers, progress=progress, lease=lease)


def _prepare_held(
    index: pd.DataFrame,
    out: Path,
    config: PrepareConfig,
    window_hu: WindowHU | None,
    executor: Executor | None,
    workers: int | None,
    *,
    progress: bool,
    lease: Lease,
) -> Store:
    """``prepare`` in a folder in which nobody else works."""
    known = _open_folder(out, config)
    tasks = list(_tasks(index, out, config, window_hu))
    facts: dict[str, dict[str, Any]] = {}
    for task in tasks:
        if task.shard in known and _has_size(task, known[task.shard]["bytes"]):
            facts[task.series] = {name: known[task.shard][name] for name in _FACTS}
    todo = [task for task in tasks if task.series not in facts]
    described: dict[str, ScanFacts] = {}
    reasons: dict[str, str] = {}
    outcomes = run_all(_prepare_one, todo, executor=executor, workers=workers or os.cpu_count() or 1)
    with tqdm(total=len(todo), desc="prepare", unit="scan", disable=not (progress and todo), file=sys.stderr) as bar:
        for task, outcome in outcomes:
            lease.confirm()
            if outcome is None:
                outcome = "its process was killed whenever it was tried; the memory may not suffice for it"
            if isinstance(outcome, str):
                reasons[task.series] = one_line(outcome, max_chars=1200)
                bar.set_postfix(rejected=len(reasons), refresh=False)
            else:
                _check_outcome(outcome, task)
                facts[task.series], described[outcome[0]["sha256"]] = outcome
            bar.update()

    columns = [name for name in index.columns if name not in PATH_COLUMNS]
    rows = {row["series"]: row for row in index[columns].to_dict("records")}
    entries = [
        {name: _plain(value) for name, value in rows[task.series].items()} | {"shard": task.shard} | facts[task.series]
        for task in tasks
        if task.series in facts
    ]
    lease.confirm()
    _write_rejects(index, reasons, out)
    _write_index(out, config, sorted(entries, key=lambda entry: entry["series"]))
    for left_by_the_killed in (out / SHARD_FOLDER).glob(".*.tmp"):
        left_by_the_killed.unlink(missing_ok=True)
    store = Store.open(out)
    complete_facts(store, described)
    return store


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


def _check_outcome(outcome: object, task: "_Task") -> None:
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


@dataclass(frozen=True, kw_only=True)
class _Task:
    """All that a worker needs for one series; ``slice_labels`` by the slice's name in ``Volume.source``."""

    series: str
    path: str
    files: tuple[str, ...]
    mask: str
    scan_labels: tuple[float, ...]
    slice_labels: dict[str, tuple[float, ...]]
    config: PrepareConfig
    window_hu: WindowHU | None
    out: Path
    shard: str


def _tasks(index: pd.DataFrame, out: Path, config: PrepareConfig, window_hu: WindowHU | None) -> Iterator[_Task]:
    tables = {path: read_slice_table(text_path(path)) for path in sorted(set(index["slice_labels"]) - {""})}
    rows_of = {path: table.groupby("series").indices for path, table in tables.items()}
    for row in index.sort_values("series").to_dict("records"):
        files, slice_labels = (), {}
        if row["slice_labels"]:
            if row["series"] not in rows_of[row["slice_labels"]]:
                raise InputError(
                    f"has no row of series {one_line(row['series'])}",
                    where=row["slice_labels"],
                    mend="add its slices, or empty the field slice_labels of that series",
                )
            own = tables[row["slice_labels"]].iloc[rows_of[row["slice_labels"]][row["series"]]]
            labels = map(tuple, own[list(LABELS)].to_numpy(np.float64).tolist())
            slice_labels = dict(sorted(zip(own["slice"], labels, strict=True)))
            files = tuple(sorted(name for name in own["file"] if name))
        scan_labels = tuple(float(row[name]) for name in LABELS)
        # Only what goes into the record is part of its name, so that a store does not depend on where its sources lie.
        versions, labels_said = (RECORD_VERSION, RECIPE_VERSION), (repr(scan_labels), repr(slice_labels))
        said = [*versions, asdict(config), window_hu, row["series"], bool(row["mask"]), *labels_said]
        yield _Task(
            series=row["series"],
            path=row["path"],
            files=files,
            mask=row["mask"],
            scan_labels=scan_labels,
            slice_labels=slice_labels,
            config=config,
            window_hu=window_hu,
            out=out,
            shard=hashlib.sha256(json.dumps(said).encode()).hexdigest()[:32] + ".array_record",
        )


_ONE_AT_A_TIME = threading.Lock()
"""pydicom's settings and Python's filters of warnings belong to the process, not to a thread."""


def _prepare_one(task: _Task) -> tuple[dict[str, Any], ScanFacts] | str:
    """What index and card say of the task's shard, made unless it is there; or why the series is left out."""
    with _ONE_AT_A_TIME:
        return _shard_or_reason(task)


def _shard_or_reason(task: _Task) -> tuple[dict[str, Any], ScanFacts] | str:
    path = shard_path(task.out, task.shard)
    if path.is_file():
        with contextlib.suppress(InputError):  # damaged: it is made anew
            record = read_shard(path)
            return _facts_of(path, record, decode_record(record, where=path))
    try:
        scan = _read_scan(task)
        record = encode_record(scan)
    except InputError as error:
        return str(error)
    except Exception as error:  # one series must not stop a night's work, whatever a library makes of it
        return one_line(f"{type(error).__name__}: {error}", max_chars=1000)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")  # machines may share process ids
    try:
        writer = ArrayRecordWriter(
            os.fsencode(temporary), "group_size:1,uncompressed"
        )  # the frames are compressed already
        writer.write(record)
        writer.close()
        os.replace(temporary, path)
    except (OSError, RuntimeError) as error:
        raise InputError(f"cannot be written ({error})", where=path, mend="free some space and run again") from None
    finally:
        temporary.unlink(missing_ok=True)
    return _facts_of(path, record, scan)


def _read_scan(task: _Task) -> PreparedScan:
    place = Place(series=task.series, path=task.path, files=task.files)
    volume = read_place(place, missing=task.config.missing, window_hu=task.window_hu)
    mask = read_mask(task.mask, volume) if task.mask else None
    unknown = (np.nan,) * len(LABELS)
    slice_labels = np.array([task.slice_labels.get(name, unknown) for name in volume.source], np.float32)
    if task.slice_labels and not set(volume.source) & task.slice_labels.keys():
        raise InputError(
            f"none of its slices has one of the {len(task.slice_labels)} slice labels", where=task.path, mend=_NAMES
        )
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


def _open_folder(out: Path, config: PrepareConfig) -> dict[str, dict[str, Any]]:
    """Entries of an earlier preparation by shard; makes the folder where there was none."""
    try:
        (out / SHARD_FOLDER).mkdir(parents=True, exist_ok=True)
        if not (out / INDEX_NAME).exists():
            _write_index(out, config, None)
    except OSError as error:
        raise InputError(f"cannot be written ({error.strerror})", where=out, mend="name a folder of your own") from None
    made_with, entries = read_store_index(out / INDEX_NAME)
    if made_with != asdict(config):
        raise InputError(
            f"the store was made with {made_with}, not {asdict(config)}",
            where=out,
            mend="name another folder, or delete this one",
        )
    return {entry["shard"]: entry for entry in entries or ()}


def _has_size(task: _Task, n_bytes: int) -> bool:
    path = shard_path(task.out, task.shard)
    return path.is_file() and path.stat().st_size == n_bytes


def _write_index(out: Path, config: PrepareConfig, entries: list[dict[str, Any]] | None) -> None:
    values = {"schema": STORE_VERSION, "config": asdict(config), "series": entries}
    out.mkdir(parents=True, exist_ok=True)
    write_text(json.dumps(values, indent=1, allow_nan=False) + "\n", out / INDEX_NAME)


def _write_rejects(index: pd.DataFrame, reasons: dict[str, str], out: Path) -> None:
    """Paths below what all series have in common, so that the table says nothing about the machine."""
    root = os.path.commonpath([os.path.dirname(path) for path in index["path"]])
    left_out = index[index["series"].isin(reasons)].sort_values("series")
    table = pd.DataFrame(
        {
            "series": left_out["series"],
            "path": [os.path.relpath(path, root) for path in left_out["path"]],
            "reason": [reasons[series].replace(root + os.sep, "") for series in left_out["series"]],
        }
    )
    write_table(table, out / REJECTS_NAME)


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and np.isnan(value) else value
