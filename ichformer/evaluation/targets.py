"""The figures of regression targets: how far predicted quantities are from the true ones, each with its interval."""

from collections.abc import Iterator, Sequence
from operator import itemgetter

import numpy as np
import pandas as pd

from ichformer.errors import one_line
from ichformer.evaluation.results import TargetSummary
from ichformer.evaluation.tables.table import WEIGHT, CheckedTable, LevelName, predicted_column, scaled_weights
from ichformer.statistics.bootstrap import bootstrap
from ichformer.statistics.estimates import estimate_of
from ichformer.statistics.intervals import Estimate
from ichformer.statistics.regression import AGREEMENT, agreement_statistic


def summarise_targets(table: CheckedTable, *, replicates: int, seed: int) -> tuple[TargetSummary, ...]:
    """The figures of every target of a table, at each level where true and predicted values are known.

    Intervals are from a BCa bootstrap over patients. Scans are evaluated by their own rows; nothing is made of slices.

    Args:
      table: predictions of one split; a target ``volume_ml`` is predicted in ``pred_volume_ml``.
      replicates: resamples of patients.
      seed: of the resamples.
    """
    return tuple(_summaries(table.rows, table.targets, replicates, seed))


def _summaries(table: pd.DataFrame, targets: Sequence[str], replicates: int, seed: int) -> Iterator[TargetSummary]:
    levels: dict[LevelName, pd.DataFrame] = {"slice": table[table["slice"] != ""], "scan": table[table["slice"] == ""]}
    for name, rows in levels.items():
        rows = rows[rows[WEIGHT] > 0] if WEIGHT in rows else rows
        for target in targets:
            known = rows[rows[[target, predicted_column(target)]].notna().all(axis=1)]
            if len(known):
                yield _summary(name, target, known, replicates, seed)


def _summary(level: LevelName, target: str, rows: pd.DataFrame, replicates: int, seed: int) -> TargetSummary:
    truth, predicted = (rows[name].to_numpy(np.float64) for name in (target, predicted_column(target)))
    patients = pd.factorize(rows["patient"], sort=True)[0].astype(np.int64)
    n_patients = int(patients.max()) + 1
    weights = scaled_weights(rows[WEIGHT].to_numpy(np.float64)) if WEIGHT in rows else None
    found = bootstrap(
        [agreement_statistic(truth, predicted, patients, weights)],
        n_patients=n_patients,
        replicates=replicates,
        seed=seed,
        jackknife=True,
    )
    return TargetSummary(
        level=level,
        target=target,
        n=len(rows),
        n_patients=n_patients,
        **{name: estimate_of(found, itemgetter((..., i)), n_patients=n_patients) for i, name in enumerate(AGREEMENT)},
    )


HEADER = ("target", "known", "mean error", "median error", "bias", "limits of agreement", "Pearson r", "Lin's CCC")
"""Of the rows of ``target_rows``."""


def target_rows(found: Sequence[TargetSummary]) -> list[list[str]]:
    """The cells of a table of targets: errors are absolute, in the target's unit, with 95 % intervals."""
    return [
        [
            one_line(one.target),
            str(one.n),
            said(one.mean_absolute_error),
            said(one.median_absolute_error),
            said(one.bias),
            _limits(one),
            said(one.pearson),
            said(one.concordance),
        ]
        for one in found
    ]


def format_targets(found: Sequence[TargetSummary]) -> str:
    """A table a level for the terminal; "" where there is no target."""
    blocks = []
    for level in dict.fromkeys(one.level for one in found):
        title = f"{level} level: targets, absolute errors in the unit of each"
        blocks.append(text_table(title, [HEADER, *target_rows([one for one in found if one.level == level])]))
    return "\n\n".join(blocks)


def text_table(title: str, rows: Sequence[Sequence[str]]) -> str:
    """A table for the terminal, whose first row is the header."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    ruler = "  ".join("-" * width for width in widths)
    return "\n".join([title, *(f"  {line.rstrip()}" for line in (lines[0], ruler, *lines[1:]))])


def said(estimate: Estimate) -> str:
    """A figure of any size with its interval."""
    if estimate.value is None:
        return "not estimable"
    ends = estimate.interval
    return _number(estimate.value) + ("" if ends is None else f" ({_number(ends.low)} to {_number(ends.high)})")


def _limits(one: TargetSummary) -> str:
    low, high = one.lower_limit.value, one.upper_limit.value
    return "not estimable" if low is None or high is None else f"{_number(low)} to {_number(high)}"


def _number(value: float) -> str:
    """Three digits: units differ, so that no number of decimals suits all targets."""
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
