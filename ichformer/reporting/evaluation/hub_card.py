"""The card of a run that is passed on: a README with the header that the Hugging Face Hub reads, filled with facts.

The header is YAML, of which JSON is a part, so no library for YAML is needed. Its fields are those of the hub's
documentation, "Model Cards". Figures are only those that were measured with these parameters.
"""

import json
from dataclasses import asdict
from typing import Any, NamedTuple

import jax
import numpy as np
import pandas as pd

from ichformer import __version__
from ichformer.evaluation.tables.table import CheckedTable, score_column
from ichformer.reporting.evaluation.cards import TO_FILL, cell
from ichformer.statistics.delong import auroc_interval
from ichformer.statistics.intervals import Interval
from ichformer.statistics.metrics import auroc
from ichformer.training.runs.contract import AXES, VALUES, stages_of
from ichformer.training.runs.pretrained_run import PretrainedRun
from ichformer.training.runs.run import Run


class _Figure(NamedTuple):
    """The AUROC of a label over the scans of the validation split."""

    label: str
    scans: int
    positive: int
    value: float
    interval: Interval | None

    def __str__(self) -> str:
        ends = "" if self.interval is None else f" ({self.interval.low:.3f}-{self.interval.high:.3f})"
        return f"{self.value:.3f}{ends}"


def hub_card(run: Run | PretrainedRun, validation: CheckedTable | None) -> str:
    """The text of the README.

    Args:
      run: the exported run, opened.
      validation: its predictions on the validation split, made with its own parameters; None where there are none.
    """
    terms = _terms(run)
    figures = [] if validation is None else _figures(validation)
    header = "\n".join(f"{name}: {json.dumps(value)}" for name, value in _header(run, terms, figures).items())
    facts = {
        "model": f"{run.name}, {sum(leaf.size for leaf in jax.tree.leaves(run.params)):,} parameters, {run.step} steps",
        "trained for": run.config.objective.name,
        "prepared with": ", ".join(f"{name} {value}" for name, value in asdict(run.prepare).items()),
        "axes": AXES,
        "values": VALUES,
        "code": f"commit {run.facts['commit']}" if run.facts.get("commit") else "",
    }
    lines = [
        f"---\n{header}\n---",
        f"# {cell(run.name)}",
        "",
        "**Research use only. Not for diagnosis.** `ich.open_run(FOLDER)` and `ichformer predict SCAN --run FOLDER`",
        "take this folder, and so does its address on the hub in the place of FOLDER.",
        "",
        *_table(("what", "of this model"), [(name, text) for name, text in facts.items() if text]),
        "",
        "## Terms of the scans that it was trained on",
        "",
        *_table(("cohort", "terms"), sorted(terms.items())),
        "",
        f"Licence of the parameters, intended use, contact: {TO_FILL}.",
        "",
    ]
    if figures:
        lines += [
            '## Scans of the split "val"',
            "",
            *_table(
                ("label", "scans", "positive", "AUROC (95 % interval)"),
                [(one.label, str(one.scans), str(one.positive), str(one)) for one in figures],
            ),
            "",
            "Thresholds were chosen on these scans. Expect less on scans of another hospital.",
            "",
        ]
    return "\n".join([*lines, f"Written by ichformer {__version__}."]) + "\n"


def _header(run: Run | PretrainedRun, terms: dict[str, str], figures: list[_Figure]) -> dict[str, Any]:
    is_free = bool(terms) and all(text.startswith("Apache-2.0") for text in terms.values())
    licence = {"license": "apache-2.0"} if is_free else {"license": "other", "license_name": "terms-of-the-scans"}
    header: dict[str, Any] = {
        **licence,
        "library_name": "ichformer",
        "tags": ["ichformer", "jax", "flax", "medical", "head-ct", "intracranial-hemorrhage"],
    }
    if figures:
        results = [
            {"type": "roc_auc", "name": f"AUROC by scan, {one.label}", "value": round(one.value, 4)} for one in figures
        ]
        task = {"type": "image-classification", "name": "Findings on head CT"}
        dataset = {"type": "validation", "name": 'the split "val" of its own store', "split": "val"}
        header["metrics"] = ["roc_auc"]
        header["model-index"] = [
            {"name": run.name, "results": [{"task": task, "dataset": dataset, "metrics": results}]},
        ]
    return header


def _terms(run: Run | PretrainedRun) -> dict[str, str]:
    """By cohort, of all trainings that the parameters went through."""
    stages = stages_of(run.facts, run.config.objective.name, where=run.path)
    return {cohort: text for stage in stages for cohort, text in stage.licences.items()}


def _figures(validation: CheckedTable) -> list[_Figure]:
    scans = validation.rows[validation.rows["slice"] == ""]
    found = []
    for label in validation.labels:
        truth, scores = (scans[name].to_numpy(np.float64) for name in (label, score_column(label)))
        known = np.isfinite(truth) & np.isfinite(scores)
        truth, scores = truth[known], scores[known]
        if (value := auroc(truth, scores)) is not None:
            patients = pd.factorize(scans["patient"][known])[0]
            interval = auroc_interval(truth, scores, patients)
            found.append(_Figure(label, len(truth), int(truth.sum()), value, interval))
    return found


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    return [f"| {' | '.join(map(cell, row))} |" for row in (head, ("---",) * len(head), *rows)]
