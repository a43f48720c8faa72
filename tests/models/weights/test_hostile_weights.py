"""Weights with the right names and the wrong numbers behind them: one line, little memory, never a broken model."""

import numpy as np
import pytest
from safetensors.numpy import save_file

from ichformer.errors import InputError
from ichformer.models.weights.files import read_tensors
from ichformer.models.weights.fit import fit_array
from ichformer.models.weights.layouts.registry import recognise
from ichformer.models.weights.load import load_weights
from tests.models.weights.test_files import VALUES, Storage, tensor, write_legacy, write_zip

RNG = np.random.default_rng(0)


def gru() -> dict[str, np.ndarray]:
    """torch's names for a GRU of one layer that reads both ways."""
    shapes = {"weight_ih": (12, 4), "weight_hh": (12, 4), "bias_ih": (12,), "bias_hh": (12,)}
    return {
        f"{part}_{end}": RNG.normal(size=shape).astype(np.float32)
        for part, shape in shapes.items()
        for end in ("l0", "l0_reverse")
    }


def resnet() -> dict[str, np.ndarray]:
    """torchvision's names for a ResNet of one block."""
    kernels = {"conv1.weight": (8, 3, 7, 7), "layer1.0.conv1.weight": (8, 8, 3, 3)}
    norms = [f"{bn}.{part}" for bn in ("bn1", "layer1.0.bn1") for part in ("weight", "bias", "running_mean")]
    found = {name: RNG.normal(size=shape).astype(np.float32) for name, shape in kernels.items()}
    found |= {name: np.ones(8, np.float32) for name in norms}
    return found | {f"{bn}.running_var": np.ones(8, np.float32) for bn in ("bn1", "layer1.0.bn1")}


def load(tmp_path, tensors, make):
    whole = recognise(make(), where="here")
    save_file({name: np.ascontiguousarray(array) for name, array in tensors.items()}, tmp_path / "w.safetensors")
    return load_weights(whole.layout.convert(whole.source), tmp_path / "w.safetensors")


@pytest.mark.parametrize("make", [gru, resnet])
def test_whole_ones_are_loaded(tmp_path, make):
    assert not load(tmp_path, make(), make)[1].new


@pytest.mark.parametrize(
    ("make", "name", "array"),
    [
        (gru, "bias_hh_l0", np.zeros(7, np.float32)),
        (gru, "bias_hh_l0", np.ones(1, np.float32)),
        (resnet, "bn1.bias", np.ones(1, np.float32)),
        (resnet, "conv1.weight", np.zeros(8, np.float32)),
        (resnet, "bn1.running_var", np.ones(24, np.float32)),
        (resnet, "bn1.weight", np.zeros((0, 2**20, 2**20), np.float32)),
    ],
)
def test_tensors_that_do_not_go_together_are_one_line(tmp_path, make, name, array):
    with pytest.raises(InputError, match="its tensors do not go together") as refused:
        load(tmp_path, make() | {name: array}, make)
    assert str(refused.value).isprintable()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_none_are_refused(tmp_path, value):
    tensors = gru()
    tensors["weight_hh_l0"][3, 2] = value
    with pytest.raises(InputError, match=r"infinite numbers, or none, where forward0/state would come from"):
        load(tmp_path, tensors, gru)


def test_a_negative_variance_is_refused(tmp_path):
    """Its root is no number, and the model would say nothing but that."""
    with pytest.raises(InputError, match="infinite numbers, or none, where stem_norm/"):
        load(tmp_path, resnet() | {"bn1.running_var": -np.ones(8, np.float32)}, resnet)


def test_a_kernel_of_huge_patches_does_not_fit():
    """Resizing it would take memory with the square of its pixels: here 10 TB."""
    kernel = np.zeros((1300, 1300, 1, 1), np.float32)
    assert fit_array("encoder/patches/kernel", kernel, (16, 16, 1, 1)) is None
    assert fit_array("encoder/patches/kernel", np.zeros((0, 4, 1, 1), np.float32), (16, 16, 1, 1)) is None
    assert fit_array("encoder/patches/kernel", kernel[:4, :4], (2, 2, 1, 1)) is not None


@pytest.mark.parametrize("write", [write_zip, write_legacy])
def test_one_storage_under_a_million_names_takes_no_memory(tmp_path, write):
    storage = Storage(VALUES, "0")
    tied = {f"weight{i}": tensor(storage, (3, 4), (4, 1)) for i in range(3)}
    assert len(read_tensors(write(tmp_path / "tied.pt", tied, {"0": VALUES.tobytes()}))) == 3
    many = {f"weight{i}": tensor(storage, (3, 4), (4, 1)) for i in range(30)}
    with pytest.raises(InputError, match="share their storages too often"):
        read_tensors(write(tmp_path / "many.pt", many, {"0": VALUES.tobytes()}))
