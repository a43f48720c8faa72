"""Calibration of every label on test, before and after a recalibration that is fitted on validation."""

from dataclasses import dataclass

from ichformer.errors import InputError
from ichformer.evaluation.tables.table import CheckedTable, Level, LevelName, levels
from ichformer.statistics.calibration import Calibration, measure_calibration
from ichformer.statistics.recalibration import RECALIBRATIONS

AS_GIVEN = "as given"
"""What tables and plots call scores without a recalibration."""


@dataclass(frozen=True, kw_only=True)
class LabelCalibration:
    """Calibration of one label on test, before and after each recalibration.

    Attributes:
      level: "slice" or "scan".
      label: which label.
      before: calibration of the scores as they are.
      after: calibration by the name of the recalibration; None where it could not be fitted. Empty without validation.
    """

    level: LevelName
    label: str
    before: Calibration
    after: dict[str, Calibration | None]


def recalibrate(validation: CheckedTable | None, test: CheckedTable) -> tuple[LabelCalibration, ...]:
    """Measure the calibration on ``test``, before and after each recalibration that is fitted on ``validation``.

    Args:
      validation: predictions for other patients with the same labels; None to measure the scores as they are only. A
        level that it lacks is not recalibrated.
      test: the predictions to evaluate.

    Raises:
      InputError: a patient is in both tables, or the tables have other labels.
    """
    fitted_on: dict[LevelName, Level] = {}
    if validation is not None:
        if validation.labels != test.labels:
            raise InputError(
                f"has the labels {', '.join(validation.labels)}, test has {', '.join(test.labels)}",
                where="validation",
                fix="give tables with the same labels",
            )
        if shared := validation.patients & test.patients:
            raise InputError(
                f"{len(shared)} patients are in both tables", where="validation and test", fix="split by patient"
            )
        fitted_on = {level.name: level for level in levels(validation)}
    found = []
    for level in levels(test):
        source = fitted_on.get(level.name)
        for i, label in enumerate(test.labels):
            truth, scores, of_rows = level.labels[:, i], level.scores[:, i], (level.patients, level.weights)
            after: dict[str, Calibration | None] = {}
            if source is not None:
                for name, fit in RECALIBRATIONS.items():
                    fitted = fit(source.labels[:, i], source.scores[:, i], source.weights)
                    after[name] = None if fitted is None else measure_calibration(truth, fitted.apply(scores), *of_rows)
            before = measure_calibration(truth, scores, *of_rows)
            found.append(LabelCalibration(level=level.name, label=label, before=before, after=after))
    return tuple(found)
