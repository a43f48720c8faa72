"""Small tables with ties, weights, unknown labels and several rows a patient."""

import numpy as np
from hypothesis import strategies as st


@st.composite
def rows(draw, *, min_size=1, max_size=40, unknown=True):
    """Labels, scores, weights and patients; scores come in tenths so that ties are frequent."""
    n = draw(st.integers(min_size, max_size))

    def column(values):
        return np.array(draw(st.lists(values, min_size=n, max_size=n)), np.float64)

    label = st.sampled_from([0.0, 1.0, np.nan] if unknown else [0.0, 1.0])
    labels, scores = column(label), column(st.integers(0, 10)) / 10
    weights, patients = column(st.integers(0, 4)) / 2, column(st.integers(0, 9)).astype(np.int64)
    return labels, scores, weights, patients
