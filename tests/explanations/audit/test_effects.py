"""Scores that are sums of known parts: the audit finds each part's share, and finds none where there is none."""

import numpy as np
import pytest

from ichformer.explanations.audit.effects import (
    ALARM_SHARE,
    NAMED_SD,
    Exchanged,
    conclude,
    draw_donors,
    given_and_taken,
    measure,
)
from ichformer.explanations.audit.results import name_causes
from ichformer.statistics.intervals import NOTHING, Estimate, Interval

N = 120
RNG = np.random.default_rng(3)
PATIENTS = np.arange(N) // 2
LABELS = PATIENTS % 2 * 1.0
DONORS = draw_donors(PATIENTS, times=4, seed=0)


def test_nobody_gets_a_part_of_the_own_patient_and_each_gives_as_often_as_it_gets() -> None:
    assert DONORS.shape == (4, N)
    for turn in DONORS:
        assert sorted(turn) == list(range(N))
        assert (PATIENTS[turn] != PATIENTS).all()
    pairs = [{(a, b) for b, a in enumerate(turn)} for turn in DONORS]
    assert len(set.union(*pairs)) == 4 * N
    assert not set.union(*pairs) & {(b, a) for some in pairs for a, b in some}
    assert len(draw_donors(np.array([0, 0, 0, 1]), times=4, seed=0)) == 0


def exchanged(rest: np.ndarray, part: np.ndarray, noise: float) -> tuple[np.ndarray, Exchanged]:
    """Scores of scans that are the sum of what is exchanged and the rest; each exchange does some harm."""
    other = np.stack([rest + part[turn] - 1.0 + noise * RNG.normal(size=N) for turn in DONORS])
    return rest + part, Exchanged(logits=other, donors=DONORS)


def test_given_and_taken_are_the_part_itself() -> None:
    part = RNG.normal(size=N)
    given, taken = given_and_taken(*exchanged(RNG.normal(size=N), part, noise=0.0))
    for found in (given, taken):
        assert np.corrcoef(found, part)[0, 1] > 0.85
        assert found.mean() == pytest.approx(0, abs=1e-12)
    assert np.polyfit(part, (given + taken) / 2, 1)[0] == pytest.approx(1, abs=0.15)


def test_a_cue_that_goes_with_the_label_has_its_share_and_costs_auroc() -> None:
    part = 2.0 * np.where(RNG.random(N) < 0.95, LABELS, 1 - LABELS)
    logits, found = exchanged(RNG.normal(size=N), part, noise=0.3)
    share, lost = measure(logits, LABELS, PATIENTS, found, replicates=300, seed=0)
    assert share.interval.low < part.var() / logits.var() < share.interval.high
    assert share.interval.low > ALARM_SHARE
    assert lost.interval.low > 0.1
    assert conclude("corners", share, lost, is_same=False, scores_move=True, holds=LABELS == 1).verdict == "leans"


def test_exchanges_that_do_harm_at_random_have_no_share() -> None:
    logits, found = exchanged(RNG.normal(size=N) + LABELS, np.zeros(N), noise=0.5)
    share, lost = measure(logits, LABELS, PATIENTS, found, replicates=300, seed=0)
    assert share.value == pytest.approx(0, abs=0.05)
    verdict = conclude("skull_and_scalp", share, lost, is_same=False, scores_move=True, holds=None).verdict
    assert verdict == "does not lean"


def estimate(low: float, high: float) -> Estimate:
    return Estimate(value=(low + high) / 2, interval=Interval(low=low, high=high, method=""))


@pytest.mark.parametrize(
    ("share", "given", "verdict", "why"),
    [
        (estimate(0.2, 0.6), {}, "leans", ""),
        (estimate(0.0, 0.05), {}, "does not lean", ""),
        (estimate(0.05, 0.3), {}, "cannot tell", "audit more scans"),
        (NOTHING, {}, "cannot tell", "not estimable"),
        (NOTHING, {"is_same": True}, "not audited", "same in all scans"),
        (NOTHING, {"scores_move": False}, "does not lean", "no score depends on it"),
        (estimate(0.0, 0.05), {"holds": np.arange(9) < 2}, "not audited", "too few scans have something there (2)"),
        (NOTHING, {"holds": np.zeros(9, bool), "scores_move": False}, "not audited", "(0)"),
        (estimate(0.2, 0.6), {"holds": np.arange(9) < 2}, "leans", ""),
    ],
)
def test_a_verdict_says_no_more_than_the_scans_can_tell(share, given, verdict, why) -> None:
    found = conclude("corners", share, NOTHING, **{"is_same": False, "scores_move": True, "holds": None, **given})
    assert found.verdict == verdict
    assert why in found.why
    assert bool(why) == bool(found.why)


def test_skull_and_scalp_are_an_alarm_only_where_they_tell_the_label() -> None:
    verdicts = [
        conclude("skull_and_scalp", estimate(0.2, 0.6), lost, is_same=False, scores_move=True, holds=None).verdict
        for lost in (estimate(-0.05, 0.05), NOTHING, estimate(0.01, 0.2))
    ]
    assert verdicts == ["moves scores", "moves scores", "leans"]


def test_a_scan_is_named_after_the_part_that_moved_it_most_or_after_none() -> None:
    effects = {"corners": np.array([2.0, 0.1, NAMED_SD - 0.01]), "texture": np.array([-0.5, -1.0, 0.0])}
    assert name_causes(effects, 1.0, 3) == ["corners", "texture", ""]
    assert name_causes({}, 1.0, 2) == ["", ""]
