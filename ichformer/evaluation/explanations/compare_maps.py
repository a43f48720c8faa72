"""Methods of explanation beside controls: the figures of their maps, over scans whose bleed is known."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float64

from ichformer.errors import InputError, one_line
from ichformer.evaluation.explanations.map_figures import GAIN, MAP_FIGURES
from ichformer.statistics.bootstrap import bootstrap
from ichformer.statistics.intervals import MIN_PATIENTS, NOTHING, Estimate, bca

REPLICATES = 2000


@dataclass(frozen=True, kw_only=True)
class MapCell:
    """A figure of a method.

    Attributes:
      estimate: its mean over the scans, with a 95 % interval over them.
      n: scans in which it is known.
      beats_controls: whether it is better than that of every control: the 95 % interval of the mean difference on the
        same scans lies on the better side of 0. Where all differences are equal there is no interval; then it is
        whether each of at least ``MIN_PATIENTS`` is on that side.
    """

    estimate: Estimate
    n: int
    beats_controls: bool


@dataclass(frozen=True, kw_only=True)
class MethodFigures:
    """All figures of a method, by name."""

    method: str
    is_control: bool
    cells: Mapping[str, MapCell]

    @property
    def wins(self) -> tuple[str, ...]:
        """The figures that are better than those of every control."""
        return tuple(name for name, cell in self.cells.items() if cell.beats_controls)


@dataclass(frozen=True, kw_only=True)
class ModelMaps:
    """The maps of one model.

    Attributes:
      model: what it is called.
      scans: how many were tried.
      left_out: of these, how many have no figures, by the reason.
      methods: controls first, then in the order of the table.
    """

    model: str
    scans: int
    left_out: Mapping[str, int]
    methods: tuple[MethodFigures, ...]

    @property
    def best_first(self) -> tuple[MethodFigures, ...]:
        """The methods that are no controls: with the most figures better than both, then with the largest gain."""

        def key(found: MethodFigures) -> tuple[int, float]:
            gain = found.cells[GAIN].estimate.value
            return -len(found.wins), -np.inf if gain is None else -gain

        return tuple(sorted((found for found in self.methods if not found.is_control), key=key))


def compare_maps(table: pd.DataFrame, *, controls: Sequence[str]) -> tuple[ModelMaps, ...]:
    """The figures of every method and model, each as a mean over scans with an interval, beside those of controls.

    Intervals are BCa intervals of a bootstrap over scans, each of which is a patient.

    Args:
      table: a row for each model, scan and method, with the columns ``model``, ``phantom``, ``method``, ``why`` (why
        there are no figures; missing where there are), and those of ``MAP_FIGURES``.
      controls: names of the methods that know nothing of the model.

    Raises:
      InputError: a column is missing, a row is there twice, or a model has figures without those of a control.
    """
    wanted = ["model", "phantom", "method", "why", *(figure.name for figure in MAP_FIGURES)]
    missing = [name for name in wanted if name not in table.columns]
    if missing:
        raise InputError(
            f"the table of maps has no column {missing[0]!r}", where="table", fix="make it anew, in another file"
        )
    twice = table.duplicated(["model", "phantom", "method"])
    if twice.any():
        row = table[twice].iloc[0]
        said = f"{one_line(str(row['method']))} of {one_line(str(row['model']))} on scan {row['phantom']}"
        raise InputError(f"the table of maps has {said} twice", where="table", fix="remove one of the rows")
    return tuple(_of_model(str(model), rows, tuple(controls)) for model, rows in table.groupby("model", sort=False))


def _of_model(model: str, rows: pd.DataFrame, controls: tuple[str, ...]) -> ModelMaps:
    known = rows[rows["why"].isna()]
    reasons = rows[rows["why"].notna()].groupby("phantom")["why"].first()
    left_out = {one_line(str(why)): int(count) for why, count in reasons.value_counts(sort=False).items()}
    names = [*controls, *(name for name in known["method"].unique() if name not in controls)]
    if len(known) and not {*controls} <= {*known["method"]}:
        raise InputError(
            f"the table of maps has no rows of every control ({', '.join(controls)})",
            where=one_line(model),
            fix="add them: a method is read beside them",
        )
    scans = known["phantom"].unique()
    values = {name: known[known["method"] == name].set_index("phantom").reindex(scans) for name in names}
    asked: dict[tuple[str, ...], Float64[np.ndarray, " scans"]] = {}
    for figure in MAP_FIGURES:
        for name in names:
            asked[figure.name, name] = values[name][figure.name].to_numpy(np.float64)
        for name, control in itertools.product(names, controls):
            sign = -1.0 if figure.better == "low" else 1.0
            asked[figure.name, name, control] = sign * (asked[figure.name, name] - asked[figure.name, control])
    means = _means(asked)
    methods = [
        MethodFigures(
            method=name,
            is_control=name in controls,
            cells={
                figure.name: MapCell(
                    estimate=means[figure.name, name],
                    n=int((~np.isnan(asked[figure.name, name])).sum()),
                    beats_controls=figure.better is not None
                    and all(
                        _is_above_0(means[figure.name, name, control], asked[figure.name, name, control])
                        for control in controls
                    ),
                )
                for figure in MAP_FIGURES
            },
        )
        for name in names
    ]
    return ModelMaps(
        model=model,
        scans=rows["phantom"].nunique(),
        left_out=left_out,
        methods=tuple(methods if len(known) else ()),
    )


def _is_above_0(difference: Estimate, differences: Float64[np.ndarray, " scans"]) -> bool:
    if difference.interval is not None:
        return difference.interval.low > 0
    known = differences[~np.isnan(differences)]
    return known.size >= MIN_PATIENTS and bool((known > 0).all())


def _means(asked: Mapping[tuple[str, ...], Float64[np.ndarray, " scans"]]) -> dict[tuple[str, ...], Estimate]:
    """The mean of each over the scans where it is known, with its interval; all from the same resamples."""
    values = np.column_stack([*asked.values()])
    known = (~np.isnan(values)).astype(np.float64)
    filled = np.where(np.isnan(values), 0.0, values)
    if not len(values):
        return dict.fromkeys(asked, NOTHING)

    def means(counts: Float64[np.ndarray, "replicates scans"]) -> Float64[np.ndarray, "replicates statistics"]:
        rows = counts @ known
        return np.divide(counts @ filled, rows, out=np.full(rows.shape, np.nan), where=rows > 0)

    drawn = bootstrap([means], n_patients=len(values), replicates=REPLICATES, seed=0, jackknife=True)
    found = {}
    for i, key in enumerate(asked):
        value = float(drawn.values[i])
        interval = bca(value, drawn.replicates[:, i], drawn.jackknife[:, i], n_patients=int(known[:, i].sum()))
        found[key] = NOTHING if np.isnan(value) else Estimate(value=value, interval=interval)
    return found
