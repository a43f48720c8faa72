"""From the scores of scans and of the same scans with a part exchanged to how much the scores come from that part."""

from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float64, Int64

from ichformer.statistics.bootstrap import Counts, Statistic, auroc_statistic, bootstrap
from ichformer.statistics.estimates import estimate_of
from ichformer.statistics.intervals import NOTHING, Estimate

ALARM_SHARE = 0.10
"""A model leans on a part where the interval of the part's share of the scores lies above this: our choice, set before
planted shortcuts were measured (``experiments/planted_shortcuts.py``)."""

NAMED_SD = 0.25
"""A part is named as a cause of a scan's score where it moves the score by so many standard deviations of all."""

LEAST_WITH = 5
"""Where fewer scans have something at a place, nobody can tell what the model would make of it."""

Verdict = Literal["leans", "moves scores", "does not lean", "cannot tell", "not audited"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Exchanged:
    """The scores of scans with a part exchanged, several times with parts of other scans.

    Attributes:
      logits: [K,N] of scan n with the part of scan ``donors[k, n]``.
      donors: [K,N]; in each row every scan gives its part once, and none to itself.
    """

    logits: Float64[np.ndarray, "k n"]
    donors: Int64[np.ndarray, "k n"]


@dataclass(frozen=True, kw_only=True)
class CauseFound:
    """What an audit found of one cause.

    Attributes:
      cause: of ``causes.CAUSES``.
      verdict: "leans" where the whole interval of ``share`` lies above ``ALARM_SHARE``, "does not lean" where it lies
        below, "cannot tell" where it holds that value or is not estimable. Skull and scalp are the patient's own, and
        heads of other shapes have other scores: where they do not tell the label, the verdict is "moves scores".
      why: why it was not audited or cannot be told; "" otherwise.
      scans_with: scans that have something there; None of the texture, and where that was not looked at.
      share: of the variance of the scores over scans, what follows from this part of them.
      auroc_lost: AUROC of the scans less that of the scans with the part of a scan that was drawn without regard to
        the label. It is high where the part tells the label in these scans, and the model uses it.
      scans_named: the scans of whose score this part is the cause.
    """

    cause: str
    verdict: Verdict
    why: str = ""
    scans_with: int | None = None
    share: Estimate = NOTHING
    auroc_lost: Estimate = NOTHING
    scans_named: int = 0


def draw_donors(patients: Int64[np.ndarray, " n"], *, times: int, seed: int) -> Int64[np.ndarray, "k n"]:
    """Draws which scan each scan gets its part from.

    The scans are laid in a ring in random order and turned by several steps, so that each gives as often as it gets.
    Scans of one patient lie side by side in the ring, and a turn by more than the largest number of scans of a patient
    never gives a patient its own part.

    Args:
      patients: of each scan.
      times: how often; fewer where the ring is too short for so many turns.
      seed: of the order.
    """
    n, rng = patients.size, np.random.default_rng(seed)
    _, number, counts = np.unique(patients, return_inverse=True, return_counts=True)
    ring = np.argsort(rng.permutation(counts.size)[number], kind="stable")
    least = int(counts.max(initial=1))
    # Turns by less than half of the ring: nobody gets from those that it gives to.
    turns = np.arange(least, (n + 1) // 2)
    turns = np.sort(rng.choice(turns, min(times, turns.size), replace=False))
    donors = np.empty((turns.size, n), np.int64)
    for row, turn in zip(donors, turns, strict=True):
        row[ring] = np.roll(ring, turn)
    return donors


def given_and_taken(
    logits: Float64[np.ndarray, " n"], exchanged: Exchanged
) -> tuple[Float64[np.ndarray, " n"], Float64[np.ndarray, " n"]]:
    """How many logits each scan's part adds, measured twice on different pairs of scans.

    ``given`` is how much the part raises the scores of other scans that get it, ``taken`` how much the scan's own score
    falls when it loses the part; each against the mean over all scans. Of a model that adds up what it finds in each
    part, both are what it finds in this one. What an exchange does as such, such as an edge where two heads do not fit,
    is in neither, or in one of them at random.
    """
    change = exchanged.logits - logits
    given = np.zeros(logits.size)
    for row, donors in zip(change, exchanged.donors, strict=True):
        given[donors] += row / len(change)
    taken = -change.mean(axis=0)
    return given - given.mean(), taken - taken.mean()


def share_statistic(
    given: Float64[np.ndarray, " n"],
    taken: Float64[np.ndarray, " n"],
    logits: Float64[np.ndarray, " n"],
    patients: Int64[np.ndarray, " n"],
) -> Statistic:
    """The share of the variance of the scores that follows from a part of the scans.

    It is the covariance of ``given`` and ``taken`` over the variance of the scores: noise that is in one of them alone
    adds nothing to it, and of a part that does nothing it is 0 on average. This is the first-order index of Sobol'
    (Mathematics and Computers in Simulation 2001;55:271-280), estimated from two independent measurements. It is above
    1 where an exchange changes a part more than the scans themselves differ in it.
    """

    def statistic(counts: Counts) -> Float64[np.ndarray, " replicates"]:
        weights = np.take(counts, patients, axis=1)
        total = weights.sum(1)
        a, b, y = weights @ given / total, weights @ taken / total, weights @ logits / total
        common = weights @ (given * taken) / total - a * b
        spread = weights @ logits**2 / total - y**2
        return np.divide(common, spread, out=np.full_like(common, np.nan), where=spread > 1e-12)

    return statistic


def measure(
    logits: Float64[np.ndarray, " n"],
    labels: Float64[np.ndarray, " n"],
    patients: Int64[np.ndarray, " n"],
    exchanged: Exchanged,
    *,
    replicates: int,
    seed: int,
) -> tuple[Estimate, Estimate]:
    """The share of the scores that follows from a part, and the AUROC that is lost when it is exchanged.

    Intervals are those of a BCa bootstrap over patients, the scans and their exchanges together.

    Args:
      logits: of the scans as they are.
      labels: 0, 1 or NaN where unknown.
      patients: of each scan, counted from 0.
      exchanged: the scores with the part of other scans.
      replicates: resamples.
      seed: of the resamples.
    """
    n_patients = int(patients.max()) + 1
    given, taken = given_and_taken(logits, exchanged)
    found = bootstrap(
        [
            share_statistic(given, taken, logits, patients),
            *(auroc_statistic(labels, scores, patients) for scores in (logits, *exchanged.logits)),
        ],
        n_patients=n_patients,
        replicates=replicates,
        seed=seed,
        jackknife=True,
    )
    share = estimate_of(found, lambda values: values[..., 0], n_patients=n_patients)
    lost = estimate_of(found, lambda values: values[..., 1] - values[..., 2:].mean(-1), n_patients=n_patients)
    return share, lost


def conclude(
    cause: str,
    share: Estimate,
    auroc_lost: Estimate,
    *,
    is_same: bool,
    scores_move: bool,
    holds: Bool[np.ndarray, " n"] | None,
) -> CauseFound:
    """What is said of a cause: never more than the scans can tell.

    Args:
      cause: of ``causes.CAUSES``.
      share: of ``measure``.
      auroc_lost: of ``measure``.
      is_same: whether the exchange changed no voxel of any scan.
      scores_move: whether it changed any score.
      holds: which scans have something at this place; None where the cause is no place outside the head.
    """
    count = None if holds is None else int(np.count_nonzero(holds))
    say = partial(CauseFound, cause=cause, scans_with=count)
    if is_same:
        return say(verdict="not audited", why="it is the same in all scans")
    if count is not None and count < LEAST_WITH and (share.interval is None or share.interval.low <= ALARM_SHARE):
        return say(verdict="not audited", why=f"too few scans have something there ({count})")
    say = partial(say, share=share, auroc_lost=auroc_lost)
    if not scores_move:
        return say(verdict="does not lean", share=Estimate(value=0.0, interval=None), why="no score depends on it")
    if share.value is None or share.interval is None:
        return say(verdict="cannot tell", why="its share of the scores is not estimable")
    if share.interval.low > ALARM_SHARE:
        tells = auroc_lost.interval is not None and auroc_lost.interval.low > 0
        if cause == "skull_and_scalp" and not tells:
            return say(verdict="moves scores", why="no AUROC is lost without it: it does not tell the label here")
        return say(verdict="leans")
    if share.interval.high < ALARM_SHARE:
        return say(verdict="does not lean")
    return say(verdict="cannot tell", why=f"the interval holds {ALARM_SHARE:.2f}: audit more scans")
