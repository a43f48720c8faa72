"""Checks that a resumed run gets the scans that it began with."""

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

from ichformer.errors import InputError
from ichformer.pipeline.preparation.config import PrepareConfig
from ichformer.pipeline.store.mixture import rows_by_store
from ichformer.pipeline.store.records import Store
from ichformer.training.runs.contract import SCANS_FACT, check_recipe, recorded_recipe


def hash_scans(store: Store, split: str) -> str:
    """A hash of the scans of a split in their order, by their pictures and labels; the store may be moved or copied.

    Of a mixture it also says which store each scan is in.
    """
    columns = ["pixels", "n_slices", "height", "width", *store.label_set.columns]
    parts = [store.index.iloc[rows][columns].astype(str).to_numpy().tolist() for rows in rows_by_store(store, split)]
    return hashlib.sha256(json.dumps(parts[0] if len(parts) == 1 else parts).encode()).hexdigest()


def check_same_scans(facts: dict[str, Any], prepare: PrepareConfig, store: Store, split: str, *, run: Path) -> None:
    """Refuse to go on with other scans: batch k would not follow from the seed and k, and no one could see it later.

    Args:
      facts: what ``run.json`` says.
      prepare: how the store's scans were prepared.
      store: where the next batches would come from.
      split: its split for training.
      run: the run's folder.

    Raises:
      InputError: the scans were prepared in another way or by another recipe, or they, their labels or their order are
        other ones.
    """
    fix = "give the store that the run was begun with, or begin another run from this one with --init-from"
    there, own = facts["prepare"], dataclasses.asdict(prepare)
    if changed := [name for name, value in own.items() if there.get(name, value) != value]:
        said = ", ".join(f"{name} {there[name]} there and {own[name]} here" for name in changed)
        raise InputError(f"the run was trained on scans that were prepared in another way ({said})", where=run, fix=fix)
    check_recipe(recorded_recipe(facts, where=run), store, run=run)
    if facts.get(SCANS_FACT, (found := hash_scans(store, split))) != found:
        raise InputError(
            f"the split {split!r} of {store.path} holds other scans or labels than the run was begun with",
            where=run,
            fix=fix,
        )
