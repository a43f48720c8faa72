"""The folder of an evaluation: the page, the cards, all figures as JSON and the predictions."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pandas as pd

from ichformer.evaluation.results import Summary
from ichformer.evaluation.tables.files import predictions_csv
from ichformer.evaluation.tables.table import CheckedTable, levels
from ichformer.evaluation.thresholds import json_bytes
from ichformer.files.csv_fields import csv_bytes
from ichformer.files.sets import write_set
from ichformer.reporting.evaluation.cards import Facts, claim, model_card
from ichformer.reporting.evaluation.page import render_page

FILES = ("predictions.csv", "metrics.json", "evaluation.html", "model_card.md", "claim.md")
"""The files of every evaluation. Only ``predictions.csv`` names patients."""

LESIONS_NAME = "lesions.csv"
"""The file with a row for each scan and lesion (``evaluation.lesions.rows``); it names patients too."""


def write_evaluation(
    summary: Summary,
    table: CheckedTable,
    out: Path | str,
    *,
    facts: Facts,
    lesions: pd.DataFrame | None = None,
    beside: Mapping[str, bytes] = MappingProxyType({}),
) -> None:
    """Write ``FILES`` into a folder, all of them or none (``files.sets.write_set``).

    Args:
      summary: every figure.
      table: the predictions behind them.
      out: the folder; made where it is not there.
      facts: what is known about the model and its data.
      lesions: the table of lesions, written as ``LESIONS_NAME``, where the model has a lesion map.
      beside: further files that belong to these, by name.

    Raises:
      InputError: ``out`` cannot be written, or another evaluation writes there.
    """
    title = f"Evaluation of {facts.name}" if facts.name else "Evaluation"
    pages = {
        "evaluation.html": render_page(summary, levels(table), title=title, facts=facts.named(), lesions=lesions),
        "model_card.md": model_card(facts, summary),
        "claim.md": claim(facts, summary),
    }
    files = {
        "predictions.csv": predictions_csv(table),
        **{name: page.encode(errors="backslashreplace") for name, page in pages.items()},
        **({} if lesions is None else {LESIONS_NAME: csv_bytes({str(one): lesions[one].tolist() for one in lesions})}),
        **beside,
        "metrics.json": json_bytes(summary.to_json()),
    }
    write_set(files, Path(out), what="evaluation")
