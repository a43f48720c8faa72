"""Display pictures of a phantom in many windows: the brain is found, the window is given or estimated and said."""

import functools
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from ichformer.ct.anatomy.brain import brain_mask, keep_brain
from ichformer.ct.audit import Audit
from ichformer.ct.io.display import WindowHU
from ichformer.ct.io.pictures import PictureStack, read_pictures
from ichformer.ct.io.scans import read_volume
from ichformer.ct.phantom import SITES, Phantom, make_phantom
from ichformer.ct.volume import AIR_HU
from ichformer.errors import InputError
from tests.ct.builders import ramp, write_series

WINDOWS = {"brain": (0, 80), "subdural": (-20, 180), "stroke": (20, 60), "ctich": (-20, 100), "soft": (-150, 230)}


@functools.cache
def phantom() -> Phantom:
    return make_phantom(55, site=replace(SITES["cedar"], step_mm=1.8), subtypes=("intraparenchymal",))


def widest() -> int:
    return int(phantom().cavity.sum((1, 2)).argmax())


def shown(window: WindowHU, slices=slice(None), scale: int = 255) -> np.ndarray:
    """Greys of the phantom's slices."""
    low, high = window
    level = ((phantom().volume.hu[slices] - low) / (high - low)).clip(0, 1)
    return np.rint(level * scale).astype(np.uint8 if scale == 255 else np.uint16)


def saved(folder, greys, mode=None) -> PictureStack:
    files = []
    for i, grey in enumerate(greys):
        files.append(folder / f"{i:03d}.png")
        picture = Image.fromarray(grey)
        (picture.convert(mode) if mode else picture).save(files[-1])
    return PictureStack(files=tuple(files))


def dice(a, b) -> float:
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


def codes(volume) -> set[str]:
    return {note.code for note in volume.audit.notes}


def one_slice() -> np.ndarray:
    return phantom().cavity[widest() : widest() + 1]


def one_picture(window: WindowHU = (0, 80), scale: int = 255) -> np.ndarray:
    return shown(window, slice(widest(), widest() + 1), scale)


@pytest.mark.slow
@pytest.mark.parametrize("window", WINDOWS.values(), ids=WINDOWS)
def test_the_brain_is_found_in_any_window_that_is_given(tmp_path, window):
    volume = read_pictures(saved(tmp_path, one_picture(window)), window_hu=window)
    assert dice(brain_mask(volume), one_slice()) > 0.95
    assert volume.audit.window_hu == window
    truth = phantom().volume.hu[widest()].clip(*window)
    inside = one_slice()[0]
    assert np.abs(volume.hu[0] - truth)[inside].max() <= np.ceil((window[1] - window[0]) / 510)
    assert "window_estimated" not in codes(volume)


@pytest.mark.parametrize("window", WINDOWS.values(), ids=WINDOWS)
def test_the_brain_is_found_in_any_window_that_is_not(tmp_path, window):
    volume = read_pictures(saved(tmp_path, one_picture(window)))
    assert dice(brain_mask(volume), one_slice()) > 0.95
    assert "window_estimated" in codes(volume)
    # The estimate brings grey and white matter where they belong, though it cannot tell windows that are alike.
    assert 24 < np.median(volume.hu[one_slice()]) < 42


@pytest.mark.parametrize("window", [WINDOWS["brain"], WINDOWS["subdural"], WINDOWS["soft"]])
def test_windows_that_are_unlike_are_told_apart(tmp_path, window):
    volume = read_pictures(saved(tmp_path, one_picture(window)))
    assert volume.audit.window_hu == window
    (note,) = [note for note in volume.audit.notes if note.code == "window_estimated"]
    assert f"{window[0]} to {window[1]} HU" in note.text
    assert "--window LOW HIGH" in note.text


@pytest.mark.slow
def test_a_whole_stack_in_the_brain_window(tmp_path):
    every = slice(None, None, 2)
    cavity, hu, (z, y, x) = phantom().cavity[every], phantom().volume.hu[every], phantom().volume.spacing_mm
    volume = read_pictures(saved(tmp_path, shown((0, 80), every)), window_hu=(0, 80))
    mask = brain_mask(replace(volume, spacing_mm=(2 * z, y, x)))
    assert dice(mask, cavity) > 0.95
    # What is lost lies where the vault's slope makes a voxel white.
    assert mask[cavity & (hu < 60)].mean() > 0.95


@pytest.mark.parametrize("window", [(-800, 2000), (-450, 1050)])
def test_a_bone_window_is_refused_unless_it_is_given(tmp_path, window):
    stack = saved(tmp_path, one_picture(window))
    with pytest.raises(InputError, match=r"as a bone window does.*--window LOW HIGH"):
        read_pictures(stack)
    volume = read_pictures(stack, window_hu=window)
    assert dice(brain_mask(volume), one_slice()) > 0.95


def test_greys_that_are_upside_down_are_turned_round(tmp_path):
    plain = read_pictures(saved(tmp_path, one_picture()))
    turned = read_pictures(saved(tmp_path, 255 - one_picture()))
    assert "greys_inverted" in codes(turned)
    assert "greys_inverted" not in codes(plain)
    np.testing.assert_array_equal(turned.hu, plain.hu)


def test_letters_and_frames_do_not_matter(tmp_path):
    greys = one_picture()
    greys[:, :2] = greys[:, -2:] = 255
    greys[:, :, :2] = greys[:, :, -2:] = 255
    greys[:, 10:22, 8:14] = 255
    volume = read_pictures(saved(tmp_path, greys))
    assert dice(brain_mask(volume), one_slice()) > 0.95
    assert (volume.hu[0, :2] == AIR_HU).all()


def test_a_cropped_picture(tmp_path):
    rows, columns = np.flatnonzero(one_slice().any((0, 2))), np.flatnonzero(one_slice().any((0, 1)))
    # The skull is cut off at both sides, in front and behind only its inner half is left.
    box = np.s_[:, rows[0] - 2 : rows[-1] + 3, columns[0] + 3 : columns[-1] - 2]
    volume = read_pictures(saved(tmp_path, one_picture()[box]))
    assert dice(brain_mask(volume), one_slice()[box]) > 0.95


def test_a_picture_of_a_picture(tmp_path):
    """On film black is grey and white is not quite white."""
    volume = read_pictures(saved(tmp_path, (40 + one_picture() * 0.75).astype(np.uint8)))
    assert dice(brain_mask(volume), one_slice()) > 0.95
    assert "grey 40 to 231 was taken as" in str(volume.audit.notes[0])
    assert 24 < np.median(volume.hu[one_slice()]) < 42


def test_colour_files_of_grey_and_16_bits(tmp_path):
    plain = read_pictures(saved(tmp_path, one_picture()))
    np.testing.assert_array_equal(read_pictures(saved(tmp_path, one_picture(), mode="RGB")).hu, plain.hu)
    deep = read_pictures(saved(tmp_path, one_picture(scale=65535)))
    assert np.abs(deep.hu[one_slice()].astype(int) - plain.hu[one_slice()]).max() <= 1
    assert deep.audit.window_hu == plain.audit.window_hu


def test_16_bits_that_are_not_for_the_eye_need_their_scale(tmp_path):
    raw = (phantom().volume.hu[widest()][None].astype(np.int32) + 32768).astype(np.uint16)
    stack = saved(tmp_path, raw)
    with pytest.raises(InputError, match=r"has 16 bits.*--window LOW HIGH"):
        read_pictures(stack)
    volume = read_pictures(stack, window_hu=(-32768, 32767))
    np.testing.assert_array_equal(volume.hu[one_slice()], phantom().volume.hu[widest()][None][one_slice()])
    assert dice(brain_mask(volume), one_slice()) > 0.95


@pytest.mark.slow
def test_the_order_of_slices_does_not_change_the_window(tmp_path):
    greys = shown((0, 80), slice(None, None, 8))
    assert (
        read_pictures(saved(tmp_path, np.roll(greys, 2, axis=0))).audit.window_hu
        == read_pictures(saved(tmp_path, greys)).audit.window_hu
    )


@pytest.mark.parametrize("kind", ["black", "white", "noise", "disc", "blanked"])
def test_what_holds_no_brain_is_doubtful_and_stays_without(tmp_path, kind):
    grey = np.zeros((128, 128), np.uint8)
    y, x = np.mgrid[-64:64, -64:64]
    if kind == "white":
        grey[:] = 255
    elif kind == "noise":
        grey = np.random.default_rng(0).integers(0, 256, grey.shape).astype(np.uint8)
    elif kind == "disc":
        grey[np.hypot(y, x) < 50] = 110  # no bone round it
    elif kind == "blanked":
        grey[8:24, 8:12] = 255  # letters alone
    volume = read_pictures(saved(tmp_path, grey[None]))
    assert not brain_mask(volume).any()
    assert "window_doubtful" in codes(volume)
    assert "brain_not_found" in codes(keep_brain(volume))


def test_a_brain_that_is_kept_has_no_white_edge(tmp_path):
    kept = keep_brain(read_pictures(saved(tmp_path, one_picture()), window_hu=(0, 80)))
    assert np.count_nonzero(kept.hu == 80) < 0.02 * np.count_nonzero(kept.hu > AIR_HU)
    assert kept.audit.window_hu == (0, 80)


@pytest.mark.parametrize("window", [(80, 0), (40, 40), (float("nan"), 80), (-1e9, 80)])
def test_a_window_has_two_ends_in_order(tmp_path, window):
    with pytest.raises(InputError, match=r"is no window.*such as 0 80"):
        read_pictures(saved(tmp_path, one_picture()), window_hu=window)


def test_a_window_is_for_pictures_only(tmp_path):
    write_series(tmp_path / "scan", ramp())
    with pytest.raises(InputError, match="leave out the window"):
        read_volume(tmp_path / "scan", window_hu=(0, 80))


def test_the_window_survives_a_record():
    audit = Audit(thickness_mm=5.0, window_hu=(0.0, 80.0))
    assert Audit.from_json(audit.to_json()) == audit
    earlier = {name: value for name, value in audit.to_json().items() if name != "window_hu"}
    assert Audit.from_json(earlier).window_hu is None


def test_every_real_slice_has_a_brain(real_data):
    files = sorted((real_data / "real_ich_slices").glob("*.png"))
    for file in files[::20]:
        volume = read_pictures(PictureStack(files=(file,)))
        assert brain_mask(volume).any()
        assert "window_estimated" in codes(volume)


def test_a_ring_of_bone_as_small_as_a_vertebra_is_no_skull(tmp_path):
    y, x = np.mgrid[-128:128, -128:128] * (230 / 256)
    around = np.hypot(y, x)
    grey = np.select([around < 22, around < 32, around < 100], [110, 255, 120], 0).astype(np.uint8)
    volume = read_pictures(saved(tmp_path, grey[None]))
    assert not brain_mask(volume).any()
    assert "window_doubtful" in codes(volume)


@pytest.mark.slow
@pytest.mark.parametrize("given", [None, (0, 80)])
def test_windows_that_differ_from_slice_to_slice_are_noted(tmp_path, given):
    chosen = slice(widest() - 4, widest() + 4)
    greys = shown((0, 80), chosen)
    alike = read_pictures(saved(tmp_path, greys), window_hu=given)
    assert "window_doubtful" not in codes(alike)
    greys[::2] = shown((-20, 180), chosen)[::2]
    mixed = read_pictures(saved(tmp_path, greys), window_hu=given)
    assert "from slice to slice" in {note.code: note.text for note in mixed.audit.notes}["window_doubtful"]
