import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ichformer.ct.anatomy.head import head_box
from ichformer.ct.audit import Audit
from ichformer.ct.geometry.orientation import orient_lps, slice_normal, tilt_of
from ichformer.ct.geometry.regrid import affine_of_cells, frame_head, remove_tilt, resample_like, slice_origins_mm
from ichformer.ct.volume import Volume


def head(
    *,
    tilt_deg: float = 0.0,
    steps_mm: tuple[float, ...] = (5.0,) * 13,
    rows: int = 72,
    columns: int = 64,
    spacing_mm: tuple[float, float] = (3.0, 3.2),
    center_mm: tuple[float, float, float] = (4.0, -6.0, 30.0),
    radii_mm: tuple[float, float, float] = (62.0, 80.0, 75.0),
) -> tuple[Volume, np.ndarray]:
    """An ellipsoid at 40 HU with an off-centre ball at 70 HU, scanned by a gantry of that tilt; and its mask.

    The slices are stacked along z with x and y of their first voxel fixed, as real scanners do it.
    """
    radians = np.deg2rad(tilt_deg)
    row_axis = np.array([0, np.cos(radians), -np.sin(radians)])
    offsets_mm = np.concatenate([[0], np.cumsum(steps_mm)])
    affine = np.eye(4)
    affine[:3, 0] = np.array([0, 0, 1 / np.cos(radians)]) * np.median(steps_mm)
    affine[:3, 1] = row_axis * spacing_mm[0]
    affine[:3, 2] = [spacing_mm[1], 0, 0]
    middle = affine @ [0, (rows - 1) / 2, (columns - 1) / 2, 0]
    affine[:3, 3] = np.array([0, 0, 30 - offsets_mm.mean() / np.cos(radians)]) - middle[:3]
    is_even = np.ptp(steps_mm) == 0
    volume = Volume(
        hu=np.zeros((len(offsets_mm), rows, columns), np.int16),
        spacing_mm=(float(np.median(steps_mm)), *spacing_mm),
        affine=affine,
        source=tuple(map(str, range(len(offsets_mm)))),
        audit=Audit(tilt_deg=tilt_of(affine), steps_mm=() if is_even else steps_mm),
    )
    hu, mask = scanned(volume, center_mm, radii_mm)
    volume.hu[:] = hu
    return volume, mask


def scanned(volume: Volume, center_mm=(4.0, -6.0, 30.0), radii_mm=(62.0, 80.0, 75.0)) -> tuple[np.ndarray, np.ndarray]:
    """The ellipsoid as it looks on the grid of ``volume``: the truth for any geometry, from the patient's space."""
    points = positions_mm(volume) - center_mm
    inside = np.sqrt(((points / radii_mm) ** 2).sum(-1))
    ball = ((points - [20, 10, 5]) ** 2).sum(-1) < 22**2
    # An edge of 24 mm: on a steep one any interpolation looks wrong.
    hu = -1024 + 1064 * np.clip((1 - inside) * min(radii_mm) / 24, 0, 1)
    hu[(inside < 0.6) & ball] += 30
    return np.rint(hu), ((inside < 0.6) & ball).astype(np.uint8) * 2


def positions_mm(volume: Volume) -> np.ndarray:
    """[S,H,W,3], where every voxel lies."""
    h, w = np.arange(volume.hu.shape[1]), np.arange(volume.hu.shape[2])
    rows, columns = volume.affine[:3, 1], volume.affine[:3, 2]
    in_plane = h[:, None, None] * rows + w[:, None] * columns
    return slice_origins_mm(volume)[:, None, None] + in_plane


STEPS = {"even": (5.0,) * 13, "slabs": (4.0,) * 7 + (1.1,) + (7.0,) * 7}


@settings(max_examples=15, deadline=None)
@given(tilt_deg=st.floats(-28, 28), steps=st.sampled_from(sorted(STEPS)))
def test_shear_of_any_tilt_is_undone(tilt_deg, steps):
    volume, mask = head(tilt_deg=tilt_deg, steps_mm=STEPS[steps])
    box, moved = remove_tilt(volume, mask)
    expected_hu, expected_mask = scanned(box)
    inner = np.zeros(box.hu.shape, bool)
    inner[:, 4:-4, 4:-4] = True
    assert np.abs(box.hu - expected_hu)[inner].mean() < 2
    assert np.median(np.abs(box.hu - expected_hu)[inner]) < 1
    assert moved.shape == box.hu.shape
    agreed = 2 * ((moved == 2) & (expected_mask == 2)).sum() / ((moved == 2).sum() + (expected_mask == 2).sum())
    assert agreed > 0.9
    axes = box.affine[:3, :3] / np.linalg.norm(box.affine[:3, :3], axis=0)
    if volume.audit.tilt_deg:
        np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-9)
        assert [note.code for note in box.audit.notes] == ["tilt_removed"]
    assert box.audit.tilt_deg == tilt_of(box.affine) == 0


def test_removing_tilt_loses_nothing_and_keeps_the_planes():
    volume, mask = head(tilt_deg=20)
    box, moved = remove_tilt(volume, mask)
    # Each column's mass is preserved, because whatever is shifted stays on the picture.
    np.testing.assert_allclose((box.hu + 1024.0).sum(1), (volume.hu + 1024.0).sum(1), atol=0.5 * box.hu.shape[1])
    assert (moved == 2).sum() == (mask == 2).sum()
    np.testing.assert_allclose(slice_normal(box.affine), slice_normal(volume.affine))
    heights = [slice_origins_mm(v) @ slice_normal(v.affine) for v in (volume, box)]
    np.testing.assert_allclose(*heights)


def test_a_level_volume_has_no_tilt_to_remove():
    volume, mask = head()
    same, same_mask = remove_tilt(volume, mask)
    assert same is volume
    assert same_mask is mask


@pytest.mark.parametrize("degrees", [-30, -3.3, 0.1, 14])
def test_tilt_of_has_sign_and_size(degrees):
    assert tilt_of(head(tilt_deg=degrees)[0].affine) == pytest.approx(degrees, abs=1e-3)


@settings(max_examples=15, deadline=None)
@given(
    tilt_deg=st.floats(-25, 25),
    size=st.integers(48, 120),
    field_of_view_mm=st.one_of(st.none(), st.floats(180, 300)),
)
def test_framing_keeps_every_point_of_the_patient(tilt_deg, size, field_of_view_mm):
    volume, mask = head(tilt_deg=tilt_deg)
    framed, moved = frame_head(volume, size=size, field_of_view_mm=field_of_view_mm, mask=mask)
    assert framed.hu.shape == moved.shape == (14, size, size)
    assert framed.spacing_mm[1] == framed.spacing_mm[2]
    np.testing.assert_allclose(framed.spacing_mm[1:], np.linalg.norm(framed.affine[:3, 1:3], axis=0))
    # The ball's centre of mass, in patient coordinates, slice by slice.
    before, after = positions_mm(volume), positions_mm(framed)
    for s in np.flatnonzero((mask == 2).sum((1, 2)) > 40):
        shift = after[s][moved[s] == 2].mean(0) - before[s][mask[s] == 2].mean(0)
        assert np.linalg.norm(shift) < 0.5 * (framed.spacing_mm[1] + volume.spacing_mm[1])
    expected = scanned(framed)[0]
    assert np.abs(framed.hu - expected).mean() < 4


def test_framing_puts_the_head_in_the_middle_and_air_outside():
    volume, _ = head(center_mm=(30, -25, 30))
    framed, _ = frame_head(volume, size=96, field_of_view_mm=240)
    rows, columns = (np.flatnonzero((framed.hu > -300).any(axes)) for axes in ((0, 2), (0, 1)))
    assert (rows[0] + rows[-1]) / 2 == pytest.approx(47.5, abs=2)
    assert (columns[0] + columns[-1]) / 2 == pytest.approx(47.5, abs=2)
    assert framed.hu[:, 0].max() == -1024


def test_the_natural_field_of_view_leaves_ten_millimetres():
    volume, _ = head()
    framed, _ = frame_head(volume, size=128)
    first, last, *_ = head_box(framed.hu, framed.spacing_mm)
    assert first * framed.spacing_mm[1] == pytest.approx(10, abs=4)
    assert (127 - last) * framed.spacing_mm[1] == pytest.approx(10, abs=4)


def test_table_and_headrest_do_not_move_the_frame():
    volume, _ = head(radii_mm=(50, 60, 75), spacing_mm=(1.5, 1.5), rows=160, columns=160)
    expected = head_box(volume.hu, volume.spacing_mm)
    volume.hu[:, 140:145] = 150  # a table of 7 mm
    volume.hu[:, 60:142, 5:9] = 200  # walls of a headrest, joined to the table
    volume.hu[:, 60:142, -9:-5] = 200
    assert head_box(volume.hu, volume.spacing_mm) == pytest.approx(expected, abs=3)


def test_a_picture_without_a_head_is_framed_in_its_middle_and_says_so():
    volume, _ = head()
    volume.hu[:] = -1024
    framed, _ = frame_head(volume, size=32, field_of_view_mm=200)
    assert (framed.hu == -1024).all()
    assert framed.audit.notes[-1].code == "head_not_found"
    middle = [v.affine @ [0, *(np.array(v.hu.shape[1:]) - 1) / 2, 1] for v in (volume, framed)]
    np.testing.assert_allclose(*middle, atol=1e-9)


def test_shrinking_does_not_alias():
    volume, _ = head(rows=256, columns=256, spacing_mm=(0.8, 0.8))
    checks = np.indices((256, 256)).sum(0) % 2
    volume.hu[:] = np.where(volume.hu > 0, 40 + 200 * (2 * checks - 1), -1024)
    framed, _ = frame_head(volume, size=64, field_of_view_mm=205)
    middle = framed.hu[7, 24:40, 24:40]
    assert middle.std() < 5
    assert middle.mean() == pytest.approx(40, abs=3)


@pytest.mark.parametrize("size", [37, 300])
def test_what_is_not_kept_is_not_blurred_into_what_is(size):
    volume, _ = head(rows=128, columns=128, spacing_mm=(1.6, 1.6))
    left = np.broadcast_to(np.arange(128) < 64, volume.hu.shape)
    volume.hu[:] = np.where(left, 60, 1200)
    whole, _ = frame_head(volume, size=size, field_of_view_mm=180)
    framed, _ = frame_head(volume, size=size, field_of_view_mm=180, kept=left)
    assert set(np.unique(framed.hu)) == {-1024, 60}
    assert (framed.hu[whole.hu < 500] == 60).all()
    assert (framed.hu[whole.hu > 700] == -1024).all()
    assert ((whole.hu > 60) & (whole.hu < 1200)).any()  # without it, bone is
    np.testing.assert_array_equal(framed.affine, whole.affine)


@pytest.mark.parametrize("tilt_deg", [0, 18.5])
def test_a_map_of_the_framed_scan_lies_where_it_belongs_on_the_original(tilt_deg):
    volume, _ = head(tilt_deg=tilt_deg, steps_mm=STEPS["slabs"])
    box, _ = remove_tilt(volume)
    framed, _ = frame_head(box, size=96, field_of_view_mm=260)
    laid = resample_like(framed.hu, framed.affine, volume)
    covered = resample_like(np.ones_like(framed.hu), framed.affine, volume) == 1
    assert covered.mean() > 0.9
    assert np.abs(laid - volume.hu)[covered].mean() < 4
    assert (laid[~covered] == 0).all()


def test_coarse_cells_cover_the_whole_picture():
    volume, _ = head(rows=64, columns=64)
    cells = np.arange(14 * 4 * 4, dtype=np.float32).reshape(14, 4, 4) + 1
    laid = resample_like(cells, affine_of_cells(volume.affine, (64, 64), (4, 4)), volume)
    assert laid.min() >= 1
    np.testing.assert_allclose(laid[:, 0, 0], cells[:, 0, 0])
    np.testing.assert_allclose(laid.mean((1, 2)), cells.mean((1, 2)), rtol=1e-5)


def test_maps_of_other_slices_or_other_planes_are_refused():
    volume, _ = head()
    tilted, _ = head(tilt_deg=15)
    with pytest.raises(ValueError, match="13 slices"):
        resample_like(np.zeros((13, 4, 4), np.float32), volume.affine, volume)
    with pytest.raises(ValueError, match="do not run along"):
        resample_like(np.zeros((14, 4, 4), np.float32), tilted.affine, volume)


@given(order=st.permutations(range(3)), flips=st.tuples(*[st.booleans()] * 3), tilt_deg=st.floats(-30, 30))
def test_any_layout_of_axes_is_turned_back(order, flips, tilt_deg):
    volume, _ = head(tilt_deg=tilt_deg, rows=9, columns=7, steps_mm=(5.0,) * 5)
    grid = np.arange(volume.hu.size).reshape(volume.hu.shape)
    turn = np.eye(4)
    turn[:3, :3] = np.eye(3)[:, order]
    scrambled = grid.transpose(order)
    for axis in np.flatnonzero(flips):
        flip = np.eye(4)
        flip[axis, axis], flip[axis, 3] = -1, scrambled.shape[axis] - 1
        turn, scrambled = turn @ flip, np.flip(scrambled, axis)
    back, affine = orient_lps(scrambled, volume.affine @ turn)
    np.testing.assert_array_equal(back, grid)
    np.testing.assert_allclose(affine, volume.affine, atol=1e-9)
