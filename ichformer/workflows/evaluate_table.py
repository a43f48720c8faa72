"""From a table of predictions to everything that is written about it."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import pandas as pd

from ichformer import LABELS
from ichformer.errors import InputError
from ichformer.evaluation.summary import Summary, summarise
from ichformer.evaluation.tables.files import predictions_csv, read_predictions
from ichformer.evaluation.tables.table import choose_split, levels
from ichformer.evaluation.thresholds import (
    THRESHOLDS_NAME,
    Thresholds,
    fix_thresholds,
    json_bytes,
    read_thresholds,
    thresholds_json,
)
from ichformer.files.sets import write_set
from ichformer.reporting.evaluation.cards import Facts, claim, model_card
from ichformer.reporting.evaluation.page import render_page

FILES = ("predictions.csv", "metrics.json", "evaluation.html", "model_card.md", "claim.md")
"""What ``judge`` writes."""


def judge(
    table: pd.DataFrame,
    out: Path | str | None,
    *,
    thresholds: Thresholds | None = None,
    validation: pd.DataFrame | None = None,
    fixed_on: Collection[str] | None = None,
    prevalence: float | None = None,
    facts: Facts | None = None,
    replicates: int = 2000,
    seed: int = 0,
    labels: tuple[str, ...] = LABELS,
    remarks: Sequence[str] = (),
    beside: Mapping[str, bytes] = MappingProxyType({}),
) -> Summary:
    """Summarise predictions and write ``FILES`` into ``out``, all of them or none (``file_sets.write_set``).

    Of the files only ``predictions.csv`` names patients.

    Args:
      table: predictions of one split.
      out: the folder; made where it is not there. Nothing is written where None.
      thresholds, validation, fixed_on, prevalence, replicates, seed, labels, remarks: see ``summarise``.
      facts: what is known about the model.
      beside: further files that belong to these, by name.

    Raises:
      InputError: ``summarise`` objects, ``out`` cannot be written, or another evaluation writes there.
    """
    summary = summarise(
        table,
        thresholds=thresholds,
        validation=validation,
        fixed_on=fixed_on,
        prevalence=prevalence,
        replicates=replicates,
        seed=seed,
        labels=labels,
        remarks=remarks,
    )
    if out is None:
        return summary
    facts = facts or Facts()
    title = f"Evaluation of {facts.name}" if facts.name else "Evaluation"
    pages = {
        "evaluation.html": render_page(summary, levels(table, labels=labels), title=title, facts=facts.named()),
        "model_card.md": model_card(facts, summary),
        "claim.md": claim(facts, summary),
    }
    files = {
        "predictions.csv": predictions_csv(table, labels=labels),
        **{name: page.encode(errors="backslashreplace") for name, page in pages.items()},
        **beside,
        "metrics.json": json_bytes(summary.to_json()),
    }
    write_set(files, Path(out), what="evaluation")
    return summary


def judge_file(
    predictions: Path | str,
    out: Path | str,
    *,
    split: str | None = None,
    thresholds: Path | str | None = None,
    calibrate_on: Path | str | None = None,
    prevalence: float | None = None,
    replicates: int = 2000,
    seed: int = 0,
    labels: tuple[str, ...] = LABELS,
) -> Summary:
    """Judge a file of predictions, of any model, as ``judge`` does.

    Args:
      predictions: CSV or Parquet.
      out: the folder for what is written.
      split: of the rows that are judged; all, which have to be of one split, where None.
      thresholds: a file of frozen thresholds.
      calibrate_on: predictions for other patients. Calibration is mended on them, and where there are no thresholds
        they are fixed on them and written into ``out``.
      prevalence, replicates, seed, labels: see ``summarise``.

    Raises:
      InputError: a file is faulty, ``summarise`` objects, or a file that is read would be replaced.
    """
    predictions, out = Path(predictions), Path(out)
    written = {(out / name).resolve() for name in (*FILES, *[THRESHOLDS_NAME] * (thresholds is None))}
    for file in (predictions, calibrate_on, thresholds):
        if file is not None and Path(file).resolve() in written:
            raise InputError("would be replaced by what is written", where=file, mend="name another folder by --out")
    table = choose_split(read_predictions(predictions, labels=labels), split, where=predictions)
    validation = None if calibrate_on is None else read_predictions(calibrate_on, labels=labels)
    frozen = None if thresholds is None else read_thresholds(thresholds, labels=labels)
    fixed = fix_thresholds(validation, labels=labels) if frozen is None and validation is not None else None
    return judge(
        table,
        out,
        thresholds=frozen or fixed,
        validation=validation,
        fixed_on=None if fixed is None or validation is None else set(validation["patient"]),
        prevalence=prevalence,
        facts=Facts(name=predictions.stem),
        replicates=replicates,
        seed=seed,
        labels=labels,
        beside={} if fixed is None else {THRESHOLDS_NAME: thresholds_json(fixed)},
    )
