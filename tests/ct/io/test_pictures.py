import numpy as np
import pytest
from PIL import Image

from ichformer.ct.io.pictures import PictureStack, order_pictures, pairs_to_compare, read_pictures
from ichformer.ct.io.scans import find_scans, read_volume
from ichformer.ct.windows import WINDOWS, apply_windows
from ichformer.errors import InputError
from tests.ct.builders import ramp, write_series


def head(side=32) -> np.ndarray:
    """A bright ring round grey of every value, a black hole inside, black outside."""
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    radius = np.hypot(y, x)
    grey = np.where(radius < side * 0.35, (np.arange(side * side) % 200 + 20).reshape(side, side), 255)
    grey[radius > side * 0.42] = 0
    grey[radius < 2] = 0
    return grey.astype(np.uint8)


def write(path, grey=None, mode="L", **options):
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(head() if grey is None else grey).convert(mode).save(path, **options)
    return path


def noted(volume) -> set[str]:
    return {note.code for note in volume.audit.notes}


def test_grey_becomes_the_hu_of_the_brain_window_and_says_so(tmp_path):
    volume = read_volume(write(tmp_path / "a.png"))
    inside = volume.hu[0] > -1024
    np.testing.assert_array_equal(volume.hu[0][inside], np.rint(head()[inside] * (80 / 255)))
    # Back through the same window it is the same picture, to half a HU.
    again = apply_windows(volume.hu, (WINDOWS["brain"],))[0, ..., 0] * 255
    assert np.abs(again - head()).max() < 1.6
    assert noted(volume) == {"display_window", "window_estimated", "spacing_assumed", "orientation_assumed"}


def test_black_at_the_border_is_air_and_black_inside_is_water(tmp_path):
    hu = read_volume(write(tmp_path / "a.png")).hu[0]
    assert hu[0, 0] == hu[-1, 5] == -1024
    assert hu[15, 15] == hu[16, 16] == 0


@pytest.mark.parametrize(
    ("name", "mode", "options"),
    [("a.png", "RGB", {}), ("a.tif", "L", {}), ("a.png", "RGBA", {}), ("a.jpg", "L", {"quality": 98})],
)
def test_formats_give_the_same_volume(tmp_path, name, mode, options):
    plain = read_volume(write(tmp_path / "plain" / "p.png"))
    other = read_volume(write(tmp_path / name, mode=mode, **options))
    at_edge = 4 if name.endswith("jpg") else 0
    assert np.abs(np.maximum(other.hu, 0).astype(int) - np.maximum(plain.hu, 0)).max() <= at_edge


def test_a_folder_is_one_scan_in_the_order_of_its_numbers(tmp_path):
    for i in (10, 9, 1, 2):
        write(tmp_path / "scan" / f"slice{i}.png", np.full((8, 8), 10 * i, np.uint8))
    (scan,) = find_scans(tmp_path).series
    volume = read_volume(scan)
    assert volume.source == ("slice1.png", "slice2.png", "slice9.png", "slice10.png")
    assert volume.hu[:, 4, 4].tolist() == [3, 6, 28, 31]
    assert volume.spacing_mm == pytest.approx((5, 230 / 8, 230 / 8))
    np.testing.assert_allclose(volume.affine @ [1, 2, 3, 1], [3 * 230 / 8, 2 * 230 / 8, 5, 1])


def test_pages_of_a_tiff_are_slices(tmp_path):
    pages = [Image.fromarray(head() // k) for k in (1, 2, 3)]
    pages[0].save(tmp_path / "scan.tif", save_all=True, append_images=pages[1:])
    volume = read_volume(tmp_path / "scan.tif")
    assert volume.hu.shape == (3, 32, 32)
    assert volume.source == ("scan.tif", "scan.tif#2", "scan.tif#3")


def test_what_cannot_be_a_brain_window_is_refused(tmp_path):
    colour = np.zeros((8, 8, 3), np.uint8)
    colour[2:6, 2:6] = (200, 30, 30)
    Image.fromarray(colour).save(tmp_path / "colour.png")
    Image.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8) * 900).save(tmp_path / "deep.png")
    (tmp_path / "broken.png").write_bytes(write(tmp_path / "whole.png").read_bytes()[:60])
    for name, message in (
        ("colour", "is coloured"),
        ("deep", "has 16 bits"),
        ("broken", "cannot be read as a picture"),
    ):
        with pytest.raises(InputError, match=message):
            read_volume(tmp_path / f"{name}.png")
    write(tmp_path / "mixed" / "1.png")
    write(tmp_path / "mixed" / "2.png", head(16))
    with pytest.raises(InputError, match="16 x 16, the one before 32 x 32"):
        read_volume(tmp_path / "mixed")


def test_pictures_and_nifti_beside_dicom_are_set_aside(tmp_path):
    write_series(tmp_path / "scan", ramp())
    write(tmp_path / "scan" / "drawing.png")
    (tmp_path / "mask.nii.gz").write_bytes(b"whatever")
    found = find_scans(tmp_path)
    assert len(found.series) == 1
    assert {file.path.name: file.code for file in found.set_aside} == {
        "drawing.png": "other_format",
        "mask.nii.gz": "other_format",
    }


def test_order_is_by_number():
    from pathlib import Path

    names = [Path(n) for n in ("b2.png", "a10.png", "a9.png", "c.png", "a9b1.png")]
    assert [file.name for file in order_pictures(names)] == ["a9.png", "a9b1.png", "a10.png", "b2.png", "c.png"]


def test_real_slices(real_data):
    """99 slices of different sizes: each reads on its own, the folder as one scan does not."""
    files = sorted((real_data / "real_ich_slices").glob("*.png"))
    for file in files[::10]:
        volume = read_pictures(PictureStack(files=(file,)))
        assert volume.hu.min() >= -1024
        assert "window_estimated" in noted(volume)
    with pytest.raises(InputError, match="keep one scan a folder"):
        read_volume(real_data / "real_ich_slices")


@pytest.mark.parametrize(
    "names", [("a_{}", "b_{}"), ("p1_slice{}", "p2_slice{}"), ("{}_brain", "{}_bone"), ("{}", "{} mask")]
)
def test_two_scans_in_one_folder_are_no_stack(tmp_path, names):
    for name in names:
        for number in range(1, 5):
            write(tmp_path / f"{name.format(f'{number:03d}')}.png", head())
    with pytest.raises(InputError, match=r"holds the slices of several scans, such as .*; keep one scan a folder"):
        read_volume(tmp_path)


def test_names_that_count_on_are_one_stack(tmp_path):
    for number in range(1, 9):
        write(tmp_path / f"{'lower' if number < 5 else 'upper'}_{number}.png", head())
    assert read_volume(tmp_path).hu.shape[0] == 8


def test_thousands_of_series_of_names_need_few_comparisons():
    """Series whose numbers follow on each other, or which share the two commonest ones, are not compared."""
    count = 5_000
    one_after_the_other = [{3 * i, 3 * i + 1, 3 * i + 2} for i in range(count)]
    share_two = [{-1, -2, 2 * i, 2 * i + 1} for i in range(count)]
    for sets in (one_after_the_other, share_two):
        assert list(pairs_to_compare(sets, least=3)) == []
        pairs = list(pairs_to_compare([*sets, sets[17]], least=3))
        assert pairs == [(17, count)]


def test_all_pairs_that_share_three_numbers_are_compared():
    rng = np.random.default_rng(0)
    sets = [set(rng.choice(40, size=rng.integers(1, 9), replace=False).tolist()) for _ in range(200)]
    compared = set(pairs_to_compare(sets, least=3))
    wanted = {(i, j) for j in range(200) for i in range(j) if len(sets[i] & sets[j]) >= 3}
    assert wanted <= compared
    assert len(compared) < 0.6 * 200 * 199 / 2
