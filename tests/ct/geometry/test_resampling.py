"""Resampling within the plane, beside Pillow's and beside plain products of matrices."""

import numpy as np
import PIL.Image
import pytest

from ichformer.ct.geometry.regrid import resample_plane
from ichformer.ct.geometry.resampling import shrinking_matrix
from ichformer.ct.volume import AIR_HU
from tests.ct.geometry.test_regrid import head


@pytest.mark.parametrize("step", [(2.048, 2.048), (1.0, 1.0), (0.45, 1.7), (5.3, 3.1)])
@pytest.mark.parametrize("start", [(0.0, 0.0), (-9.4, 12.25)])
def test_values_are_those_of_the_dense_products(start, step):
    volume, _ = head(rows=70, columns=90)
    shape = (40, 36)
    framed, _ = resample_plane(volume, start=np.array(start), step=np.array(step), shape=shape)
    rows, columns = (
        shrinking_matrix(first + each * np.arange(size), each, length).astype(np.float64)
        for first, each, size, length in zip(start, step, shape, volume.hu.shape[1:], strict=True)
    )
    exact = rows @ (volume.hu.astype(np.float64) - AIR_HU) @ columns.T + AIR_HU
    # Half a unit is the rounding to whole HU, the rest that of float32.
    assert np.abs(framed.hu - exact).max() <= 0.5 + 1e-3


@pytest.mark.parametrize("step", [2.048, 1.0, 1.37])
def test_values_are_those_of_pillow(step):
    volume, _ = head(rows=70, columns=90)
    margin, size, start = 8, 20, 3.25
    framed, _ = resample_plane(volume, start=np.full(2, start), step=np.full(2, step), shape=(size, size))
    first = start + margin + 0.5 - step / 2  # Pillow's box is counted from the edge of the first pixel
    for seen, picture in zip(framed.hu, volume.hu, strict=True):
        above_air = np.pad(picture.astype(np.float32) - AIR_HU, margin)
        box = (first, first, first + size * step, first + size * step)
        expected = PIL.Image.fromarray(above_air).resize((size, size), PIL.Image.Resampling.BILINEAR, box=box)
        assert np.abs(seen - AIR_HU - np.asarray(expected)).max() <= 0.5 + 1e-2
