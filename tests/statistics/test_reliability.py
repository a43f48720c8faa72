"""The intraclass correlation beside published numbers and those of pingouin."""

import numpy as np
import pytest

from ichformer.statistics.reliability import icc_agreement_statistic, icc_interval

SHROUT_FLEISS = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7.0]])
"""Table 2 of Shrout and Fleiss 1979: ICC(2,1) is .29."""

VOLUMES = np.array(
    [
        [3.08, 2.38, 5.16, 3.02, 1.59, 3.9, 10.01, 7.01, 1.34, 0.77, 1.46, 2.83],
        [2.14, 2.52, 4.44, 2.88, 1.58, 4.05, 12.01, 9.54, 1.44, 1.12, 1.41, 3.36],
    ]
).T


@pytest.mark.parametrize(
    ("ratings", "icc", "ends"), [(SHROUT_FLEISS, 0.289764, (0.02, 0.76)), (VOLUMES, 0.946262, (0.83, 0.98))]
)
def test_it_is_that_of_pingouin(ratings, icc, ends):
    """pingouin 0.7.0, ``intraclass_corr``, ICC(A,1); it rounds the interval to two digits."""
    statistic, interval = icc_agreement_statistic(ratings, np.arange(len(ratings))), icc_interval(ratings)
    assert statistic(np.ones((1, len(ratings))))[0] == pytest.approx(icc, abs=1e-6)
    assert interval is not None
    assert (round(interval.low, 2), round(interval.high, 2)) == ends


def test_a_patient_drawn_twice_counts_as_two_rows():
    patients = np.repeat(np.arange(6), 2)
    statistic = icc_agreement_statistic(VOLUMES, patients)
    twice = np.repeat(VOLUMES, np.where(patients == 2, 2, 1), axis=0)
    alone = icc_agreement_statistic(twice, np.arange(len(twice)))(np.ones((1, len(twice))))
    assert statistic(np.array([[1, 1, 2, 1, 1, 1.0]])) == pytest.approx(alone)
    same = icc_agreement_statistic(np.full((3, 2), 4.0), np.arange(3))(np.ones((1, 3)))
    assert np.isnan(same).all()
    assert icc_interval(np.full((3, 2), 4.0)) is None
