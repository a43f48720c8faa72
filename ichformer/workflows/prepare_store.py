"""``ichformer.prepare``: from the files of a cohort to an opened store."""

import os
import sys
from pathlib import Path
from typing import Any

from ichformer.pipeline.store.records import Store
from ichformer.workflows.prepare_cohort import format_prepared
from ichformer.workflows.prepare_cohort import prepare as prepare_cohort


def prepare(
    dataset: str,
    *,
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    labels: str | os.PathLike[str] | None = None,
    progress: bool = True,
    **settings: Any,
) -> Store:
    """Prepares the scans of a cohort for training, as ``ichformer prepare`` does: split, leakage check, store, card.

    Called again, it does only what is missing.

    Example:
      >>> import ichformer as ich
      >>> store = ich.prepare("folder", source="scans/", labels="labels.csv", out="store", progress=False)
      >>> len(store.rows("train")) > len(store.rows("test"))
      True

    Args:
      dataset: the cohort: "folder" for scans of your own, or a name such as "cq500" or that of a plugin.
      source: the folder of its files; it is only read.
      out: the folder of the store.
      labels: tables of labels that do not lie with the scans, such as the CSV of a folder.
      progress: show a bar with an ETA on standard error, and there what was left out, notes and warnings.
      settings: further ones of ``workflows.prepare_cohort.prepare``, such as ``hold_out_site="a"`` or ``seed=1``.

    Raises:
      InputError: see ``workflows.prepare_cohort.prepare``.
    """
    found = prepare_cohort(
        dataset,
        source=Path(source),
        out=Path(out),
        labels=None if labels is None else Path(labels),
        progress=progress,
        **settings,
    )
    if progress:
        print(format_prepared(found), file=sys.stderr)  # noqa: T201
    return found.store
