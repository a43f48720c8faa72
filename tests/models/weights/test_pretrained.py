"""load_pretrained: from a name and a file to a model that is built as the weights want it, in one call."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from ichformer.errors import InputError
from ichformer.models.registry import create_model
from ichformer.models.weights.imagenet import imagenet_weights
from ichformer.models.weights.pretrained import load_pretrained
from tests.tiny_weights import tiny_dinov2


@pytest.fixture(scope="module")
def dinov2() -> dict[str, np.ndarray]:
    return tiny_dinov2()


@pytest.mark.slow
def test_dinov2_with_registers_fills_every_number_of_an_encoder_with_other_patches(dinov2, tmp_path, capsys):
    save_file(dinov2, tmp_path / "dinov2.safetensors")
    found = load_pretrained("slice_vit_nano", tmp_path / "dinov2.safetensors", channels=9)
    assert found.layout == "facebookresearch DINOv2 with registers"
    assert found.report.misfits == {}
    assert found.report.numbers == found.report.total
    assert found.report.left == ("mask_token",)
    assert not any(name.startswith("encoder/") for name in found.report.new)
    said = capsys.readouterr().err
    for words in ("dinov2.safetensors", "patches of 14x14 to 8x8, from 3 to 9 channels", "left     mask_token"):
        assert words in said
    x = jnp.zeros((1, 2, 32, 32, 9)), jnp.ones((1, 2), bool), jnp.ones((1, 3))
    shapes = jax.eval_shape(lambda: found.model.apply({"params": found.params}, *x, False))
    assert shapes.scan_logits.shape == (1, 6)


@pytest.mark.slow
def test_a_module_is_taken_as_it_is_and_a_wrong_start_is_one_line(dinov2, tmp_path):
    file = tmp_path / "dinov2.safetensors"
    save_file(dinov2, file)
    with pytest.raises(InputError, match="is of another architecture or size than this model"):
        load_pretrained(create_model("cnn2d_nano"), file)
    with pytest.raises(TypeError, match="takes no norm"):
        load_pretrained(create_model("cnn2d_nano"), file, norm="affine")
    with pytest.raises(InputError, match="there is no such model"):
        load_pretrained("slice_vit_nanoo", file)
    with pytest.raises(InputError, match="take one of efficientnet_lite0"):
        load_pretrained("slice_vit_nano", "imagenet")
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"dinov2\.safetensors: is damaged .* fetch it again"):
        load_pretrained("slice_vit_nano", file)
    file.write_bytes(pickle.dumps(print))
    with pytest.raises(InputError, match="is neither safetensors"):
        load_pretrained("slice_vit_nano", file)


@pytest.mark.slow
def test_imagenet_by_the_name_of_a_model():
    try:
        imagenet_weights("efficientnet_lite0")
    except InputError as error:
        pytest.skip(str(error))
    found = load_pretrained("cnn2d_efficientnet_lite0", "imagenet")
    assert found.model.encoder.norm == "affine"
    assert found.report.numbers == found.report.total
    assert found.report.left == ("_fc.bias", "_fc.weight")
