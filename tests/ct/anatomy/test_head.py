"""The opening that tells a head from the shells round it, beside SciPy's distance transform."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from ichformer.ct.anatomy import head


@settings(max_examples=60)
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 50), st.integers(1, 50)),
    cell_mm=st.tuples(*[st.sampled_from([0.7, 2.0, 2.44, 2.5, 3.3, 5.0, 9.9, 10.0, 11.0])] * 2),
    level=st.sampled_from([0.2, 0.42, 0.46, 0.5]),
    seed=st.integers(0, 2**16),
)
def test_opening_is_that_of_a_disc_of_ten_millimetres(shape, cell_mm, level, seed):
    noise = np.random.default_rng(seed).random(shape)
    dense = ndimage.gaussian_filter(noise, (0, 2, 2)) > level

    def opened(picture: np.ndarray) -> np.ndarray:
        if picture.all():
            return picture
        core = ndimage.distance_transform_edt(picture, cell_mm) > 10
        return ndimage.distance_transform_edt(~core, cell_mm) <= 10 if core.any() else core

    np.testing.assert_array_equal(head._open(dense, cell_mm), np.stack([opened(picture) for picture in dense]))
