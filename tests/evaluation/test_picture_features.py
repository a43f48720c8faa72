"""Statistics of the picture: each sees the fault that it is there for, and none is thrown off by an odd scan."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from ichformer.errors import InputError
from ichformer.evaluation.picture_features import PICTURE_FEATURES, picture_features

SPACING_MM = (5.0, 1.0, 1.0)


@pytest.fixture(scope="module")
def head() -> np.ndarray:
    """A ball of brain in a shell of bone in air."""
    z, y, x = np.meshgrid(np.linspace(-0.8, 0.8, 12), *[np.linspace(-1.2, 1.2, 64)] * 2, indexing="ij")
    radius = np.sqrt(x**2 + y**2 + z**2)
    hu = np.where(radius < 0.9, 35.0, np.where(radius < 1, 1000.0, -1000.0))
    return hu + np.random.default_rng(0).normal(0, 3, hu.shape)


def found(hu: np.ndarray, spacing_mm: tuple[float, float, float] = SPACING_MM) -> dict[str, float]:
    features = picture_features(np.clip(np.round(hu), -1024, 3071).astype(np.int16), spacing_mm)
    return dict(zip(PICTURE_FEATURES, features, strict=True))


def test_twice_the_noise_is_about_one_step(head):
    louder = head + np.random.default_rng(1).normal(0, 3 * np.sqrt(3), head.shape)
    assert found(louder)["noise"] - found(head)["noise"] == pytest.approx(1, abs=0.2)
    assert found(louder)["bone"] == pytest.approx(found(head)["bone"], abs=0.01)


def test_a_softer_kernel_lowers_noise_and_edges(head):
    softer = gaussian_filter(head, (0, 1, 1))
    assert found(softer)["noise"] < found(head)["noise"] - 1
    assert found(softer)["edges"] < found(head)["edges"] - 0.3


def test_shifted_hu_move_the_quantiles_and_nothing_of_the_noise(head):
    shifted = found(head + 20)
    assert shifted["soft_hu_50"] - found(head)["soft_hu_50"] == pytest.approx(2, abs=0.2)
    assert shifted["noise"] == pytest.approx(found(head)["noise"], abs=0.05)


def test_metal_and_a_narrow_window_are_seen(head):
    metal = head.copy()
    metal[5, 30:34, 30:34] = 3071
    assert found(metal)["metal"] > found(head)["metal"] + 2
    assert found(np.clip(head, 0, 80))["one_value"] > found(head)["one_value"] + 1


def test_spacing_counts_as_a_factor(head):
    other = found(head, (2.5, 0.5, 0.5))
    assert found(head)["spacing_z"] - other["spacing_z"] == pytest.approx(1)
    assert found(head)["pixel"] - other["pixel"] == pytest.approx(1)


@pytest.mark.parametrize("shape", [(1, 3, 3), (2, 16, 16), (60, 8, 8)])
@pytest.mark.parametrize("value", [-32768, -1024, 35, 32767])
def test_an_empty_picture_has_finite_features(shape, value):
    features = picture_features(np.full(shape, value, np.int16), SPACING_MM)
    assert features.shape == (len(PICTURE_FEATURES),)
    assert np.isfinite(features).all()


def test_too_small_a_picture_is_refused():
    with pytest.raises(InputError, match="2 x 9 pixels"):
        picture_features(np.zeros((4, 2, 9), np.int16), SPACING_MM)
