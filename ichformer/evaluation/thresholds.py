"""Thresholds: chosen by a rule on the validation split, written to a file, and applied to other patients."""

import json
import os
import pathlib
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

import msgspec
import numpy as np

from ichformer import LABELS
from ichformer.errors import InputError
from ichformer.evaluation.tables.table import CheckedTable, LevelName, levels, only_split
from ichformer.files.json_files import Count, Line, read_format
from ichformer.files.writing import write_bytes
from ichformer.settings import as_path
from ichformer.statistics.metrics import Vector, confusion, known_rows

RAISED_AT = 0.5
"""A score from here on counts as raised where no threshold was frozen."""

THRESHOLDS_NAME = "thresholds.json"
"""The file in the folder of a run."""

FORMAT = "ichformer thresholds 1"
"""First field of a file of thresholds."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """How a threshold is chosen: it reaches a rate and has the best of the other rate, or the best Youden's index.

    Attributes:
      kind: "sensitivity" or "specificity" must reach ``at_least``; "youden" maximises sensitivity + specificity - 1.
      at_least: the rate to reach; 0 for "youden".
    """

    kind: Literal["sensitivity", "specificity", "youden"]
    at_least: float = 0.0

    def __post_init__(self) -> None:
        """InputError for a rate outside of 0 to 1."""
        if not 0 <= self.at_least <= 1:
            raise InputError(f"found {self.at_least}", where="Rule.at_least", fix="give a rate from 0 to 1")

    @property
    def name(self) -> str:
        """As it is printed and written: ``sensitivity>=0.90``."""
        rate = f"{self.at_least:.2f}"
        return self.kind if self.kind == "youden" else f"{self.kind}>={max(rate, f'{self.at_least:g}', key=len)}"


RULES = (
    Rule(kind="sensitivity", at_least=0.90),
    Rule(kind="sensitivity", at_least=0.95),
    Rule(kind="specificity", at_least=0.90),
    Rule(kind="specificity", at_least=0.95),
    Rule(kind="youden"),
)
"""The rules that are usual in the field. A printed summary shows the first one."""


Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
"""A probability, or a part of a whole."""


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """One frozen threshold; a row is called positive where its score is at least ``value``.

    Attributes:
      level: "slice" or "scan".
      label: which label.
      rule: name of the rule by which it was chosen.
      value: None where no threshold obeys the rule, or one class is missing.
      sensitivity: on the data on which it was chosen; on other patients it will be lower.
      specificity: on the same data.
      n: rows on which it was chosen.
      n_positive: how many of them are positive.
    """

    level: LevelName
    label: Line
    rule: Line
    value: Share | None
    sensitivity: Share | None
    specificity: Share | None
    n: Count
    n_positive: Count


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """Every threshold of a model, and the split on which they were chosen.

    Attributes:
      split: its name.
      n_patients: how many patients it has.
      thresholds: one of each level, label and rule.
      model: fingerprint of the model whose scores were used; "" where that is not known.
    """

    split: Line
    n_patients: Count
    thresholds: tuple[Threshold, ...]
    model: Line = ""

    def of(self, level: LevelName, label: str) -> tuple[Threshold, ...]:
        """The thresholds of one label, in the order of the rules."""
        return tuple(t for t in self.thresholds if (t.level, t.label) == (level, label))


def choose_threshold(labels: Vector, scores: Vector, rule: Rule, weights: Vector | None = None) -> float | None:
    """The threshold among the scores that ``rule`` asks for.

    "sensitivity" takes the highest that still reaches the rate, "specificity" the lowest; "youden" takes, of several
    that are equally good, the lowest, which misses least. Rates are compared as sums of weights, so that 9 of 10 is
    0.90.

    Returns:
      None where one class is missing, or no score reaches the specificity.
    """
    labels, scores, weights = known_rows(labels, scores, weights)
    if not 0 < labels.sum() < labels.size:
        return None
    candidates, at = np.unique(scores, return_inverse=True)
    positives, negatives = (np.bincount(at, weights * (labels == truth)) for truth in (1, 0))
    # What scores at least as much, and what scores less; sums of equal weights are exact.
    hits, rejections = np.cumsum(positives[::-1])[::-1], np.cumsum(negatives) - negatives
    if rule.kind == "sensitivity":
        return float(candidates[hits >= (rule.at_least - _SLACK) * positives.sum()][-1])
    if rule.kind == "specificity":
        obeying = candidates[rejections >= (rule.at_least - _SLACK) * negatives.sum()]
        return float(obeying[0]) if obeying.size else None
    youden = hits * negatives.sum() + rejections * positives.sum()
    return float(candidates[np.argmax(youden >= youden.max() * (1 - _SLACK))])


_SLACK = 1e-9
"""Relative error of a rate that the rounding of sums of weights may leave."""


def check_rules(rules: tuple[Rule, ...]) -> None:
    """InputError where there is no rule, or one stands twice."""
    names = [rule.name for rule in rules]
    if not names or len({*names}) < len(names):
        raise InputError(
            f"found {', '.join(names) or 'none'}", where="rules", fix="give one or more, each of them once"
        )


def fix_thresholds(table: CheckedTable, *, rules: tuple[Rule, ...] = RULES) -> Thresholds:
    """Choose a threshold for each level, label and rule on the rows of one split, which should be validation.

    Raises:
      InputError: the table holds several splits, or see ``check_rules``.
    """
    check_rules(rules)
    split, found = only_split(table), []
    for level in levels(table):
        for i, label in enumerate(table.labels):
            truth, scores, weights = level.labels[:, i], level.scores[:, i], level.weights
            for rule in rules:
                value = choose_threshold(truth, scores, rule, weights)
                seen = None if value is None else confusion(truth, scores, weights, threshold=value)
                found.append(
                    Threshold(
                        level=level.name,
                        label=label,
                        rule=rule.name,
                        value=value,
                        sensitivity=None if seen is None else seen.sensitivity,
                        specificity=None if seen is None else seen.specificity,
                        n=int(np.sum(~np.isnan(truth))),
                        n_positive=int(np.sum(truth == 1)),
                    )
                )
    return Thresholds(split=split, n_patients=len(table.patients), thresholds=tuple(found))


def thresholds_json(thresholds: Thresholds) -> bytes:
    """The thresholds as strict JSON, with a sentence that explains them."""
    how = (
        "Chosen by rule on the split named here and frozen; a row is called positive where its score is at least value."
    )
    return json_bytes({"format": FORMAT, "how": how, **asdict(thresholds)})


def read_thresholds(path: str | os.PathLike[str], *, labels: tuple[str, ...] = LABELS, model: str = "") -> Thresholds:
    """Read a file of thresholds.

    Args:
      path: the file.
      labels: of the scores that they are meant for.
      model: fingerprint of the model that gives these scores; "" where that is not known.

    Raises:
      InputError: the file is something else, holds nothing for any of ``labels``, or is of another model.
    """
    path, fix = pathlib.Path(path), "it holds no thresholds that can be used; choose them on validation again"
    thresholds = read_format(path, Thresholds, format_name=FORMAT, fix=fix)
    if labels and not {one.label for one in thresholds.thresholds} & set(labels):
        raise InputError(f"holds no threshold for any of {', '.join(labels)}", where=path, fix=fix)
    check_model(thresholds.model, model, where=path, fix="delete it; `ichformer evaluate` chooses them again")
    return thresholds


def as_thresholds(given: Any, *, labels: tuple[str, ...]) -> Thresholds:
    """Thresholds that are given as such or as their file (``read_thresholds``); InputError for anything else."""
    if isinstance(given, Thresholds):
        return given
    fix = "give the file thresholds.json that was frozen on other patients"
    return read_thresholds(as_path(given, where="thresholds", fix=fix), labels=labels)


def check_model(named: str, model: str, *, where: object, fix: str) -> None:
    """InputError where a file names the fingerprint of another model. Files of earlier versions name none."""
    if named and model and named != model:
        raise InputError(
            "was made with other weights than this model has, so it says nothing about this model",
            where=where,
            fix=f"put back the file that belongs here, or {fix}",
        )


def write_json(value: dict[str, Any], path: str | os.PathLike[str]) -> pathlib.Path:
    """Write ``json_bytes`` into a file, whole or not at all."""
    path = pathlib.Path(path)
    write_bytes(json_bytes(value), path)
    return path


def json_bytes(value: dict[str, Any]) -> bytes:
    """Strict JSON (no NaN), indented so that people can read it."""
    return (json.dumps(value, indent=1, allow_nan=False) + "\n").encode()
