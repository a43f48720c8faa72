"""Foreign parameters find their place, are changed by known rules, and what was done is said."""

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ichformer.errors import InputError
from ichformer.models.weights.fit import change_channels, fit_array, fit_tree, inflate, resize_positions
from ichformer.models.weights.layouts import registry as layouts
from ichformer.models.weights.layouts.registry import Layout, recognise
from ichformer.models.weights.load import load_weights

RNG = np.random.default_rng(0)


def numbers(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


def convolve(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """[n, *grid, cin] with [*grid, cin, cout], of any rank, without padding; sums in double, whatever is added up."""
    patches = np.lib.stride_tricks.sliding_window_view(x, kernel.shape[:-1], axis=tuple(range(1, x.ndim)))
    return np.tensordot(patches.astype(np.float64), kernel.astype(np.float64), kernel.ndim - 1)


@given(theirs=st.sampled_from([1, 3]), ours=st.integers(1, 12))
def test_a_stem_answers_to_grey_as_it_did(theirs, ours):
    kernel, grey = numbers(3, 3, theirs, 4), numbers(2, 5, 5, 1)
    changed = change_channels(kernel, ours)
    assert changed.shape == (3, 3, ours, 4)
    before, after = convolve(np.repeat(grey, theirs, -1), kernel), convolve(np.repeat(grey, ours, -1), changed)
    np.testing.assert_allclose(after, before, atol=1e-5)


def test_a_stem_keeps_its_colours_where_there_is_room_for_them():
    kernel = numbers(3, 3, 3, 4)
    np.testing.assert_allclose(change_channels(kernel, 9)[:, :, 3:6], kernel / 3, rtol=1e-6)


@given(depth=st.integers(1, 5), inflation=st.sampled_from(["mean", "centre"]))
def test_an_inflated_kernel_answers_to_equal_slices_as_to_one(depth, inflation):
    kernel, x = numbers(3, 3, 2, 4), numbers(1, 6, 6, 2)
    inflated = inflate(kernel, depth, inflation)
    after = convolve(np.repeat(x[:, None], depth, 1), inflated)
    np.testing.assert_allclose(after[:, 0], convolve(x, kernel), atol=1e-5)
    np.testing.assert_array_equal(fit_array("kernel", kernel, inflated.shape, inflation)[0], inflated)


@pytest.mark.parametrize(("theirs", "ours"), [(14, 16), (8, 16), (16, 16)])
def test_patches_of_another_size_say_of_a_resized_picture_what_they_said_of_it(theirs, ours):
    """The first is DINOv2's: no side of a prepared slice is a multiple of 14."""
    kernel, patch = numbers(theirs, theirs, 3, 5), numbers(theirs, theirs, 3)
    resized = np.asarray(jax.image.resize(patch, (ours, ours, 3), "bicubic"))
    fitted, how = fit_array("encoder/patches/kernel", kernel, (ours, ours, 3, 5))
    assert how == ("" if theirs == ours else f"patches of {theirs}x{theirs} to {ours}x{ours}")
    np.testing.assert_allclose(np.tensordot(resized, fitted, 3), np.tensordot(patch, kernel, 3), atol=1e-3)
    # Three windows of three slices, and patches two slices deep.
    deep, how = fit_array("patches/kernel", kernel, (2, ours, ours, 9, 5))
    assert "inflated to 2 slices" in how
    assert "from 3 to 9 channels" in how
    grey = np.broadcast_to(resized.mean(-1)[None, ..., None], (2, ours, ours, 9))
    wanted = np.tensordot(np.broadcast_to(patch.mean(-1)[..., None], patch.shape), kernel, 3)
    np.testing.assert_allclose(np.tensordot(grey, deep, 4), wanted, atol=1e-3)


def test_positions_are_resized_over_the_grid():
    ramp = np.broadcast_to(np.linspace(0, 1, 8, dtype=np.float32)[:, None, None], (8, 8, 2))
    grown = resize_positions(ramp, (16, 4, 2))
    assert grown.shape == (16, 4, 2)
    np.testing.assert_allclose(grown, np.broadcast_to(grown[:, :1, :1], grown.shape), atol=1e-6)
    assert np.all(np.diff(grown[2:-2, 0, 0]) > 0)
    deep = resize_positions(ramp, (3, 8, 8, 2))
    np.testing.assert_allclose(deep, np.broadcast_to(ramp, (3, 8, 8, 2)), atol=1e-6)
    assert resize_positions(ramp, (8, 8, 3)) is None


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [((8, 24), (8, 3, 2, 4)), ((24,), (3, 2, 4)), ((8, 8), (2, 4, 8)), ((2, 4, 8), (8, 8)), ((48, 8), (4, 4, 3, 8))],
)
def test_features_of_heads_are_split_in_order(theirs, ours):
    value = numbers(*theirs)
    np.testing.assert_array_equal(fit_array("kernel", value, ours)[0], value.reshape(ours))


@pytest.mark.parametrize(
    ("leaf", "theirs", "ours"),
    [
        ("kernel", (8, 24), (24, 8)),
        ("kernel", (12, 8), (3, 8, 4)),
        ("kernel", (3, 3, 3, 8), (3, 3, 9, 16)),
        ("kernel", (7, 7, 3, 8), (3, 3, 3, 8)),
        ("kernel", (3, 3, 16, 8), (3, 3, 32, 8)),
        ("bias", (3,), (9,)),
        ("scale", (8,), (16,)),
    ],
)
def test_what_has_no_honest_way_does_not_fit(leaf, theirs, ours):
    assert fit_array(leaf, numbers(*theirs), ours) is None


def model_params(channels: int = 9) -> dict:
    return {
        "encoder": {
            "stem": {"kernel": numbers(3, 3, channels, 4)},
            "block": {"dense": {"kernel": numbers(4, 8), "bias": numbers(8)}},
        },
        "head": {"kernel": numbers(8, 6)},
    }


def test_a_tree_goes_where_its_names_are_and_the_report_says_what_was_done():
    params = model_params()
    tree = model_params(channels=3)["encoder"]
    tree["block"]["dense"]["bias"] = numbers(5)
    tree["extra"] = {"bias": numbers(2)}
    merged, report = fit_tree(params, tree, left=("classifier.weight",))
    np.testing.assert_array_equal(merged["encoder"]["block"]["dense"]["kernel"], tree["block"]["dense"]["kernel"])
    np.testing.assert_array_equal(
        merged["encoder"]["block"]["dense"]["bias"], params["encoder"]["block"]["dense"]["bias"]
    )
    np.testing.assert_array_equal(merged["head"]["kernel"], params["head"]["kernel"])
    assert report.loaded == ("encoder/stem/kernel", "encoder/block/dense/kernel")
    assert report.changed == {"encoder/stem/kernel": "from 3 to 9 channels"}
    assert report.misfits == {"encoder/block/dense/bias": "5 for 8"}
    assert report.left == ("classifier.weight", "encoder/extra/bias")
    assert report.new == ("encoder/block/dense/bias", "head/kernel")
    assert (report.numbers, report.total) == (3 * 3 * 9 * 4 + 32, 3 * 3 * 9 * 4 + 40)
    for said in ("2 arrays, 356 of 364 numbers", "from 3 to 9 channels", "5 for 8", "classifier.weight", "head/kernel"):
        assert said in str(report)


def test_only_one_stem_gets_other_channels():
    """A depth-wise kernel has one channel, too: two that would have to change are of another network."""
    params = {"a": {"kernel": numbers(3, 3, 8, 8)}, "b": {"kernel": numbers(3, 3, 8, 8)}, "c": {"bias": numbers(3)}}
    tree = {"a": {"kernel": numbers(3, 3, 1, 8)}, "b": {"kernel": numbers(3, 3, 1, 8)}, "c": {"bias": numbers(3)}}
    _, report = fit_tree(params, tree)
    assert report.loaded == ("c/bias",)
    assert set(report.misfits) == {"a/kernel", "b/kernel"}


@pytest.fixture
def small_layout(monkeypatch):
    """A library whose network is the encoder of ``model_params``."""

    def convert(source):
        return {"stem": source.conv("conv"), "block": {"dense": source.dense("fc")}}

    layout = Layout(name="test net", marks=("conv.weight", "fc.bias"), convert=convert)
    monkeypatch.setattr(layouts, "LAYOUTS", (layout,))
    tensors = {"conv.weight": numbers(4, 3, 3, 3), "fc.weight": numbers(8, 4), "fc.bias": numbers(8)}
    return {f"module.{name}": value for name, value in tensors.items()} | {"classifier.weight": numbers(6, 8)}


def test_a_file_is_recognised_by_its_names(small_layout, tmp_path):
    np.savez(tmp_path / "weights.npz", **small_layout)
    merged, report, name = load_weights(model_params(), tmp_path / "weights.npz")
    assert name == "test net"
    assert report.left == ("classifier.weight",)
    assert report.new == ("head/kernel",)
    np.testing.assert_array_equal(merged["encoder"]["block"]["dense"]["kernel"], small_layout["module.fc.weight"].T)


def test_files_that_do_not_fit_are_refused(small_layout, tmp_path):
    with pytest.raises(InputError, match=r"named like other, which is no layout we know; take weights of test net"):
        recognise({"other": numbers(2)}, where="w")
    wide = small_layout | {"module.conv.weight": numbers(40, 3, 3, 3), "module.fc.weight": numbers(80, 40)}
    np.savez(tmp_path / "wide.npz", **wide)
    with pytest.raises(InputError, match=r"test net fills 8 of 364 numbers; encoder/stem/kernel has 3x3x3x40 for"):
        load_weights(model_params(), tmp_path / "wide.npz")
    del small_layout["module.fc.weight"]
    np.savez(tmp_path / "part.npz", **small_layout)
    with pytest.raises(InputError, match=r"fc\.weight: lacks a tensor"):
        load_weights(model_params(), tmp_path / "part.npz")
