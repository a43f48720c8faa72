"""Bleeds as they are drawn and painted, and what is said of them beside the mask."""

from dataclasses import replace

import numpy as np
import pytest

from ichformer import SUBTYPES
from ichformer.ct.phantom import DEFAULT_SITES, SITES, make_phantom
from ichformer.ct.phantom.anatomy.grid import Grid
from ichformer.ct.phantom.anatomy.head import draw_head, place_brain
from ichformer.ct.phantom.anatomy.shapes import Points
from ichformer.ct.phantom.bleeds.bleed import MECHANISMS, Blood
from ichformer.ct.phantom.bleeds.density import blood_hu
from ichformer.ct.phantom.bleeds.draw import draw_bleeds
from ichformer.ct.phantom.bleeds.painting import push
from ichformer.ct.phantom.bleeds.truth import midline_shift_mm, side_of
from ichformer.ct.phantom.population import Population

COARSE = replace(SITES["alder"], pixels=96, step_mm=2.4)
USUAL = Population()


def drawn(seed: int, subtype: str, mechanism: str, *, small: bool = False, population: Population = USUAL):
    rng = np.random.default_rng(seed)
    chosen = (subtype,) if small else ()
    return draw_bleeds(rng, (subtype,), small=chosen, mechanism=mechanism, population=population)


@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize("subtype", SUBTYPES)
def test_densities_and_volumes_are_those_of_blood(subtype, mechanism):
    bleeds = [bleed for seed in range(60) for bleed in drawn(seed, subtype, mechanism)]
    assert {bleed.subtype for bleed in bleeds} == {subtype}
    dense, thin = (np.array([getattr(bleed.blood, of) for bleed in bleeds]) for of in ("hu", "thin_hu"))
    assert thin.min() > 17
    assert (thin <= dense).all()
    assert dense.max() < 90
    # Of haematomas that are weeks old little is clotted.
    assert (np.median(thin) < 35) == (subtype == "subdural" and mechanism == "spontaneous")
    small = [sum(b.size_ml for b in drawn(seed, subtype, mechanism, small=True)) for seed in range(60)]
    assert 0.05 < min(small) < 0.4
    assert max(small) <= 4.0 + 1e-6


def test_injuries_come_in_several_places_and_on_both_sides():
    contusions = [drawn(seed, "intraparenchymal", "trauma") for seed in range(60)]
    several = [found for found in contusions if len(found) > 1]
    assert len(several) > 12
    assert all({bleed.side for bleed in found} == {-1.0, 1.0} for found in several), "coup and contrecoup"
    old = [drawn(seed, "subdural", "spontaneous") for seed in range(60)]
    assert 9 < sum({bleed.side for bleed in found} == {-1.0, 1.0} for found in old) < 36
    kinds = {bleed.kind for seed in range(60) for bleed in drawn(seed, "subdural", "trauma")}
    assert kinds == {"crescent", "falx", "tentorium"}


def test_planting_one_more_leaves_the_others():
    one = draw_bleeds(np.random.default_rng(3), ("subdural",), population=USUAL)
    all_of_them = draw_bleeds(np.random.default_rng(3), SUBTYPES, population=USUAL)
    assert one == tuple(bleed for bleed in all_of_them if bleed.subtype == "subdural")


def test_another_population_bleeds_less_and_paler():
    anaemic = Population(bleed_hu=-8.0, bleed_ml=0.5)
    for usual, other in zip(
        drawn(1, "intraventricular", "trauma"),
        drawn(1, "intraventricular", "trauma", population=anaemic),
        strict=True,
    ):
        assert other.blood.hu == pytest.approx(usual.blood.hu - 8)
        assert other.size_ml == pytest.approx(usual.size_ml / 2)


@pytest.fixture(scope="module")
def block():
    """40 mm cubed around the middle of a head, in steps of 1 mm."""
    x = np.arange(-20, 21, dtype=np.float32)
    grid = Grid.spanned(x_mm=x, y_mm=x, z_mm=np.tile(x, (len(x), 1)))
    ones = np.ones(grid.shape, np.float32)
    return grid, Points(x * ones, x[:, None, None] * ones, x[:, None] * ones)


@pytest.mark.parametrize("texture", ["swirl", "septa", "grains", "level", "fading"])
def test_dense_and_thin_blood_are_mixed(block, texture):
    grid, p = block
    inside = 20 - np.sqrt(p.x**2 + p.y**2 + p.z**2)
    hu = blood_hu(Blood(hu=70, thin_hu=30, texture=texture, seed=0), p, grid, inside)
    assert 30 <= hu.min() < 32
    assert 65 < hu.max() <= 70
    assert 0.03 < (hu < 50).mean() < 0.97
    if texture == "level":
        assert hu[grid.y_mm > 3].min() > 69, "cells sink to the back"
        assert hu[grid.y_mm < -3].max() < 31
    if texture == "fading":
        assert hu[inside > 18].min() > hu[np.abs(inside) < 1].max() + 20


def test_sides():
    x = np.linspace(-50, 50, 101, dtype=np.float32)[:, None, None]
    assert side_of(np.clip(x - 20, 0, 1), x) == "left"
    assert side_of(np.clip(-x - 20, 0, 1), x) == "right"
    assert side_of(np.clip(np.abs(x) - 20, 0, 1), x) == "both"
    assert side_of(np.clip(8 - np.abs(x), 0, 1), x) == "midline"
    assert side_of(0 * x, x) == ""


@pytest.mark.parametrize("seed", [0, 4])
def test_midline_shift_is_where_the_septum_went(seed):
    head = draw_head(np.random.default_rng(seed))
    bleeds = drawn(5, "epidural", "trauma")
    moved = push(bleeds, head)
    shift = midline_shift_mm(moved, head)
    assert np.sign(shift) == -bleeds[0].side
    assert abs(shift) > 2
    # The place of the same point of the brain before and after, on a grid of 1 mm.
    x, y, z = (np.arange(low, high, 1.0, dtype=np.float32) for low, high in ((-25, 25), (-40, 25), (-20, 40)))
    grid = Grid.spanned(x_mm=x, y_mm=y, z_mm=np.tile(z, (len(y), 1)))
    i, k, j = np.indices(grid.shape)
    places = []
    for displaced in (np.zeros_like(moved), moved):
        p = place_brain(head, grid, displaced)
        weight = np.exp(-(p.x**2 + (p.y + 10) ** 2 + (p.z - 9) ** 2) / 2)
        places.append([(at * weight).sum() / weight.sum() for at in (x[j], y[i], grid.z_mm[i, k])])
    assert shift == pytest.approx((head.rotation @ np.subtract(places[1], places[0]))[0], abs=0.35)
    assert midline_shift_mm(np.zeros_like(moved), head) == 0


def test_larger_collections_shift_the_midline_further():
    head = draw_head(np.random.default_rng(0))
    (bleed,) = drawn(5, "epidural", "trauma")
    shifts = [abs(midline_shift_mm(push((bleed.grown(factor),), head), head)) for factor in (0.2, 1, 3)]
    assert shifts == sorted(shifts)
    assert shifts[-1] < 16


@pytest.mark.slow
def test_without_the_bleed_it_is_the_same_scan():
    bleeding, healthy = (make_phantom(11, site=COARSE, subtypes=names) for names in (SUBTYPES, ()))
    assert np.array_equal(bleeding.volume.affine, healthy.volume.affine)
    assert np.array_equal(bleeding.cavity, healthy.cavity)
    # Noise and all, but for what the point spread carries out of the skull and the bars between bones.
    change = np.abs(bleeding.volume.hu.astype(int) - healthy.volume.hu)
    assert np.quantile(change[~healthy.cavity & ~bleeding.outside_circle], 0.99) <= 2
    assert change[healthy.cavity].max() > 15
    assert healthy.midline_shift_mm == 0
    assert set(healthy.sides.values()) == {""}
    assert not healthy.lesions.any()
    assert all(bleeding.sides.values())
    assert (bleeding.lesions >= 1).all()


@pytest.mark.slow
@pytest.mark.parametrize("subtype", SUBTYPES)
def test_what_is_asked_for_is_shown_however_small(subtype):
    for seed in range(3):
        site = replace(SITES["dogwood"], pixels=128, step_mm=1.9)
        phantom = make_phantom(seed, site=site, subtypes=(subtype,), small=(subtype,))
        assert phantom.scan_labels[SUBTYPES.index(subtype)]
        assert phantom.blood_ml.sum() < 5


def test_the_site_of_another_style_lies_outside_all_others():
    fir, others = SITES["fir"], [SITES[name] for name in DEFAULT_SITES]
    assert "fir" not in DEFAULT_SITES
    for of in ("noise_hu", "edge_boost", "tilt_deg", "gain"):
        assert getattr(fir, of) > max(getattr(site, of) for site in others)
    for of in ("blur_mm", "offset_hu", "fov_mm"):
        assert getattr(fir, of) < min(getattr(site, of) for site in others)
    assert fir.population != others[0].population
    assert fir.population.aged(draw_head(np.random.default_rng(0))).atrophy >= 0.55
