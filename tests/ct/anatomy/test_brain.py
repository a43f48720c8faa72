"""The brain's mask: against phantoms, an average head and a real one; whole, cut open, with a neck, or not there."""

import functools
from dataclasses import replace

import nibabel
import numpy as np
import pytest
import scipy.ndimage as ndi
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ichformer import SUBTYPES
from ichformer.ct.anatomy.brain import brain_mask, keep_brain
from ichformer.ct.io.dicom.reader import read_series
from ichformer.ct.io.dicom.series import find_series
from ichformer.ct.phantom import SITES, Phantom, make_phantom
from ichformer.ct.volume import AIR_HU, Volume

NECK_MM = 45.0


@functools.cache
def scan(name: str, neck_mm: float = 0.0, head: int = 0) -> Phantom:
    """A phantom of the site with the bleed of the site's turn."""
    number = list(SITES).index(name)
    site = replace(SITES[name], neck_mm=neck_mm, step_mm=1.8)
    return make_phantom(50 + number + 5 * head, site=site, subtypes=(SUBTYPES[(number + head) % 5],))


def volume_of(hu, spacing_mm) -> Volume:
    affine = np.eye(4)[[2, 1, 0, 3]] * [*spacing_mm, 1]
    names = tuple(map(str, range(len(hu))))
    return Volume(hu=hu, spacing_mm=tuple(map(float, spacing_mm)), affine=affine, source=names)


def dice(a, b) -> float:
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


def blood_seen(phantom):
    """Blood, under the bone too, where it is not lost in the bone's own voxels (thick slices over a slope)."""
    return (phantom.mask > 0) & (phantom.volume.hu < 150)


def ml(mask, spacing_mm) -> float:
    return np.count_nonzero(mask) * float(np.prod(spacing_mm)) / 1000


def without_flap(hu, spacing_mm, inside, *, towards, half_angle_deg: float, soft_hu: float = 40.0):
    """The bone within a cone round the middle of ``inside`` becomes muscle, without fat that would show the border."""
    along = [(np.arange(n) - c) * mm for n, c, mm in zip(hu.shape, ndi.center_of_mass(inside), spacing_mm, strict=True)]
    z, y, x = np.meshgrid(*along, indexing="ij", sparse=True)
    far = np.sqrt(z * z + y * y + x * x)
    towards = np.array(towards) / np.linalg.norm(towards)
    cone = (towards[0] * z + towards[1] * y + towards[2] * x > np.cos(np.deg2rad(half_angle_deg)) * far) & (far > 25)
    # On every fourth row and column, which takes a sixteenth of the time.
    coarse_mm = (spacing_mm[0], 4 * spacing_mm[1], 4 * spacing_mm[2])
    near = (ndi.distance_transform_edt(~inside[:, ::4, ::4], coarse_mm) < 15).repeat(4, axis=1).repeat(4, axis=2)
    cut = cone & (hu > 110) & near
    opened = hu.copy()
    opened[cut] = np.random.default_rng(0).normal(soft_hu, 4, np.count_nonzero(cut))
    return opened


@pytest.mark.slow
@pytest.mark.parametrize("name", SITES)
def test_phantoms_of_every_site_with_every_bleed(name):
    phantom = scan(name, NECK_MM if name in ("alder", "birch") else 0.0)
    mask = brain_mask(phantom.volume)
    assert dice(mask, phantom.cavity) >= 0.97
    assert mask[blood_seen(phantom)].mean() > 0.99
    assert ml(mask & ~phantom.cavity, phantom.volume.spacing_mm) < 10


@pytest.mark.parametrize(
    "head", [pytest.param(1, marks=pytest.mark.slow), *(pytest.param(n, marks=pytest.mark.full) for n in (2, 3, 4))]
)
@pytest.mark.parametrize("name", SITES)
def test_more_phantoms(name, head):
    phantom = scan(name, 15.0 * head, head)
    mask = brain_mask(phantom.volume)
    # A voxel that is half bone, as in thick slices under the vault, shows no brain.
    assert dice(mask, phantom.cavity & (phantom.volume.hu < 250)) >= 0.97
    assert mask[blood_seen(phantom)].mean() > 0.99


def template(folder):
    """The average head in HU, and its brain: the largest part in which grey, white and CSF are likelier than not.

    The CSF map has parts in the orbits, which is why it is the largest; holes are filled slice by slice.
    """
    images = [
        nibabel.as_closest_canonical(nibabel.load(folder / "ct_template" / f"{name}.nii"))
        for name in ("scct", "scgrey", "scwhite", "sccsf")
    ]
    # From RAS (column, row, slice) to the order of a Volume: rows to posterior, columns to the left.
    cormack, *tissues = (np.asarray(image.dataobj)[::-1, ::-1].transpose(2, 1, 0) for image in images)
    hu = np.select([cormack < 900, cormack < 2900], [cormack - 1000, (cormack - 900) / 10 - 100], cormack - 2800)
    labels, _ = ndi.label(sum(tissues) > 0.5)
    brain = labels == 1 + np.bincount(labels.ravel())[1:].argmax()
    brain = np.stack([ndi.binary_fill_holes(picture) for picture in brain])
    return volume_of(np.rint(hu).astype(np.int16), images[0].header.get_zooms()[::-1]), brain


def test_the_average_head(real_data):
    volume, brain = template(real_data)
    assert dice(brain_mask(volume), brain) >= 0.95


def test_a_real_head(real_data):
    volume = read_series(find_series(real_data / "dcm_qa_ct" / "GE").series[0])
    mask = brain_mask(volume)
    assert 1000 < ml(mask, volume.spacing_mm) < 1300
    # Of the neck there is the first centimetre of the canal at most, and no muscle beside it: a foramen magnum of
    # 36 x 30 mm has 850 mm2.
    assert not mask[0].any()
    assert (mask[1:3].sum((1, 2)) * np.prod(volume.spacing_mm[1:]) < 850).all()
    assert mask[14:22].any((1, 2)).all()
    assert 15 < np.median(volume.hu[mask]) < 45
    assert (volume.hu[mask] < -55).mean() < 0.001
    # The eyes, which lie in front in the slices through the orbits, are outside.
    assert not mask[4:9, :110].any()
    # Turning right and left round changes nothing, up to where the cells of the coarse copy lie.
    assert dice(brain_mask(replace(volume, hu=volume.hu[:, :, ::-1])), mask[:, :, ::-1]) > 0.998
    # Neither does the noise of a much thinner slice, nor calibration that is off.
    noise = np.random.default_rng(0).normal(4, 25, volume.hu.shape)
    assert dice(brain_mask(replace(volume, hu=(volume.hu + noise).astype(np.int16))), mask) > 0.99
    for towards in ((0.4, 0, 1), (1, 0, 0.2), (0, 1, 0)):
        opened = without_flap(volume.hu, volume.spacing_mm, mask, towards=towards, half_angle_deg=30)
        assert dice(brain_mask(replace(volume, hu=opened)), mask) > 0.97


def test_a_head_of_plastic_has_no_brain(real_data):
    for folder in ("S21570/S2010", "S21610/S3010"):
        volume = read_series(find_series(real_data / "dcm_qa_ct" / "Philips" / folder).series[0])
        assert not brain_mask(volume).any()


@pytest.mark.parametrize(
    ("name", "towards", "half_angle_deg"),
    [("alder", (0.4, 0, 1), 40), ("dogwood", (0.3, -1, 0.2), 30), ("elm", (1, 0, 0.2), 40), ("dogwood", (0, 1, 0), 25)],
)
def test_a_craniotomy_does_not_leak(name, towards, half_angle_deg):
    phantom = scan(name, NECK_MM if name == "alder" else 0.0)
    volume, inside = phantom.volume, phantom.cavity
    opened = without_flap(volume.hu, volume.spacing_mm, inside, towards=towards, half_angle_deg=half_angle_deg)
    lost = ml((volume.hu > 250) & (opened < 150), volume.spacing_mm)
    assert lost > 15  # of bone
    mask = brain_mask(replace(volume, hu=opened))
    assert dice(mask, inside) >= 0.96
    assert mask[blood_seen(phantom)].mean() > 0.99


@pytest.mark.parametrize("name", ["alder", "birch"])
def test_the_foramen_magnum_does_not_leak_into_the_neck(name):
    phantom = scan(name, NECK_MM)
    volume, inside = phantom.volume, phantom.cavity
    # The lowest voxel of the head's inside under every pixel; where it goes on into the canal, a plane near it.
    lowest = int(np.flatnonzero(inside.any((1, 2)))[0])
    assert lowest >= 4
    hu = volume.hu.copy()
    gap = hu[lowest - 2 : lowest]
    gap[gap > 110] = 45  # nothing between the occiput and the spine: the canal is open to the muscles
    for each in (volume, replace(volume, hu=hu)):
        mask = brain_mask(each)
        assert dice(mask, inside) >= 0.97
        assert not mask[: lowest - 3].any()
        assert ml(mask[:lowest], volume.spacing_mm) < 15


@pytest.mark.parametrize("value", [AIR_HU, 0, 35, 1000, 3071])
def test_one_value_everywhere_is_no_brain(value):
    assert not brain_mask(volume_of(np.full((5, 64, 64), value, np.int16), (5.0, 3.0, 3.0))).any()


@pytest.mark.parametrize("noise_hu", [10, 100, 400, 1000])
def test_noise_is_no_brain(noise_hu):
    hu = np.random.default_rng(0).normal(0, noise_hu, (20, 128, 128)).clip(AIR_HU, 3071).astype(np.int16)
    assert not brain_mask(volume_of(hu, (5.0, 1.8, 1.8))).any()


def test_water_is_no_brain():
    y, x = np.ogrid[-64:64, -64:64]
    ring = np.hypot(y, x) * 1.8
    hu = np.where(ring < 100, 0, AIR_HU).astype(np.int16)[None].repeat(20, 0)
    assert not brain_mask(volume_of(hu, (5.0, 1.8, 1.8))).any()


@settings(max_examples=60, deadline=None)
@given(
    hu=st.tuples(*[st.integers(1, 9)] * 3).flatmap(lambda shape: arrays(np.int16, shape)),
    spacing_mm=st.tuples(*[st.floats(0.2, 30)] * 3),
)
def test_anything_gives_a_mask(hu, spacing_mm):
    assert brain_mask(volume_of(hu, spacing_mm)).shape == hu.shape


def test_parts_of_a_head():
    phantom = scan("alder", NECK_MM)
    volume, inside = phantom.volume, phantom.cavity
    widest = int(inside.sum((1, 2)).argmax())
    for part in (slice(widest, widest + 1), slice(widest - 2, widest + 3), slice(widest, None)):
        mask = brain_mask(volume_of(volume.hu[part], volume.spacing_mm))
        assert dice(mask, inside[part]) >= 0.97


@pytest.mark.slow
def test_other_voxels():
    phantom = scan("alder", NECK_MM)
    (z, y, x), hu, inside = phantom.volume.spacing_mm, phantom.volume.hu, phantom.cavity
    # 0.4 mm with the noise of thin slices; the cells of the coarse copy do not fit into 256 rows and the slices.
    thin = hu[8:].repeat(12, axis=0)[:-7]
    thin = (thin + np.random.default_rng(0).normal(0, 18, thin.shape)).astype(np.int16)
    assert dice(brain_mask(volume_of(thin, (z / 12, y, x))), inside[8:].repeat(12, axis=0)[:-7]) >= 0.97
    assert dice(brain_mask(volume_of(hu[:, ::3, ::2], (z, 3 * y, 2 * x))), inside[:, ::3, ::2]) >= 0.96


def test_calcium_and_metal_inside_stay():
    phantom = scan("elm")
    z, y, x = phantom.volume.spacing_mm
    hu, inside = phantom.volume.hu.copy(), phantom.cavity
    s = int(inside.sum((1, 2)).argmax()) + 3
    middle = int(np.mean(np.nonzero(inside[s].any(0))))
    rows = np.flatnonzero(inside[s, :, middle])
    planted = np.zeros(inside.shape, bool)
    planted[s - 1 : s + 4, rows[0] + 2 : rows[0] + 40, middle - 1 : middle + 2] = True  # the falx, up to the bone
    at = int(rows.mean()) + 15, middle + 30
    planted[s - 1 : s + 2, at[0] - 4 : at[0] + 5, at[1] - 4 : at[1] + 5] = True  # 7 mm of a plexus
    hu[planted] = 400
    clip = np.zeros_like(planted)
    clip[s, at[0] - 40 : at[0] - 10, at[1] - 15 : at[1] + 15] = True  # a coil of 25 mm
    hu[clip] = 3071
    mask = brain_mask(volume_of(hu, (z, y, x)))
    assert mask[planted & inside].mean() > 0.95
    assert mask[clip].all()
    assert dice(mask, inside) >= 0.97


def test_only_the_brain_is_kept():
    phantom = scan("birch", NECK_MM)
    volume = phantom.volume
    kept, mask = keep_brain(volume), brain_mask(volume)
    soft = mask & (volume.hu <= 110)
    assert (kept.hu[soft] == volume.hu[soft]).all()
    assert (kept.hu[~mask] == AIR_HU).all()
    assert (kept.affine == volume.affine).all()
    assert kept.source == volume.source
    (note,) = kept.audit.notes
    assert note.code == "outside_blanked"
    assert f"{ml(kept.hu > AIR_HU, volume.spacing_mm):.0f} ml" in note.text
    # The front of the face is in the lower slices; nothing of it is left.
    assert (volume.hu[:6, :80] > -300).any()
    assert (kept.hu[:6, :80] == AIR_HU).all()


def bone_at_the_edge(inside, hu) -> float:
    """Which part of the edge's voxels is denser than a clot."""
    cross = np.zeros((3, 3, 3), bool)
    cross[1] = ndi.generate_binary_structure(2, 1)
    return float(np.mean(hu[inside & ndi.binary_dilation(~inside, cross)] > 110))


def test_no_bone_is_left_at_the_edge_and_calcium_deeper_inside_stays():
    phantom = scan("elm")
    hu, mask, spacing_mm = phantom.volume.hu.copy(), phantom.cavity, phantom.volume.spacing_mm
    s = int(mask.sum((1, 2)).argmax()) + 3
    middle = int(np.mean(np.nonzero(mask[s].any(0))))
    rows = np.flatnonzero(mask[s, :, middle])
    low = int(rows.mean())
    hu[s, rows[0] : rows[0] + 60, middle - 1 : middle + 2] = 400  # a falx that hangs on the vault
    plexus = np.zeros_like(mask)
    plexus[s, low : low + 4, middle + 20 : middle + 24] = True
    hu[plexus] = 400
    kept = keep_brain(volume_of(hu, spacing_mm), mask).hu
    assert bone_at_the_edge(mask, hu) > 0.5
    # The inner table is uneven under the vertex: some of it reaches deeper than the edge that is cleared.
    assert bone_at_the_edge(kept > AIR_HU, hu) < 0.03
    assert (kept[plexus] == 400).all()
    falx = np.flatnonzero(kept[s, :, middle] == 400)
    assert 5 <= (falx[0] - rows[0]) * spacing_mm[1] <= 8
    blood = blood_seen(phantom) & (hu <= 110)
    assert (kept[blood] == hu[blood]).all()


def test_no_face_is_left_where_no_brain_is_found():
    hu = np.full((3, 40, 40), AIR_HU, np.int16)
    hu[:, 10:30, 10:30] = 40
    kept = keep_brain(volume_of(hu, (5.0, 4.0, 4.0)))
    assert (kept.hu == AIR_HU).all()
    assert [note.code for note in kept.audit.notes] == ["brain_not_found", "outside_blanked"]
