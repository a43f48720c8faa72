"""Evaluate a table of predictions of any model, from a DataFrame or a file to the figures and the page."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from ichformer.errors import InputError
from ichformer.evaluation.summary import Summary, summarise
from ichformer.evaluation.tables.files import Source, open_table
from ichformer.evaluation.tables.table import CheckedTable
from ichformer.evaluation.thresholds import (
    THRESHOLDS_NAME,
    Thresholds,
    as_thresholds,
    fix_thresholds,
    thresholds_json,
)
from ichformer.reporting.evaluation.cards import Facts
from ichformer.reporting.evaluation.folder import FILES, write_evaluation
from ichformer.settings import as_path


def evaluate(
    table: Source,
    *,
    out: str | os.PathLike[str] | None = None,
    split: str | None = None,
    thresholds: Thresholds | str | os.PathLike[str] | None = None,
    calibrate_on: Source | None = None,
    labels: str | Sequence[str] | None = None,
    prevalence: float | None = None,
    facts: Facts | None = None,
    replicates: int = 2000,
    seed: int = 0,
) -> Summary:
    """Compute AUROC and every other figure of a table of predictions, with 95 % intervals over patients.

    The table has one row a scan or slice, with the columns ``patient``, a label (0, 1 or empty) and ``score_`` followed
    by its name (a probability). It may have ``study``, ``series``, ``slice`` (empty in a scan's row), ``site``,
    ``split``, ``weight``, ``not_scored`` and ``group_...``. See ``evaluation.tables.table``.

    Example:
      >>> import pandas as pd
      >>> table = pd.DataFrame(
      ...     {"patient": ["a", "b", "c", "d"], "any": [0, 0, 1, 1], "score_any": [0.1, 0.4, 0.3, 0.9]}
      ... )
      >>> summary = evaluate(table, replicates=10)
      >>> summary.levels[0].labels[0].auroc.value
      0.75

    Args:
      table: the predictions: a DataFrame, or the path of a CSV or Parquet file.
      out: a folder for ``evaluation.html``, ``metrics.json``, ``predictions.csv``, ``model_card.md`` and ``claim.md``.
        Nothing is written where None.
      split: the rows to evaluate by their split; all rows, which must be of one split, where None.
      thresholds: thresholds that were chosen on other patients, or their file. They give sensitivity and specificity.
      calibrate_on: predictions for other patients, such as the validation split. Recalibrations are fitted on them and,
        where no thresholds are given, thresholds are chosen on them and written into ``out``.
      labels: the labels to evaluate; all that have a column of scores where None.
      prevalence: share of positives at which PPV and NPV are stated too.
      facts: what is known about the model, for the page and the cards.
      replicates: resamples of the bootstrap.
      seed: of the resamples.

    Returns:
      Every figure with its interval, by level and label, and warnings.

    Raises:
      InputError: a table or a file is faulty, a patient is in both tables, or a file that is read would be replaced.
    """
    out = None if out is None else as_path(out, where="out", fix="name a folder")
    if out is not None:
        own = THRESHOLDS_NAME if thresholds is None and calibrate_on is not None else None
        _refuse_to_replace((table, thresholds, calibrate_on), out, (*FILES, *filter(None, [own])))
    rows = open_table(table, labels=labels, split=split)
    validation = None if calibrate_on is None else open_table(calibrate_on, labels=rows.labels, where="calibrate_on")
    frozen, chosen = _thresholds(thresholds, rows.labels, validation)
    summary = summarise(
        rows,
        thresholds=frozen,
        validation=validation,
        fixed_on=validation.patients if chosen and validation is not None else None,
        prevalence=prevalence,
        replicates=replicates,
        seed=seed,
    )
    if out is not None:
        beside = {THRESHOLDS_NAME: thresholds_json(frozen)} if chosen and frozen is not None else {}
        name = Path(table).stem if isinstance(table, str | os.PathLike) else ""
        write_evaluation(summary, rows, out, facts=facts or Facts(name=name), beside=beside)
    return summary


def _thresholds(
    given: Thresholds | str | os.PathLike[str] | None, labels: tuple[str, ...], validation: CheckedTable | None
) -> tuple[Thresholds | None, bool]:
    """The thresholds, and whether they were chosen now."""
    if given is None:
        return (None, False) if validation is None else (fix_thresholds(validation), True)
    return as_thresholds(given, labels=labels), False


def _refuse_to_replace(sources: Iterable[object], out: str | os.PathLike[str], names: Iterable[str]) -> None:
    """InputError where a file that is read has the name of one that is written."""
    written = {(Path(out) / name).resolve() for name in names}
    for source in sources:
        if isinstance(source, str | os.PathLike) and Path(source).resolve() in written:
            raise InputError("would be replaced by what is written", where=source, fix="name another folder")
