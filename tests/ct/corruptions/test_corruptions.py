"""Each corruption does what its table says, on objects whose answer is known; all keep geometry, masks and bounds."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from ichformer.ct.anatomy.head import head_box
from ichformer.ct.audit import Audit
from ichformer.ct.corruptions import CORRUPTIONS, SEVERITIES, Scan, corrupt
from ichformer.ct.geometry.orientation import slice_normal, tilt_of
from ichformer.ct.geometry.regrid import remove_tilt, slice_origins_mm
from ichformer.ct.geometry.spacing import labels_of_slabs
from ichformer.ct.io.scans import read_volume
from ichformer.ct.volume import AIR_HU, Volume
from ichformer.pipeline.preparation.config import PrepareConfig
from ichformer.pipeline.preparation.recipe import prepare_volume

BALL_HU = 400
RANDOM = ("dose_noise", "thickness", "kernel", "tilt", "motion", "metal", "hu_shift", "field_of_view", "missing_slices")


def volume_of(hu: np.ndarray, spacing_mm: tuple[float, float, float]) -> Volume:
    affine = np.eye(4)
    affine[:3, :3] = np.array([[0, 0, spacing_mm[2]], [0, spacing_mm[1], 0], [spacing_mm[0], 0, 0]])
    affine[:3, 3] = -90, -110, 5
    names = tuple(f"{s:03d}" for s in range(len(hu)))
    return Volume(hu=hu.astype(np.int16), spacing_mm=spacing_mm, affine=affine, source=names, audit=Audit())


def head(*, slices: int = 24, size: int = 88, pixel_mm: float = 2.5) -> tuple[Volume, np.ndarray]:
    """A skull full of water with a dense ball of 30 mm in it, off its middle, and the ball's mask."""
    z, y, x = np.meshgrid(
        (np.arange(slices) - (slices - 1) / 2) * 5.0,
        *2 * [(np.arange(size) - (size - 1) / 2) * pixel_mm],
        indexing="ij",
    )
    radius = np.hypot(y / 90, x / 75)
    hu = np.where(radius < 1, 900.0, -1000.0)
    hu[radius < 0.93] = 0
    mask = ((z - 10) ** 2 + (y - 20) ** 2 + (x + 15) ** 2 < 15**2).astype(np.uint8)
    hu[mask > 0] = BALL_HU
    return volume_of(hu, (5.0, pixel_mm, pixel_mm)), mask


@pytest.fixture(scope="module")
def ball() -> tuple[Volume, np.ndarray]:
    return head()


def check(scan: Scan, before: Volume) -> None:
    """What holds for every volume that comes out of a corruption."""
    volume = scan.volume
    assert volume.hu.min() >= AIR_HU
    assert volume.hu.max() <= max(3071, before.hu.max())
    np.testing.assert_allclose(np.linalg.norm(volume.affine[:3, 1:3], axis=0), volume.spacing_mm[1:], rtol=1e-9)
    assert volume.affine[:3, 0] @ slice_normal(volume.affine) == pytest.approx(volume.spacing_mm[0], rel=1e-9)
    assert volume.audit.tilt_deg == pytest.approx(tilt_of(volume.affine), abs=2e-3)
    assert scan.weights.shape == (len(volume.hu), len(before.hu))
    np.testing.assert_allclose(scan.weights.sum(1), 1)
    # A slice is called after the old one that it has most of.
    assert volume.source == tuple(before.source[s] for s in scan.weights.argmax(1))
    assert volume.audit.notes[-1].code == "corrupted"
    assert scan.mask is None or scan.mask.shape == volume.hu.shape


@pytest.mark.slow
@pytest.mark.parametrize("name", CORRUPTIONS)
def test_same_seed_same_voxels_and_the_scan_is_left_alone(ball, name):
    volume, mask = ball
    before = volume.hu.copy()
    first, again = (corrupt(volume, name, 5, seed=(1, 2), mask=mask) for _ in range(2))
    np.testing.assert_array_equal(first.volume.hu, again.volume.hu)
    np.testing.assert_array_equal(first.mask, again.mask)
    np.testing.assert_array_equal(volume.hu, before)
    others = [corrupt(volume, name, 5, seed=seed).volume.hu for seed in (1, 4)]
    differ = any(other.shape != first.volume.hu.shape or (other != first.volume.hu).any() for other in others)
    assert differ == (name in RANDOM)


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.parametrize("severity", [1, 5])
def test_the_mask_and_the_patients_coordinates_stay_with_the_ball(ball, name, severity):
    volume, mask = ball
    for seed in (1, 4):  # cut off and small, sharper and smoother
        scan = corrupt(volume, name, severity, seed=seed, mask=mask)
        check(scan, volume)
        if not scan.mask.any():
            assert name == "field_of_view"
            continue
        inside = scan.volume.hu[scan.mask > 0].mean()
        if name == "window_error":
            assert inside == pytest.approx(min(BALL_HU, 40 + CORRUPTIONS[name].levels[severity - 1] / 2), abs=2)
        else:
            assert inside > 0.75 * BALL_HU
        if name not in ("motion", "missing_slices") and not (name == "field_of_view" and seed == 1):
            np.testing.assert_allclose(
                centroid_mm(scan.volume, scan.mask), centroid_mm(volume, mask), atol=0.6 * scan.volume.spacing_mm[1]
            )


def centroid_mm(volume: Volume, mask: np.ndarray) -> np.ndarray:
    slices, rows, columns = np.nonzero(mask)
    return (slice_origins_mm(volume)[slices] + np.stack([rows, columns], 1) @ volume.affine[:3, 1:3].T).mean(0)


def test_seeds_1_and_4_are_cut_off_and_small():
    volume, mask = head()
    cut, small = (corrupt(volume, "field_of_view", 3, seed=seed, mask=mask).volume for seed in (1, 4))
    assert cut.spacing_mm == volume.spacing_mm
    assert small.spacing_mm[1] == pytest.approx(1.34 * volume.spacing_mm[1])


def disc(*, pixel_mm: float, hu: float = 0.0, slices: int = 4, field_mm: float = 220.0) -> Volume:
    size = round(field_mm / pixel_mm)
    at = (np.arange(size) - (size - 1) / 2) * pixel_mm
    picture = np.where(np.hypot(at[:, None], at[None, :]) < 90, hu, -1000)
    return volume_of(np.repeat(picture[None], slices, 0), (5.0, pixel_mm, pixel_mm))


@pytest.mark.parametrize("severity", SEVERITIES)
def test_noise_has_the_level_in_the_middle_and_its_peak_where_the_ramp_meets_the_kernel(severity):
    volume = disc(pixel_mm=0.5)
    level = CORRUPTIONS["dose_noise"].levels[severity - 1]
    noise = corrupt(volume, "dose_noise", severity).volume.hu.astype(float)[:, 160:280, 160:280]
    assert noise.std() == pytest.approx(level, rel=0.06)
    assert abs(noise.mean()) < 0.2 * level
    power = (np.abs(np.fft.fft2(noise - noise.mean((1, 2), keepdims=True))) ** 2).mean(0)
    frequency = np.hypot(*np.meshgrid(*2 * [np.fft.fftfreq(120, 0.5)], indexing="ij"))
    bands = ndimage.mean(power, np.digitize(frequency, np.arange(0.01, 1, 0.06)), range(1, 12))
    assert 0.01 + 0.06 * (np.argmax(bands) + 0.5) == pytest.approx(0.25, abs=0.07)
    assert bands[0] < 0.4 * bands.max()


def test_noise_on_a_coarse_grid_is_what_shrinking_leaves_of_it():
    fine = corrupt(disc(pixel_mm=0.5, slices=8), "dose_noise", 5).volume.hu[:, 160:280, 160:280].astype(float)
    shrunk = fine.reshape(8, 24, 5, 24, 5).mean((2, 4)).std()
    coarse = corrupt(disc(pixel_mm=2.5, slices=24), "dose_noise", 5).volume.hu[:, 32:56, 32:56].std()
    # Means of squares let a little through that lies above the Nyquist frequency, and damp what lies below.
    assert coarse == pytest.approx(shrunk, rel=0.25)
    assert coarse < 0.75 * fine.std()


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize(("seed", "power"), [(1, 1), (4, -1)])
def test_the_kernel_changes_the_transfer_function_at_3_line_pairs(severity, seed, power):
    hu = np.zeros((2, 200, 200), np.int16)
    hu[:, :, 100] = 250
    after = corrupt(volume_of(hu, (5.0, 0.5, 0.5)), "kernel", severity, seed=seed).volume.hu[0, 0]
    row = np.abs(np.fft.fft(after)) / 250
    level = CORRUPTIONS["kernel"].levels[severity - 1]
    assert row[30] == pytest.approx(level**power, rel=0.1)  # 30 periods in 100 mm
    assert row[0] == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("severity", SEVERITIES)
def test_slabs(ball, severity):
    volume, _ = ball
    factor = CORRUPTIONS["thickness"].levels[severity - 1]
    labels = np.zeros((24, 6), np.float32)
    labels[11:15] = 1
    thick = corrupt(volume, "thickness", severity)
    assert thick.volume.spacing_mm[0] == pytest.approx(5 * factor)
    ramp = volume_of(np.broadcast_to(np.arange(24)[:, None, None] * 10, (24, 8, 8)), (5.0, 1.0, 1.0))
    noisy = replace(ramp, hu=np.random.default_rng(0).normal(0, 100, (24, 64, 64)).astype(np.int16))
    slabs = corrupt(noisy, "thickness", severity)
    assert slabs.volume.hu.std() < 100 / np.sqrt(factor) * 1.15
    # A slab shows the mean of what it stands for: on a ramp of 2 HU a mm, what is in its middle.
    heights_mm = slice_origins_mm(slabs.volume)[:, 2] - 5
    np.testing.assert_allclose(corrupt(ramp, "thickness", severity).volume.hu[1:-1, 0, 0], heights_mm[1:-1] * 2, atol=1)
    starts = {float(slice_origins_mm(corrupt(volume, "thickness", severity, seed=s).volume)[0, 2]) for s in range(20)}
    assert starts == {5.0 * (1 + i) for i in range(int(np.ceil(factor)))}
    found = labels_of_slabs(labels, thick.weights)[:, 0]
    assert found.sum() == pytest.approx(4 / factor, abs=1.01)

    share = CORRUPTIONS["missing_slices"].levels[severity - 1]
    fewer = corrupt(volume, "missing_slices", severity)
    assert len(fewer.volume.hu) == 24 - round(share * 24)
    assert fewer.volume.audit.missing_slices == round(share * 24)
    kept = fewer.weights.argmax(1)
    np.testing.assert_array_equal(fewer.volume.hu, volume.hu[kept])
    np.testing.assert_allclose(slice_origins_mm(fewer.volume), slice_origins_mm(volume)[kept], atol=1e-9)
    np.testing.assert_array_equal(labels_of_slabs(labels, fewer.weights), labels[kept])
    if severity > 1:
        assert set(kept) < set(corrupt(volume, "missing_slices", severity - 1).weights.argmax(1))


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("seed", [0, 3])
def test_tilt_is_what_remove_tilt_undoes(ball, severity, seed):
    volume, mask = ball
    soft = replace(volume, hu=ndimage.gaussian_filter(volume.hu.astype(float), (0, 2, 2)).astype(np.int16))
    scan = corrupt(soft, "tilt", severity, seed=seed, mask=mask)
    assert abs(scan.volume.audit.tilt_deg) == pytest.approx(CORRUPTIONS["tilt"].levels[severity - 1], abs=0.01)
    straight, ball_back = remove_tilt(scan.volume, scan.mask)
    start = (np.linalg.solve(straight.affine, soft.affine)[:3, 3]).round(6)
    assert start[[0, 2]] == pytest.approx([0, 0])
    back = ndimage.shift(straight.hu.astype(float), (0, -start[1], 0), order=1, cval=AIR_HU)[:, : soft.hu.shape[1]]
    middle = slice(16, 72)  # what did not slip out of the picture
    assert np.abs(back[8:16, middle] - soft.hu[8:16, middle]).mean() < 10
    assert ball_back.sum() == mask.sum()


def test_motion_moves_runs_of_slices_further_with_every_severity(ball):
    volume, _ = ball
    changes = []
    for severity in SEVERITIES:
        hu = corrupt(volume, "motion", severity, seed=1).volume.hu.astype(float)
        change = np.abs(hu - volume.hu).mean((1, 2))
        assert 8 <= (change > 1).sum() <= 10  # two runs of 40 % of 12 slices; the rest as it was
        # What a head attenuates in all does not depend on where it lies.
        np.testing.assert_allclose(hu.mean((1, 2)), volume.hu.mean((1, 2)), atol=12)
        changes.append(change.mean())
    assert (np.diff(changes) > 0.3 * np.array(changes[:-1])).all()


@pytest.mark.slow
def test_metal_streaks_grow_and_stay_in_the_slices_of_the_rods(ball):
    volume, _ = ball
    changes = [
        corrupt(volume, "metal", severity, seed=1).volume.hu - volume.hu.astype(float) for severity in SEVERITIES
    ]
    hit = (changes[-1] != 0).any((1, 2))
    assert 8 <= hit.sum() <= 15
    water = ndimage.binary_erosion(np.abs(volume.hu) < 50, np.ones((1, 3, 3)), iterations=2)
    beside = water & ~ndimage.binary_dilation(changes[-1] > 300, np.ones((1, 3, 3)), iterations=3)
    streaks = [change[beside & hit[:, None, None]].std() for change in changes]
    assert (np.diff(streaks) > 0).all()
    assert streaks[0] < 3
    assert 10 < streaks[-1] < 40
    for change in changes:
        assert not change[~hit].any()
        assert change.max() > 200


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("seed", range(3))
def test_hu_shift_moves_water_by_its_level_and_air_by_no_more(severity, seed):
    level = CORRUPTIONS["hu_shift"].levels[severity - 1]
    hu = corrupt(disc(pixel_mm=2.0), "hu_shift", severity, seed=seed).volume.hu
    water, air = int(hu[0, 55, 55]), int(hu[0, 0, 0]) + 1000
    assert abs(water) == pytest.approx(level, abs=0.5)
    assert abs(air) <= level
    assert air * water >= 0


@pytest.mark.parametrize("severity", SEVERITIES)
def test_field_of_view(severity):
    volume, _ = head()
    share = CORRUPTIONS["field_of_view"].levels[severity - 1]
    before = np.array(head_box(volume.hu, volume.spacing_mm)).reshape(2, 2)
    cut = corrupt(volume, "field_of_view", severity, seed=1).volume
    after = np.array(head_box(cut.hu, cut.spacing_mm)).reshape(2, 2)
    lost = 1 - np.diff(after) / np.diff(before)
    assert lost.max() == pytest.approx(share, abs=0.04)
    assert lost.min() == pytest.approx(0, abs=0.05)
    small = corrupt(volume, "field_of_view", severity, seed=4).volume
    after = np.array(head_box(small.hu, small.spacing_mm)).reshape(2, 2)
    np.testing.assert_allclose(np.diff(after) * (1 + 2 * share), np.diff(before), atol=6)


@pytest.mark.parametrize("severity", SEVERITIES)
def test_window_error_keeps_255_steps_of_its_window(severity):
    width = CORRUPTIONS["window_error"].levels[severity - 1]
    hu = np.arange(-1024, 3072, dtype=np.int16).reshape(1, 64, 64)
    back = corrupt(volume_of(hu, (5.0, 1.0, 1.0)), "window_error", severity).volume.hu
    low, high = 40 - width / 2, 40 + width / 2
    inside = (hu > low) & (hu < high)
    assert np.abs(back.astype(int) - hu)[inside].max() <= width / 255 / 2 + 0.5
    assert back.max() == high
    assert set(np.unique(back[hu < low])) == {AIR_HU, low}
    assert len(np.unique(back[inside])) <= 256


@pytest.mark.slow
def test_every_corruption_of_the_real_head_as_it_was_read(real_data):
    """Tilted by 18.5 degrees, 4 mm slices below and 7 mm above."""
    config = PrepareConfig(size=96, field_of_view_mm=256.0, remove_tilt=False)
    volume = prepare_volume(read_volume(real_data / "dcm_qa_ct" / "GE"), config)
    brain = (volume.hu > 0) & (volume.hu < 80)
    for name in CORRUPTIONS:
        for seed in (1, 4):
            scan = corrupt(volume, name, 5, seed=seed)
            check(scan, volume)
            if scan.volume.hu.shape == volume.hu.shape:
                change = np.abs(scan.volume.hu.astype(int) - volume.hu)[brain].clip(0, 100).mean()
                assert (change > 1.5) or name == "window_error", name
    assert abs(corrupt(volume, "tilt", 5, seed=1).volume.audit.tilt_deg) != pytest.approx(18.5, abs=1)


@settings(max_examples=40)
@given(
    name=st.sampled_from(sorted(CORRUPTIONS)),
    severity=st.sampled_from(SEVERITIES),
    shape=st.tuples(st.integers(1, 5), st.integers(2, 24), st.integers(2, 24)),
    seed=st.integers(0, 99),
    fill=st.sampled_from(["noise", "air", "padding", "water"]),
)
def test_any_small_volume_comes_out_whole(name, severity, shape, seed, fill):
    values = {"air": -1000, "padding": AIR_HU, "water": 0}
    hu = np.full(shape, values.get(fill, 0), np.int16)
    if fill == "noise":
        hu = np.random.default_rng(seed).integers(-1024, 8000, shape).astype(np.int16)
    volume = volume_of(hu, (5.0, 3.0, 2.0))
    check(corrupt(volume, name, severity, seed=seed, mask=(hu > 50).astype(np.uint8)), volume)


def test_an_unknown_name_or_severity_is_refused(ball):
    with pytest.raises(ValueError, match="dose_noise"):
        corrupt(ball[0], "fog", 1)
    with pytest.raises((ValueError, TypeError)):
        corrupt(ball[0], "tilt", 6)
