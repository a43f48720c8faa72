"""Tables of positions are resized as timm resizes them."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from ichformer.models.weights.fit import resize_positions

pytestmark = pytest.mark.full


@pytest.mark.parametrize("grid", [(16, 16), (9, 20), (37, 5), (14, 7)])
def test_bicubic_with_antialiasing(grid: tuple[int, int]):
    table = np.random.default_rng(0).normal(size=(14, 14, 6)).astype(np.float32)
    # timm.layers.resample_abs_pos_embed: interpolation "bicubic", antialias True, of [1, d, rows, columns].
    wanted = torch.nn.functional.interpolate(
        torch.from_numpy(table).permute(2, 0, 1)[None], size=grid, mode="bicubic", antialias=True
    )
    found = resize_positions(table, (*grid, 6))
    np.testing.assert_allclose(found, wanted[0].permute(1, 2, 0).numpy(), atol=1e-5)
