"""A pretraining teaches: its encoder is better than the same one untrained, for k-nearest neighbours and ridge."""

import flax.linen as nn
import numpy as np
import pytest

from ichformer.models.families.slice_vit import slice_vit
from ichformer.objectives.config import ObjectiveConfig
from tests.objectives.heads import heads
from tests.objectives.pretraining import Gain, gains_of


@pytest.fixture(scope="module")
def measured():
    """What ``heads`` holds, made before any test's time is counted."""
    return heads()


@pytest.mark.full(minutes=1)
def test_mae_teaches_a_slice_vit(measured):
    """Its settings were chosen on seeds 0 to 2. Seeds 10 to 14, of starts and draws, were then run once: all passed.

    Gains, with the first 240 of the phantoms: k-NN +0.039 to +0.075 (lowest bound +0.006), ridge +0.041 to +0.073
    (lowest +0.016). Of all phantoms, seed 10 alone was run: +0.056 and +0.060.
    """
    settings = ObjectiveConfig(
        name="mae", mask_ratio=0.5, normalise_targets=False, decoder_width=32, decoder_depth=1
    )  # fmt: skip
    gains = gains_of(_slice_vit(), settings, steps=800, learning_rate=6e-3, seed=10)
    assert np.isin(measured.labels, (0, 1)).sum() > 1000
    _assert_all_gained(gains)


@pytest.mark.full(minutes=1)
@pytest.mark.usefixtures("measured")
def test_jepa_teaches_a_slice_vit():
    """Its settings were chosen on seeds 0 to 2, with 500 and 600 steps. Fresh seeds 15 to 18 were run once: all passed.

    Gains: k-NN +0.032 to +0.054 (lowest bound +0.007), ridge +0.030 to +0.080 (lowest +0.011). A first choice of 500
    steps had passed on seeds 0 to 2. Of the fresh seeds 10 and 11, k-NN passed on neither, and ridge on one: some
    starts take hundreds of steps until the targets differ from each other.
    """
    settings = ObjectiveConfig(name="jepa", mask_ratio=0.75, masks="random", decoder_width=32, decoder_depth=1)
    _assert_all_gained(gains_of(_slice_vit(), settings, steps=800, learning_rate=6e-3, seed=15))


def _slice_vit() -> nn.Module:
    return slice_vit(patch_size=8, width=16, depth=2, num_heads=2, context_depth=1, context_heads=2)


def _assert_all_gained(gains: dict[str, Gain]) -> None:
    assert set(gains) == {"knn", "ridge"}
    for name, gain in gains.items():
        assert gain.low > 0, f"{name}: {gain}"
