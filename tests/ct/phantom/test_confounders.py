"""Each confounder looks as it should, where it should, and none of them moves a bleed.

Nearly every test compares twins: the same scan with and without the confounder, from a scanner without noise.
"""

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
import scipy.ndimage as ndi

from ichformer import SUBTYPES
from ichformer.ct.phantom import CONFOUNDERS, SITES, Phantom, make_phantom
from ichformer.ct.phantom.anatomy.head import draw_head
from ichformer.ct.phantom.findings.confounders import LASTING
from ichformer.ct.phantom.plan import plan_scan
from ichformer.testing import TINY_SITES

CLEAN = replace(SITES["alder"], pixels=128, noise_hu=0.0, step_mm=1.8, blur_mm=0.5, edge_boost=0.0)
MIDDLE = 63.5
WIDENING = {"atrophy", "hydrocephalus"}


@lru_cache
def usual(seed: int) -> np.ndarray:
    return make_phantom(seed, site=CLEAN).volume.hu.astype(int)


def twins(seed: int, *confounders: str) -> tuple[np.ndarray, np.ndarray, Phantom]:
    """HU with and without, and the scan with."""
    made = make_phantom(seed, site=CLEAN, confounders=confounders)
    return made.volume.hu.astype(int), usual(seed), made


def ml(where: np.ndarray, phantom: Phantom) -> float:
    return where.sum() * np.prod(phantom.volume.spacing_mm) / 1000


def inside_skull(hu: np.ndarray) -> np.ndarray:
    """Without the outermost pixels; sinuses and orbits that open the ring of bone are bridged."""
    found = []
    for bone in np.pad(hu > 250, ((0, 0), (12, 12), (12, 12))):
        ring = ndi.binary_closing(bone, iterations=10)
        found.append((ndi.binary_fill_holes(ring) & ~ndi.binary_dilation(bone))[12:-12, 12:-12])
    return np.stack(found)


def head_without(field: str) -> int:
    return next(s for s in range(100) if not getattr(draw_head(np.random.default_rng([s, 0])), field))


@pytest.mark.slow
def test_masks_do_not_depend_on_what_is_laid_over():
    seed = 1
    over = tuple(name for name in CONFOUNDERS if name not in WIDENING)
    with_all, without = (make_phantom(seed, site=CLEAN, subtypes=SUBTYPES, confounders=names) for names in (over, ()))
    assert np.array_equal(with_all.mask, without.mask)
    assert without.mask.any()
    assert (with_all.volume.hu != without.volume.hu).mean() > 0.1


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 2])
def test_wider_spaces_keep_the_labels_of_the_scan(seed):
    with_both, without = (
        make_phantom(seed, site=CLEAN, subtypes=SUBTYPES, confounders=names) for names in (tuple(WIDENING), ())
    )
    assert without.scan_labels.all()
    assert (with_both.scan_labels == without.scan_labels).all()


def test_one_more_does_not_change_the_others():
    both, one = (
        make_phantom(2, site=CLEAN, confounders=names).volume.hu
        for names in (("calcified_falx", "scalp_hematoma"), ("scalp_hematoma",))
    )
    changed = np.abs(both.astype(int) - one) > 20
    assert changed.any()
    assert (inside_skull(one) | (one > 250))[changed].all()


def test_unknown_confounder_is_refused():
    with pytest.raises(ValueError, match="choose from"):
        make_phantom(0, site=CLEAN, confounders=("tumor",))


def test_calcified_falx():
    hu, plain, _ = twins(1, "calcified_falx")
    calcium = hu - plain > 60
    assert calcium.sum() > 10
    assert (hu[calcium] > 100).mean() > 0.8
    assert hu[calcium].max() > 200
    columns = np.nonzero(calcium)[2]
    assert np.abs(columns - np.median(columns)).max() * 1.84 < 12
    assert abs(np.median(columns) - MIDDLE) * 1.84 < 15
    assert inside_skull(plain)[calcium].mean() > 0.95


def test_calcified_pineal_lies_in_the_midline():
    hu, plain, phantom = twins(head_without("pineal_hu"), "calcified_pineal")
    calcium = hu - plain > 40
    assert ndi.label(calcium, np.ones((3, 3, 3)))[1] == 1
    assert 100 < hu[calcium].max() < 800
    assert abs(np.nonzero(calcium)[2].mean() - MIDDLE) * 1.84 < 12
    assert ml(calcium, phantom) < 1


@pytest.mark.slow
def test_calcified_plexus_lies_on_both_sides():
    hu, plain, phantom = twins(head_without("plexus_hu"), "calcified_plexus")
    calcium = hu - plain > 40
    found, count = ndi.label(calcium, np.ones((3, 3, 3)))
    assert count == 2
    sides = [np.nonzero(found == k)[2].mean() - MIDDLE for k in (1, 2)]
    assert 25 < abs(sides[0] - sides[1]) * 1.84 < 65
    assert all(100 < hu[found == k].max() < 800 for k in (1, 2))
    assert ml(calcium, phantom) < 3


def test_dense_sinus():
    hu, plain, phantom = twins(1, "dense_sinus")
    dense = (hu - plain > 12) & (plain < 75)
    assert 58 < np.median(hu[dense]) < 88
    to_bone_mm = ndi.distance_transform_edt(plain < 250, sampling=phantom.volume.spacing_mm)
    assert np.quantile(to_bone_mm[dense], 0.9) < 9
    assert 1.5 < ml(dense, phantom) < 25


def test_old_infarct_is_between_fluid_and_grey_matter():
    hu, plain, phantom = twins(5, "old_infarct")  # whose head has none of its own
    dark = (plain - hu > 6) & (plain > 20) & (plain < 50)
    # Fluid has 6 HU, grey matter 37.
    assert 9 < np.median(hu[dark]) < 25
    assert ml(dark, phantom) > 8
    to_bone_mm = ndi.distance_transform_edt(plain < 250, sampling=phantom.volume.spacing_mm)
    assert to_bone_mm[dark].min() < 8, "does not reach the cortex"
    columns = np.nonzero(dark)[2] - MIDDLE
    assert abs(np.sign(columns).mean()) > 0.95


def fluid(hu: np.ndarray) -> np.ndarray:
    return inside_skull(hu) & (hu > -10) & (hu < 16)


def test_atrophy_widens_all_fluid():
    # A head with tight sulci and narrow ventricles, as for hydrocephalus below.
    hu, plain, phantom = twins(3, "atrophy")
    assert ml(fluid(hu), phantom) > 1.5 * ml(fluid(plain), phantom)
    # In the sulci too: at the surface, and near the vertex where no ventricle reaches.
    to_bone_mm = ndi.distance_transform_edt(plain < 250, sampling=phantom.volume.spacing_mm)
    at_surface = to_bone_mm < 15
    assert (fluid(hu) & at_surface).sum() > 1.5 * (fluid(plain) & at_surface).sum()


def test_hydrocephalus_widens_ventricles_alone():
    hu, plain, phantom = twins(3, "hydrocephalus")
    brain = inside_skull(plain)
    to_bone_mm = ndi.distance_transform_edt(plain < 250, sampling=phantom.volume.spacing_mm)
    central = to_bone_mm > 22
    wide, usual = (fluid(x) & central for x in (hu, plain))
    assert ml(wide, phantom) > 2.5 * ml(usual, phantom)
    assert (fluid(hu) & (to_bone_mm < 12)).sum() < 1.15 * (fluid(plain) & (to_bone_mm < 12)).sum()

    def evans(of: np.ndarray) -> float:
        """Width of the frontal horns over the inner width of the skull."""
        found = []
        for s in np.flatnonzero(brain.sum(axis=(1, 2)) > 4500):
            rows, columns = np.nonzero(of[s, :60])
            found.append(np.ptp(columns) / np.ptp(np.nonzero(brain[s])[1]) if len(rows) > 10 else 0)
        return max(found)

    assert evans(wide) > 0.3
    assert evans(wide) > evans(usual)


# Heads whose fracture does not run across the vertex, where it lies in few slices.
@pytest.mark.parametrize("seed", [2, 5])
def test_fracture_is_a_gap_in_the_calvarium(seed):
    hu, plain, phantom = twins(seed, "fracture")
    gap = (plain > 400) & (plain - hu > 150)
    slices, _, _ = np.nonzero(gap)
    assert len(np.unique(slices)) >= 3
    assert 0.1 < ml(gap, phantom) < 8
    assert hu[gap].min() < 500
    # Bone on both sides of it is as it was, and all that changes at all is bone.
    assert (np.abs(hu - plain)[ndi.binary_dilation(gap, iterations=3) & ~ndi.binary_dilation(gap)] < 60).mean() > 0.8
    changed = np.abs(hu - plain) > 30
    assert (ndi.binary_dilation(plain > 250, iterations=2)[changed]).all()


def test_scalp_hematoma_is_blood_outside_the_skull():
    hu, plain, phantom = twins(1, "scalp_hematoma")
    new = (plain < -400) & (hu > -50)
    assert ml(new, phantom) > 4
    inside = np.stack([ndi.binary_fill_holes(bone) for bone in plain > 250])
    assert not inside[new].any()
    # In the plane: on the vertex it is no more than three slices thick.
    blood = new & ndi.binary_erosion(hu > 0, np.ones((1, 3, 3), bool))
    assert 40 < np.median(hu[blood]) < 75


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "is_clip"), [(1, False), (4, True)])
def test_metal_is_clipped_and_streaks_in_its_slices_alone(seed, is_clip):
    hu, plain, _ = twins(seed, "metal")
    assert plain.max() < 2500
    assert hu.max() == 3071
    metal = (hu > 2500).any(axis=(1, 2))
    near = ndi.binary_dilation(metal, iterations=2)
    change = np.abs(hu - plain)
    assert change[~near].max() == 0
    inside = inside_skull(plain)
    assert bool((inside & (hu > 2500)).any()) == is_clip
    if is_clip:
        s = int((hu > 2500).sum(axis=(1, 2)).argmax())
        brain = inside[s] & (plain[s] > 0) & (plain[s] < 60) & (hu[s] < 200)
        assert (change[s][brain] > 3).mean() > 0.2
        assert (hu - plain)[s][brain].min() < -10


def test_beam_hardening_darkens_the_middle_and_the_base():
    hu, plain, phantom = twins(3, "beam_hardening")
    brain = inside_skull(plain) & (plain > 0) & (plain < 60)
    to_bone_mm = ndi.distance_transform_edt(plain < 250, sampling=(100, *phantom.volume.spacing_mm[1:]))
    change = hu - plain
    for s in range(14, 20):
        middle, rim = brain[s] & (to_bone_mm[s] > 35), brain[s] & (to_bone_mm[s] < 10)
        assert -35 < change[s][middle].mean() < -3
        assert change[s][rim].mean() > change[s][middle].mean() + 3
    posterior = brain[5:9] & (to_bone_mm[5:9] > 15)
    posterior[:, :64] = False
    assert change[5:9][posterior].mean() < -5


@pytest.mark.slow
def test_motion_spoils_some_neighbouring_slices():
    hu, plain, _ = twins(3, "motion")
    change = np.abs(hu - plain)
    spoiled = np.flatnonzero(change.max(axis=(1, 2)) > 0)
    assert 3 <= len(spoiled) <= 7
    assert np.ptp(spoiled) == len(spoiled) - 1
    brain = inside_skull(plain) & (plain > 0) & (plain < 60)
    for s in spoiled:
        assert 3 < (hu - plain)[s][brain[s]].std() < 80


def test_what_lasts_is_there_again_at_the_next_scan():
    plans = [plan_scan(i, seed=0, sites=TINY_SITES, prevalence=0.5, confounders=0.4) for i in range(1200)]
    first, again = zip(*[(plans[p.first_of_patient], p) for p in plans if p.first_of_patient != p.number], strict=True)
    pairs = [(set(a.confounders), set(b.confounders)) for a, b in zip(first, again, strict=True)]
    assert len(pairs) == 200
    assert all(a & LASTING == b & LASTING for a, b in pairs)
    assert any(a - LASTING != b - LASTING for a, b in pairs)
    for name in CONFOUNDERS:
        assert 0.32 < np.mean([name in p.confounders for p in plans]) < 0.48


def test_confounders_leave_bleeds_where_they_are():
    with_some, without = (
        [plan_scan(i, seed=5, sites=TINY_SITES, prevalence=0.5, **options) for i in range(60)]
        for options in ({"confounders": 0.5, "small": 0.5}, {})
    )
    assert [p.subtypes for p in with_some] == [p.subtypes for p in without]
    assert not any(p.confounders or p.small for p in without)


@pytest.mark.slow
@pytest.mark.parametrize("subtype", SUBTYPES)
def test_small_bleeds_are_small_and_are_there(subtype):
    phantoms = [make_phantom(seed, site=CLEAN, subtypes=(subtype,), small=(subtype,)) for seed in (0, 2)]
    sizes_ml = np.array([p.blood_ml.sum() for p in phantoms])
    assert all(p.scan_labels[SUBTYPES.index(subtype)] for p in phantoms)
    assert (sizes_ml >= 0.1).all()
    assert (sizes_ml < 5).all()
