"""``ichformer.prepare``: from the files of a cohort to an opened store."""

import inspect
import os
import sys
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ichformer.errors import InputError, named_as_arguments, one_line
from ichformer.pipeline.preparation.config import PrepareConfig
from ichformer.pipeline.store.records import Store
from ichformer.settings import as_names, as_path, fit, make_settings, perhaps
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

    Returns:
      The store, opened.

    Raises:
      InputError: see ``workflows.prepare_cohort.prepare``.
    """
    dataset = fit(str, dataset, where="dataset", fix="give the name of a cohort, such as 'folder'")
    table = None if labels is None else as_path(labels, where="labels", fix="save the table as CSV and name the file")
    with named_as_arguments():
        found = prepare_cohort(
            dataset,
            source=as_path(source, where="source", fix="name a folder"),
            out=as_path(out, where="out", fix="name a folder"),
            labels=table,
            progress=progress,
            **_fitted(settings),
        )
    if progress:
        print(format_prepared(found), file=sys.stderr)  # noqa: T201
    return found.store


def _fitted(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings as ``prepare_cohort`` declares them; InputError for one that it has not, or of another type."""
    kinds = typing.get_type_hints(prepare_cohort)
    known = inspect.signature(prepare_cohort).parameters
    fitted: dict[str, Any] = {}
    for name, value in settings.items():
        if name not in known:
            fix = f"{perhaps(name, known)}choose of {', '.join(sorted(known))}"
            raise InputError(f"there is no setting {one_line(name)!r}", where="prepare", fix=fix)
        if typing.get_origin(kinds[name]) is Sequence:
            fitted[name] = as_names(value, where=name)
        elif name == "config":
            fitted[name] = make_settings(PrepareConfig, value, where=name)
        elif Path in typing.get_args(kinds[name]) and value is not None:
            fitted[name] = as_path(value, where=name)
        else:
            fitted[name] = fit(kinds[name], value, where=name)
    return fitted
