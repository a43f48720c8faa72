"""Prepares a store from a Study index: reads every series, brings it to one size and writes it as a record."""

import json
import os
import sys
from concurrent.futures import Executor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from ichformer.cohorts.index import PATH_COLUMNS, check_index
from ichformer.ct.io.display import WindowHU
from ichformer.errors import InputError
from ichformer.files.lease import Lease, hold
from ichformer.files.writing import write_text
from ichformer.labels import SIX, LabelSet
from ichformer.pipeline.preparation.config import RECIPE_VERSION, PrepareConfig
from ichformer.pipeline.preparation.facts import ScanFacts, complete_facts
from ichformer.pipeline.preparation.rejects import Reject, say_rejects, write_rejects
from ichformer.pipeline.preparation.shards import FACTS, check_outcome, has_size, prepare_one, reject_task
from ichformer.pipeline.preparation.tasks import Opened, list_tasks
from ichformer.pipeline.preparation.workers import run_all
from ichformer.pipeline.store.index_file import INDEX_NAME, SHARD_FOLDER, StoreIndex, index_values, read_store_index
from ichformer.pipeline.store.pseudonyms import Naming, choose_key, is_private, with_pseudonyms
from ichformer.pipeline.store.records import Store


def prepare_index(
    index: pd.DataFrame,
    out: Path | str,
    *,
    label_set: LabelSet = SIX,
    config: PrepareConfig = PrepareConfig(),
    window_hu: WindowHU | None = None,
    executor: Executor | None = None,
    workers: int | None = None,
    patient_key: Path | str | None = None,
    with_uids: bool = False,
    progress: bool = True,
) -> Store:
    """Prepares every series of the index that is not in the store yet.

    A series that cannot be read goes to ``rejects.csv`` with the reason. Interrupted and called again, it goes on where
    it was: a shard is there whole or not at all. The same input and key give the same bytes.

    Scans of cohorts that are not published (``pseudonyms.PUBLISHED``) get pseudonyms for patient, study and series,
    numbers for names of slices, and lose the free text of their headers.

    Args:
      index: Study index.
      out: the store's folder.
      label_set: its labels and targets; has to be the same as before where the store exists.
      config: has to be the same as before where the store exists.
      window_hu: for display pictures, the HU that black and white stand for; estimated for each scan where None.
      executor: where to work, such as that of ``cluster_executor``; a pool of processes by default. A process prepares
        one series at a time, whatever its threads.
      workers: processes of that pool; one per core by default.
      patient_key: a file with the key of the pseudonyms, such as that of another store; a new key by default.
      with_uids: keep the UIDs and file names of scans that are not published; patients get pseudonyms all the same.
      progress: show a bar with an ETA on standard error, and name there what was left out.

    Raises:
      InputError: a bad index, configuration, key or table of slice labels, a store of another configuration, naming
        or label set or one that another preparation is writing (``lease``), nowhere to write, or no series that could
        be read.
    """
    check_index(index, label_set=label_set)
    out = Path(out).absolute()  # a cluster's workers may run in another folder
    with hold(out, what="preparation") as lease:
        key_file = None if patient_key is None else Path(patient_key)
        opened = _open_folder(index, out, config, key_file, label_set, with_uids=with_uids)
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
    """``prepare_index`` in a folder in which nobody else works."""
    out, known, named = opened.out, opened.known, opened.named
    tasks = list(list_tasks(opened, config, window_hu))
    facts: dict[str, dict[str, Any]] = {}
    for task in tasks:
        if task.shard in known and has_size(task, known[task.shard]["bytes"]):
            facts[task.name] = {name: known[task.shard][name] for name in FACTS}
    todo = [task for task in tasks if task.name not in facts]
    described: dict[str, ScanFacts] = {}
    rejects: list[Reject] = []
    outcomes = run_all(prepare_one, todo, executor=executor, workers=workers or os.cpu_count() or 1)
    with tqdm(total=len(todo), desc="prepare", unit="scan", disable=not (progress and todo), file=sys.stderr) as bar:
        for task, outcome in outcomes:
            lease.confirm()
            if outcome is None:
                outcome = reject_task(task, InputError(_KILLED, where=task.path, fix=_LESS))
            if isinstance(outcome, Reject):
                rejects.append(outcome)
                bar.set_postfix(rejected=len(rejects), refresh=False)
            else:
                check_outcome(outcome, task)
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
    entries.sort(key=lambda entry: entry["series"])
    _write_index(
        out,
        StoreIndex(
            config=asdict(config),
            naming=opened.naming,
            entries=entries,
            label_set=opened.label_set,
            recipe=RECIPE_VERSION,
        ),
    )
    for left_by_the_killed in (out / SHARD_FOLDER).glob(".*.tmp"):
        left_by_the_killed.unlink(missing_ok=True)
    if progress:
        say_rejects(rejects)
    store = Store.open(out)
    complete_facts(store, described)
    return store


_KILLED = "its process was killed whenever it was tried; the memory may not suffice for it"
_LESS = "prepare it with fewer --workers, or on a larger machine"


def _open_folder(
    index: pd.DataFrame,
    out: Path,
    config: PrepareConfig,
    key_file: Path | None,
    label_set: LabelSet,
    *,
    with_uids: bool,
) -> Opened:
    """The store's folder, made where there was none, with the key of its pseudonyms."""
    earlier = read_store_index(out / INDEX_NAME) if (out / INDEX_NAME).exists() else None
    if earlier is not None:
        for before, now in ((earlier.config, asdict(config)), (asdict(earlier.label_set), asdict(label_set))):
            if others := [name for name in {**before, **now} if before.get(name) != now.get(name)]:
                what = "; ".join(f"{name} is {before.get(name)!r} there and {now.get(name)!r} here" for name in others)
                fix = "name another folder, or delete this one"
                raise InputError(f"holds a store with other settings: {what}", where=out, fix=fix)
    try:
        (out / SHARD_FOLDER).mkdir(parents=True, exist_ok=True)
        key, naming, named = b"", Naming(), index
        if is_private(index["cohort"]).any():
            recorded = None if earlier is None else earlier.naming
            key, naming = choose_key(out, given=key_file, with_uids=with_uids, recorded=recorded)
            named = with_pseudonyms(index, key, with_uids=with_uids)
        if earlier is None:
            begun = StoreIndex(
                config=asdict(config), naming=naming, entries=None, label_set=label_set, recipe=RECIPE_VERSION
            )
            _write_index(out, begun)
    except OSError as error:
        raise InputError(f"cannot be written ({error.strerror})", where=out, fix="name a folder of your own") from None
    known = {} if earlier is None else {entry["shard"]: entry for entry in earlier.entries or ()}
    return Opened(out=out, index=index, named=named, key=key, naming=naming, known=known, label_set=label_set)


def _write_index(out: Path, index: StoreIndex) -> None:
    out.mkdir(parents=True, exist_ok=True)
    write_text(json.dumps(index_values(index), indent=1, allow_nan=False) + "\n", out / INDEX_NAME)


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and np.isnan(value) else value
