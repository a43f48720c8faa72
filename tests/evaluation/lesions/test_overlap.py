"""Dice and surface distances are those of MONAI, and do not ask for an even grid."""

import math

import numpy as np
import pytest

from ichformer.evaluation.lesions.overlap import compare_masks
from ichformer.lesions.grid import Grid
from tests.evaluation.lesions.masks import pair
from tests.lesions.heads import volume

MONAI = {
    0: (0.7713226205191595, 4.400000095367432, 0.6252924799919128, 0.897849440574646),
    1: (0.6907514450867052, 5.0803542137146, 0.9881137609481812, 0.8273337483406067),
    2: (0.8280556377626517, 3.4205262660980225, 0.5480831265449524, 0.9189296960830688),
}
"""Dice, HD95, ASSD and surface Dice at 2 mm of MONAI 1.6.1; the full test compares with the one that is installed."""


@pytest.mark.parametrize("seed", MONAI)
def test_the_figures_are_those_of_monai(seed):
    truth, predicted, spacing_mm = pair(seed)
    found = compare_masks(truth, predicted, Grid.of(volume(truth.shape, spacing_mm)))
    assert tuple(vars(found).values()) == pytest.approx(MONAI[seed], abs=1e-6)


@pytest.mark.full
@pytest.mark.filterwarnings("ignore:.*always_return_as_numpy:FutureWarning")  # MONAI calls itself so
@pytest.mark.parametrize("seed", MONAI)
def test_monai_gives_these_figures(seed):
    torch, metrics = pytest.importorskip("torch"), pytest.importorskip("monai.metrics")
    truth, predicted, spacing = pair(seed)
    y, x = (torch.from_numpy(mask)[None, None].float() for mask in (truth, predicted))
    given = {"include_background": True, "spacing": spacing}
    found = (
        metrics.compute_dice(x, y),
        metrics.compute_hausdorff_distance(x, y, percentile=95, **given),
        metrics.compute_average_surface_distance(x, y, symmetric=True, **given),
        metrics.compute_surface_dice(x, y, class_thresholds=[2.0], **given),
    )
    assert [float(one) for one in found] == pytest.approx(MONAI[seed], abs=1e-6)


def test_distances_follow_uneven_slices():
    scan = volume((3, 12, 12), (4.0, 1.0, 1.0), steps_mm=(3.0, 7.0))
    truth, predicted = np.zeros((2, *scan.hu.shape), bool)
    truth[1, 4:8, 4:8] = predicted[2, 4:8, 4:8] = True
    found = compare_masks(truth, predicted, Grid.of(scan))
    assert (found.dice, found.hd95_mm, found.assd_mm, found.surface_dice) == pytest.approx((0, 7, 7, 0))


def test_what_empty_masks_give():
    scan = volume((3, 12, 12), (4.0, 1.0, 1.0))
    empty, full = np.zeros(scan.hu.shape, bool), np.ones(scan.hu.shape, bool)
    for truth, predicted in ((empty, full), (full, empty)):
        found = compare_masks(truth, predicted, Grid.of(scan))
        assert (found.dice, found.surface_dice) == (0, 0)
        assert [math.isnan(found.hd95_mm), math.isnan(found.assd_mm)] == [True, True]
    assert all(map(math.isnan, vars(compare_masks(empty, empty, Grid.of(scan))).values()))
