"""Calibration of every label on test, as it is and after recalibration that is fitted on validation."""

from dataclasses import dataclass

import pandas as pd

from ichformer import LABELS
from ichformer.errors import InputError
from ichformer.evaluation.tables.checks import check_predictions
from ichformer.evaluation.tables.table import Level, LevelName, levels
from ichformer.statistics.calibration import Calibration, measure_calibration
from ichformer.statistics.recalibration import WAYS


@dataclass(frozen=True, kw_only=True)
class LabelCalibration:
    """Calibration of one label on test, as it is and after each way that was fitted on validation.

    Attributes:
      level: "slice" or "scan".
      label: which label.
      before: with the scores as they are.
      after: by the name of the way; None where it could not be fitted, empty without validation.
    """

    level: LevelName
    label: str
    before: Calibration
    after: dict[str, Calibration | None]


def recalibrate(
    validation: pd.DataFrame | None, test: pd.DataFrame, *, labels: tuple[str, ...] = LABELS
) -> tuple[LabelCalibration, ...]:
    """Measure calibration on ``test``, as it is and after each way that is fitted on ``validation``.

    Args:
      validation: predictions for other patients; None for calibration as it is. A level that it lacks is not mended.
      test: what is judged.
      labels: the labels to judge.

    Raises:
      InputError: a table is faulty, or a patient is in both.
    """
    check_predictions(test, labels=labels, where="test")
    fitted_on: dict[LevelName, Level] = {}
    if validation is not None:
        check_predictions(validation, labels=labels, where="validation")
        shared = set(validation["patient"]) & set(test["patient"])
        if shared:
            raise InputError(
                f"{len(shared)} patients are in both tables", where="validation and test", mend="split by patient"
            )
        fitted_on = {level.name: level for level in levels(validation, labels=labels)}
    found = []
    for level in levels(test, labels=labels):
        source = fitted_on.get(level.name)
        for i, label in enumerate(labels):
            truth, scores, of_rows = level.labels[:, i], level.scores[:, i], (level.patients, level.weights)
            after: dict[str, Calibration | None] = {}
            if source is not None:
                for name, fit in WAYS.items():
                    mended = fit(source.labels[:, i], source.scores[:, i], source.weights)
                    after[name] = None if mended is None else measure_calibration(truth, mended.apply(scores), *of_rows)
            before = measure_calibration(truth, scores, *of_rows)
            found.append(LabelCalibration(level=level.name, label=label, before=before, after=after))
    return tuple(found)
