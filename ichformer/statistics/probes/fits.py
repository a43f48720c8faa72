"""A probe of features, fitted on all training patients and on draws of few of them, and scored on other rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float64, Int64

from ichformer.statistics.metrics import auroc
from ichformer.statistics.probes.attentive import ScanSlices, attentive_probe
from ichformer.statistics.probes.draws import draw_patients, why_not_drawn
from ichformer.statistics.probes.neighbours import knn_probe
from ichformer.statistics.probes.ridge import ridge_probe

ProbeMethod = Literal["ridge", "knn", "attentive"]

OF_SCANS: tuple[ProbeMethod, ...] = ("ridge", "knn")
"""Methods that read one vector of each scan and not its slices."""

FRACTIONS = (0.01, 0.05, 0.1, 1.0)
"""Shares of the labelled training patients on which a probe is fitted."""

DRAWS = 5
"""Draws of patients for each share below 1."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Rows:
    """Features and one label of some scans.

    Attributes:
      features: of each scan.
      labels: 1, 0, or NaN where unknown, which is for rows to score alone.
      patients: the number of each scan's patient, from 0 and without a gap.
      slices: features of the slices of each scan, which an attentive probe reads.
    """

    features: Float64[np.ndarray, "n d"]
    labels: Float64[np.ndarray, " n"]
    patients: Int64[np.ndarray, " n"]
    slices: ScanSlices | None = None

    @property
    def positive(self) -> Bool[np.ndarray, " patients"]:
        """Whether each patient has a positive row."""
        return np.bincount(self.patients, self.labels == 1) > 0


@dataclass(frozen=True, kw_only=True)
class Draw:
    """A probe that was fitted on some of the training patients.

    Attributes:
      fraction: share of the labelled training patients.
      number: of the draw of this share, from 1.
      patients: how many it took; 0 where none could be drawn.
      positive_patients: of them, those with a positive scan.
      scans: of these patients, with a known label.
      auroc: of the test scans; None where ``not_scored`` says why.
      penalty: of the squared weights; None for votes of neighbours.
      not_scored: why there is no AUROC, "" where there is one.
    """

    fraction: float
    number: int
    patients: int
    positive_patients: int
    scans: int
    auroc: float | None
    penalty: float | None
    not_scored: str


@dataclass(frozen=True, kw_only=True)
class ShareOfPatients:
    """All draws of one share of the training patients.

    Attributes:
      fraction: the share.
      patients: in each draw.
      draws: how many there are.
      scored: how many of them have an AUROC.
      mean_auroc: mean over the scored ones; None where there is none.
      spread: standard deviation over the scored ones; None of fewer than two.
      not_scored: why the others have none, each reason once.
    """

    fraction: float
    patients: int
    draws: int
    scored: int
    mean_auroc: float | None
    spread: float | None
    not_scored: tuple[str, ...]


def fit_draws(
    train: Rows,
    test: Rows,
    *,
    method: ProbeMethod,
    fractions: Sequence[float] = FRACTIONS,
    draws: int = DRAWS,
    seed: int = 0,
) -> list[tuple[Draw, Float64[np.ndarray, " test"]]]:
    """Fit a probe on every draw of training patients.

    Args:
      train: rows with known labels, of patients who have none in ``test``.
      test: the rows to score.
      method: "ridge" (``ridge.ridge_probe``), "knn" (``neighbours.knn_probe``) or "attentive"
        (``attentive.attentive_probe``), which needs the slices of both.
      fractions: shares of the training patients, above 0 and up to 1.
      draws: of patients, for each share below 1.
      seed: of the draws.

    Returns:
      Each draw, in the order of ``fractions``, with the scores that its probe gives to all rows of ``test``: NaN where
      there is no probe.
    """
    numbers = [(share, number) for share in fractions for number in range(1, 1 + (draws if share < 1 else 1))]
    return [_fit(train, test, method, share, seed=seed, number=number) for share, number in numbers]


def by_share(draws: Sequence[Draw]) -> tuple[ShareOfPatients, ...]:
    """The draws by share of the training patients."""
    fractions = dict.fromkeys(draw.fraction for draw in draws)
    return tuple(_share([draw for draw in draws if draw.fraction == fraction]) for fraction in fractions)


def _share(draws: Sequence[Draw]) -> ShareOfPatients:
    scored = [draw.auroc for draw in draws if draw.auroc is not None]
    return ShareOfPatients(
        fraction=draws[0].fraction,
        patients=draws[0].patients,
        draws=len(draws),
        scored=len(scored),
        mean_auroc=float(np.mean(scored)) if scored else None,
        spread=float(np.std(scored, ddof=1)) if len(scored) > 1 else None,
        not_scored=tuple(dict.fromkeys(draw.not_scored for draw in draws if draw.not_scored)),
    )


def _fit(
    train: Rows, test: Rows, method: ProbeMethod, fraction: float, *, seed: int, number: int
) -> tuple[Draw, Float64[np.ndarray, " test"]]:
    reason = why_not_drawn(train.positive, fraction) or _why_not_evaluated(test)
    nobody, nothing = np.zeros(train.positive.size, bool), np.full(len(test.labels), np.nan)
    chosen = nobody if reason else draw_patients(train.positive, fraction, seed=seed, number=number)
    rows = chosen[train.patients]
    scores, penalty = (nothing, None) if reason else _scores(train, rows, test, method)
    draw = Draw(
        fraction=fraction,
        number=number,
        patients=int(chosen.sum()),
        positive_patients=int((chosen & train.positive).sum()),
        scans=int(rows.sum()),
        auroc=None if reason else auroc(test.labels, scores),
        penalty=penalty,
        not_scored=reason,
    )
    return draw, scores


def _scores(
    train: Rows, rows: Bool[np.ndarray, " train"], test: Rows, method: ProbeMethod
) -> tuple[Float64[np.ndarray, " test"], float | None]:
    """The scores of a probe that was fitted on some rows of ``train``, and its penalty where it has one."""
    if method == "knn":
        return knn_probe(train.features[rows], train.labels[rows], test.features), None
    if method == "attentive":
        if train.slices is None or test.slices is None:
            raise ValueError("an attentive probe reads slices")
        fitted = train.slices.take(np.flatnonzero(rows))
        found = attentive_probe(fitted, train.labels[rows], test.slices, patients=train.patients[rows])
        return found.scores, found.penalty
    probe = ridge_probe(train.features[rows], train.labels[rows], test.features, patients=train.patients[rows])
    return probe.scores, probe.penalty


def _why_not_evaluated(test: Rows) -> str:
    classes = [int((test.labels == value).sum()) for value in (1, 0)]
    return "" if min(classes) else f"Of the labelled test scans {classes[0]} are positive and {classes[1]} negative."
