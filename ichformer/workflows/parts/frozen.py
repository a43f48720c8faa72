"""What is fixed once for a run and kept in its folder: its thresholds, and the predictions that fixed them."""

import contextlib
from dataclasses import dataclass

from ichformer.evaluation.tables.files import predictions_csv, read_predictions
from ichformer.evaluation.tables.table import CheckedTable
from ichformer.evaluation.thresholds import THRESHOLDS_NAME, Thresholds, read_thresholds, thresholds_json
from ichformer.files.lease import Held, is_held
from ichformer.files.sets import write_set
from ichformer.inference.trained import Trained

VALIDATION_NAME = "validation.csv"
"""The file in the folder of a run with the predictions that fixed its thresholds; calibration is fixed on them."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Frozen:
    """The thresholds of a run, and the predictions that fixed them; None where its folder does not hold them."""

    thresholds: Thresholds
    validation: CheckedTable | None


def is_trained_now(run: Trained) -> bool:
    """Whether a training works in the run's folder: its parameters change, and nothing is to be kept for them."""
    return is_held(run.path, what="training")


def read_frozen(run: Trained) -> Frozen | None:
    """What is kept in a run's folder; None where nothing is, or where it is of other parameters by now."""
    file, table = run.path / THRESHOLDS_NAME, run.path / VALIDATION_NAME
    if not file.exists() or is_trained_now(run):
        return None
    labels = run.objective.label_set.names
    validation = read_predictions(table, labels=labels) if table.exists() else None
    return Frozen(thresholds=read_thresholds(file, labels=labels, model=run.fingerprint), validation=validation)


def keep_frozen(frozen: Frozen, run: Trained) -> None:
    """Writes both into a run's folder, unless it is being trained or another process writes there."""
    assert frozen.validation is not None
    files = {
        VALIDATION_NAME: predictions_csv(frozen.validation),
        THRESHOLDS_NAME: thresholds_json(frozen.thresholds),
    }
    if not is_trained_now(run):
        with contextlib.suppress(Held):
            write_set(files, run.path, what="evaluation")
