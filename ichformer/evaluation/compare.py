"""Two models on the same rows: every difference with its interval and, over the labels, corrected p values.

All differences are candidate minus reference.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ichformer import LABELS
from ichformer.errors import InputError, one_line
from ichformer.evaluation.compare_level import Frozen, LabelComparison, LevelComparison, compare_level
from ichformer.evaluation.results import Estimate
from ichformer.evaluation.summary import FEW, FEW_POSITIVES, NOT_ESTIMABLE, aligned, figure
from ichformer.evaluation.tables.checks import check_predictions
from ichformer.evaluation.tables.files import read_predictions
from ichformer.evaluation.tables.not_scored import NotScored, check_scored, not_scored
from ichformer.evaluation.tables.table import (
    NOT_SCORED,
    WEIGHT,
    LevelName,
    choose_split,
    levels,
    reasons_of,
    score_columns,
)
from ichformer.evaluation.thresholds import Thresholds, only_split, read_thresholds
from ichformer.statistics.bootstrap import check_draws
from ichformer.statistics.paired_tests import holm

_ROW_ID = ["patient", "study", "series", "slice"]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What ``compare`` found.

    Attributes:
      reference: name of the model that the other is compared with.
      candidate: name of the other.
      margin: of non-inferiority, of AUROCs, or None.
      replicates: resamples of patients behind each bootstrap interval.
      seed: of the resamples.
      levels: those for which every model has scores.
      not_scored: rows that one of the models has no score for; they are in no figure of any model.
    """

    reference: str
    candidate: str
    margin: float | None
    replicates: int
    seed: int
    levels: tuple[LevelComparison, ...]
    not_scored: tuple[NotScored, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON; None is "not estimable"."""
        return asdict(self)


def compare(
    tables: Mapping[str, pd.DataFrame],
    *,
    thresholds: Mapping[str, Thresholds] | None = None,
    margin: float | None = None,
    replicates: int = 2000,
    seed: int = 0,
    labels: tuple[str, ...] = LABELS,
) -> tuple[Comparison, ...]:
    """Compare every further model with the first one.

    P values are corrected by Holm within a level over the labels and, where there are several, over the models.

    Differences are paired: a row that one model did not score is left out for all of them, label by label.

    Args:
      tables: predictions by the name of the model, for the same rows with the same labels of one split.
      thresholds: frozen before, by the name of the model; for all models or for none.
      margin: of non-inferiority, in AUROC, above 0.
      replicates: resamples of patients.
      seed: of the resamples.
      labels: the labels to compare.

    Raises:
      InputError: fewer than two tables, a faulty one, other rows or other labels than the first one's, thresholds of
        other models or other rules, or a margin that is none.
    """
    if len(tables) < 2:
        raise InputError("needs two models", where="compare", mend="give the tables of at least two")
    check_draws(replicates=replicates, seed=seed)
    if margin is not None and not 0 < margin < 1:
        raise InputError(f"found {margin}", where="margin", mend="give a difference of AUROCs above 0 and below 1")
    if thresholds and set(thresholds) != set(tables):
        raise InputError("not one for each model", where="thresholds", mend="give them for every model or for none")
    paired = _pair(_align(tables, labels), labels)
    found = {name: levels(table, labels=labels) for name, table in paired.items()}
    reference, *candidates = found
    missing = not_scored(paired[reference], labels=labels)
    return _corrected(
        [
            Comparison(
                reference=reference,
                candidate=candidate,
                margin=margin,
                replicates=replicates,
                seed=seed,
                levels=tuple(
                    compare_level(
                        first,
                        second,
                        labels,
                        (_frozen(thresholds, reference, first.name), _frozen(thresholds, candidate, first.name)),
                        margin=margin,
                        replicates=replicates,
                        seed=seed,
                    )
                    for first, second in zip(found[reference], found[candidate], strict=True)
                ),
                not_scored=missing,
            )
            for candidate in candidates
        ]
    )


def _align(tables: Mapping[str, pd.DataFrame], labels: tuple[str, ...]) -> dict[str, pd.DataFrame]:
    """The tables, checked, with their rows in the same order."""
    found: dict[str, pd.DataFrame] = {}
    first_name, first = "", pd.DataFrame()
    for name, table in tables.items():
        check_predictions(table, labels=labels, where=name)
        only_split(table)
        table = table.sort_values(_ROW_ID, ignore_index=True)
        if not found:
            first_name, first = name, table
        elif len(table) != len(first) or (table[_ROW_ID].to_numpy() != first[_ROW_ID].to_numpy()).any():
            rows = [set(map(tuple, t[_ROW_ID].to_numpy().tolist())) for t in (first, table)]
            raise InputError(
                f"{len(rows[0] - rows[1])} rows are only in {one_line(first_name)}, {len(rows[1] - rows[0])} only here",
                where=name,
                mend="give both models' scores for the same patient, study, series and slice",
            )
        else:
            ours, theirs = (t[list(labels)].to_numpy(np.float64) for t in (first, table))
            differing = ~((ours == theirs) | (np.isnan(ours) & np.isnan(theirs))).all(axis=1)
            weights = [t[WEIGHT].to_numpy(np.float64) if WEIGHT in t else np.ones(len(t)) for t in (first, table)]
            if (weights[0] != weights[1]).any():
                raise InputError(
                    f"weights differ from those in {one_line(first_name)}",
                    where=name,
                    mend="give the rows of both tables the same weights",
                )
            if differing.any():
                raise InputError(
                    f"labels of {differing.sum()} rows differ from those in {one_line(first_name)}",
                    where=name,
                    mend="judge both models by the same truth",
                )
        found[name] = table
    return found


def _pair(tables: Mapping[str, pd.DataFrame], labels: tuple[str, ...]) -> dict[str, pd.DataFrame]:
    """Aligned tables of which each has a score where all have one; the reasons of all that lack one are joined."""
    names = score_columns(labels)
    lacks = np.any([table[names].isna().to_numpy() for table in tables.values()], axis=0)
    of_models = zip(*(reasons_of(table) for table in tables.values()), strict=True)
    reasons = [" / ".join(dict.fromkeys(filter(None, of_row))) for of_row in of_models]
    paired = {
        name: table.assign(**{NOT_SCORED: reasons}, **table[names].mask(lacks).to_dict("series"))
        for name, table in tables.items()
    }
    for name, table in paired.items():
        check_scored(table, labels=labels, where=name)
    return paired


def _frozen(thresholds: Mapping[str, Thresholds] | None, model: str, level: LevelName) -> Frozen:
    if not thresholds:
        return {}
    return {t.label: thresholds[model].of(level, t.label) for t in thresholds[model].thresholds}


def _corrected(found: Sequence[Comparison]) -> tuple[Comparison, ...]:
    by_level = [_corrected_level(of_level) for of_level in zip(*(c.levels for c in found), strict=True)]
    return tuple(replace(c, levels=of_model) for c, of_model in zip(found, zip(*by_level, strict=True), strict=True))


def _corrected_level(of_level: Sequence[LevelComparison]) -> list[LevelComparison]:
    """With Holm's p values over labels and models; for the rates also rule by rule."""
    labels = [label for level in of_level for label in level.labels]
    rates = [rate for label in labels for rate in label.rates]
    p_aurocs = iter(_holm([None if label.auroc is None else label.auroc.p_value for label in labels]))
    p_rates = {
        kind: iter(_holm([None if r.test is None else r.test.p_value for r in rates if (r.rule, r.rate) == kind]))
        for kind in {(rate.rule, rate.rate) for rate in rates}
    }

    def corrected(label: LabelComparison) -> LabelComparison:
        return replace(
            label,
            auroc_p_holm=next(p_aurocs),
            rates=tuple(replace(rate, p_holm=next(p_rates[rate.rule, rate.rate])) for rate in label.rates),
        )

    return [replace(level, labels=tuple([corrected(label) for label in level.labels])) for level in of_level]


def _holm(p_values: Sequence[float | None]) -> list[float | None]:
    known = [i for i, p in enumerate(p_values) if p is not None]
    adjusted = holm(np.array([p_values[i] for i in known], np.float64))
    found: list[float | None] = [None] * len(p_values)
    for i, p in zip(known, adjusted, strict=True):
        found[i] = float(p)
    return found


def compare_files(
    paths: Sequence[Path | str],
    *,
    thresholds: Sequence[Path | str] = (),
    split: str | None = None,
    margin: float | None = None,
    replicates: int = 2000,
    seed: int = 0,
    labels: tuple[str, ...] = LABELS,
) -> tuple[Comparison, ...]:
    """``compare`` for files, whose names without their endings, or whose whole paths, are those of the models."""
    names = [Path(path).stem for path in paths]
    if len(set(names)) < len(names):
        names = [str(path) for path in paths]
    if len(set(names)) < len(names):
        raise InputError("stands there twice", where=max(names, key=names.count), mend="name every table once")
    if thresholds and len(thresholds) != len(paths):
        raise InputError(f"{len(thresholds)} for {len(paths)} tables", where="thresholds", mend="give one for each")
    tables = [choose_split(read_predictions(path, labels=labels), split, where=path) for path in paths]
    frozen = [read_thresholds(path, labels=labels) for path in thresholds]
    return compare(
        dict(zip(names, tables, strict=True)),
        thresholds=dict(zip(names, frozen, strict=True)) if thresholds else None,
        margin=margin,
        replicates=replicates,
        seed=seed,
        labels=labels,
    )


def format_comparison(comparison: Comparison) -> str:
    """An aligned table a level; of several frozen thresholds it shows the first rule's, the JSON has them all."""
    blocks = [f"{one_line(comparison.candidate)} minus {one_line(comparison.reference)} (differences)"]
    for level in comparison.levels:
        header = ["label", "positive", "reference", "candidate", "AUROC difference", "p (Holm)"]
        if comparison.margin is not None:
            header.append(f"within {comparison.margin:g}")
        rules = [rate.rule for label in level.labels for rate in label.rates]
        rates = ["sensitivity", "specificity"] if rules else []
        header += [f"{rate}, p (Holm)" for rate in rates]
        rows = [_cells(label, comparison.margin, rules[:1]) for label in level.labels]
        macro = ["macro mean", "", "", "", figure(level.macro_auroc, signed=True)]
        rows.append(macro + [""] * (len(header) - len(macro)))
        at = f"; rates at {one_line(rules[0])}" if rules else ""
        blocks.append(
            "\n".join(
                [
                    f"{level.level} level: {level.n} {level.level}s of {level.n_patients} patients{at}",
                    *aligned([header, *rows]),
                ]
            )
        )
    notes = [
        "DeLong's paired test, clustered by patient, its interval with Student's quantile;",
        "p values corrected over labels and models (Holm);",
        f"other intervals from a bootstrap of {comparison.replicates} replicates, seed {comparison.seed}",
    ]
    if any(_rests_on_few(label) for level in comparison.levels for label in level.labels):
        notes.append(f"{FEW.strip()} positives in fewer than {FEW_POSITIVES} patients: unreliable")
    notes += [f"! {missing}" for missing in comparison.not_scored]
    return "\n\n".join([*blocks, "\n".join(f"  {note}" for note in notes)])


def _rests_on_few(label: LabelComparison) -> bool:
    return label.auroc is not None and label.n_positive_patients < FEW_POSITIVES


def _cells(label: LabelComparison, margin: float | None, rules: list[str]) -> list[str]:
    cells = [one_line(label.label), f"{label.n_positive}/{label.n}"]
    cells += [NOT_ESTIMABLE if v is None else f"{v:.3f}" for v in (label.reference_auroc, label.candidate_auroc)]
    tested = label.auroc
    if tested is None:
        cells += [NOT_ESTIMABLE, ""]
    else:
        difference = figure(Estimate(value=tested.value, interval=tested.interval), signed=True)
        cells += [difference + FEW * _rests_on_few(label), _p(label.auroc_p_holm)]
    if margin is not None:
        cells.append("" if label.non_inferior is None else "yes" if label.non_inferior else "not shown")
    rates = [rate for rate in label.rates if rate.rule in rules]
    cells += [f"{figure(rate.difference, signed=True)}, {_p(rate.p_holm)}" for rate in rates]
    return cells + [NOT_ESTIMABLE] * (2 * len(rules) - len(rates))


def _p(value: float | None) -> str:
    return "" if value is None else "<0.001" if value < 0.001 else f"{value:.3f}"
