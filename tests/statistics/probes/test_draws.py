"""Draws of few patients: both classes in each, shares as asked for, smaller draws inside larger ones."""

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from ichformer.statistics.probes.draws import draw_patients, why_not_drawn

PATIENTS = st.lists(st.booleans(), min_size=2, max_size=60).map(np.array)
FRACTION = st.floats(0.001, 1)


@given(PATIENTS, FRACTION, st.integers(0, 99), st.integers(1, 9))
def test_a_draw_has_both_classes_and_its_share_of_patients(positive, fraction, seed, number):
    assume(not why_not_drawn(positive, fraction))
    chosen = draw_patients(positive, fraction, seed=seed, number=number)
    assert positive[chosen].any()
    assert not positive[chosen].all()
    assert abs(chosen.sum() - fraction * positive.size) <= 0.5
    assert (draw_patients(positive, fraction, seed=seed, number=number) == chosen).all()
    expected = chosen.sum() * positive.mean()
    assert abs(positive[chosen].sum() - np.clip(expected, 1, chosen.sum() - 1)) <= 0.5


@given(PATIENTS, FRACTION, FRACTION, st.integers(0, 99))
def test_a_draw_of_more_patients_holds_that_of_fewer(positive, one, other, seed):
    few, many = sorted((one, other))
    assume(not why_not_drawn(positive, few))
    draws = [draw_patients(positive, fraction, seed=seed, number=1) for fraction in (few, many)]
    assert (draws[1] >= draws[0]).all()
    assert draw_patients(positive, 1.0, seed=seed, number=1).all()


def test_draws_differ():
    positive = np.arange(60) < 20
    draws = {draw_patients(positive, 0.2, seed=0, number=number).tobytes() for number in range(1, 6)}
    assert len(draws) == 5


def test_why_nothing_can_be_drawn():
    positive = np.arange(60) < 20
    assert why_not_drawn(positive, 0.05) == ""
    assert why_not_drawn(positive, 0.01) == (
        "1 % of 60 labelled training patients are fewer than two. At least one with and one without a positive scan "
        "are needed."
    )
    assert why_not_drawn(positive[:20], 1.0) == "All of the 20 labelled training patients are positive."
    assert why_not_drawn(positive[20:], 1.0) == "None of the 40 labelled training patients are positive."
    assert why_not_drawn(positive[:0], 1.0) == "No training scan has the label."
