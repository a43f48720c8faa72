"""Openings of a ball of bone are closed where the bone was."""

import numpy as np
import pytest

from ichformer.ct.anatomy.skull_openings import beyond, cast_rays, reach_mm

CELL_MM = (2.0, 2.0, 2.0)
INNER_MM, OUTER_MM = 70.0, 78.0
CENTER = (50, 50, 50)

z, y, x = np.ogrid[-100.0:101:2, -100.0:101:2, -100.0:101:2]
FAR = np.sqrt(z * z + y * y + x * x)
SHELL = (FAR >= INNER_MM) & (FAR < OUTER_MM)


def rays_of(bone, center=CENTER):
    return cast_rays(bone, ~bone, center, CELL_MM)


def test_a_closed_ball():
    rays = rays_of(SHELL)
    assert rays.enclosed == 1
    assert np.abs(rays.bone_mm - INNER_MM).max() <= 2
    assert rays.filled.min() > 0.99
    assert np.isinf(reach_mm(rays)).all()
    assert not beyond(reach_mm(rays), ~SHELL, CENTER, CELL_MM).any()
    assert cast_rays(SHELL, FAR < 20, CENTER, CELL_MM).filled.mean() < 0.3


def test_no_bone():
    rays = rays_of(np.zeros_like(SHELL))
    assert rays.enclosed == 0
    assert not rays.meets_bone.any()


@pytest.mark.parametrize("towards", [(1, 0, 0), (0, 0, 1), (0.5, -1, 0.3)])
def test_a_flap_is_closed_at_the_inner_table(towards):
    towards = np.array(towards) / np.linalg.norm(towards)
    flap = towards[0] * z + towards[1] * y + towards[2] * x > np.cos(np.deg2rad(40)) * FAR
    bone = SHELL & ~flap
    rays = rays_of(bone)
    assert rays.meets_bone.mean() == pytest.approx(1 - (1 - np.cos(np.deg2rad(40))) / 2, abs=0.01)
    cut = beyond(reach_mm(rays), ~bone, CENTER, CELL_MM)
    # Along its rim a slit as wide as the rays are apart stays open; thin bridges are cut later.
    within = towards[0] * z + towards[1] * y + towards[2] * x > np.cos(np.deg2rad(35)) * FAR
    leak = within & ~cut & (FAR > INNER_MM)
    assert FAR[leak].max() < INNER_MM + 6
    assert not cut[FAR < INNER_MM - 1].any()
    # Behind bone nothing is cut: that is the affair of the bone.
    assert not (cut & (FAR > OUTER_MM) & ~flap).sum() > 0.02 * cut.sum()


def test_a_long_head_is_closed_as_a_long_head():
    # An ellipsoid with its front open: a round head's bone would be 20 mm farther in.
    long = np.sqrt(z * z + (y / 1.3) ** 2 + x * x)
    bone = (long >= 65) & (long < 73) & ~(-y > np.cos(np.deg2rad(30)) * FAR)
    reach = reach_mm(rays_of(bone))
    cut = beyond(reach, ~bone, CENTER, CELL_MM)
    front = np.flatnonzero(cut[50, :50, 50])
    assert abs((50 - front.max()) * 2 - 65 * 1.3) < 8


def tube(radius_mm):
    """Bone with a canal down from the ball's lowest part, itself walled."""
    ring = np.hypot(y + 0 * z, x + 0 * z)
    canal, wall = (ring < radius_mm) & (z < -40), (ring >= radius_mm) & (ring < radius_mm + 6) & (z < -INNER_MM)
    return (SHELL | wall) & ~canal, canal


def test_the_canal_at_the_foramen_magnum_is_cut():
    bone, canal = tube(16)
    cut = beyond(reach_mm(rays_of(bone)), ~bone, CENTER, CELL_MM)
    left = canal & ~cut & (np.hypot(y, x) < 12)
    assert -z[np.nonzero(left)[0].min(), 0, 0] <= INNER_MM + 8 + 2 * CELL_MM[0]
    assert not cut[FAR < INNER_MM - 2].any()


def test_a_wide_recess_is_no_canal():
    # A posterior fossa: 50 mm deeper than the rest and as wide as the window sees from its middle.
    recess = (np.sqrt((z + 55) ** 2 + y * y + x * x) < 40) | (FAR < 60)
    around = (np.sqrt((z + 55) ** 2 + y * y + x * x) < 48) | (FAR < 68)
    bone = around & ~recess
    assert not (beyond(reach_mm(rays_of(bone)), ~bone, CENTER, CELL_MM) & recess).any()


def test_only_rays_that_leave_at_a_side_are_judged():
    middle = slice(48, 53)
    rays = cast_rays(SHELL[middle], ~SHELL[middle], (2, 50, 50), CELL_MM)
    assert rays.meets_bone.mean() < 0.15
    assert rays.enclosed > 0.95


def test_where_the_scan_ends_in_the_brain_nothing_is_cut():
    upper = slice(38, None)  # the ball's lower third was not scanned
    center = (50 - 38, 50, 50)
    rays = cast_rays(SHELL[upper], FAR[upper] < INNER_MM, center, CELL_MM)
    assert not rays.meets_bone.all()
    assert not beyond(reach_mm(rays), FAR[upper] < INNER_MM, center, CELL_MM).any()
