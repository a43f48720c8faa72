"""EfficientNet-Lite with its ImageNet weights beside the network that they were published with."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

torch = pytest.importorskip("torch")
reference = pytest.importorskip("efficientnet_lite_pytorch")

from ichformer.models.encoders.registry import build_encoder
from ichformer.models.weights.files import read_tensors
from ichformer.models.weights.imagenet import imagenet_weights
from ichformer.models.weights.layouts.efficientnet import pytorch_efficientnet
from ichformer.models.weights.source import Source
from tests.parity.compare import OUTPUT_TOLERANCE

pytestmark = pytest.mark.full


@pytest.mark.parametrize(
    ("size", "pixels"),
    [(0, 224), (1, 240), (2, 260)],
)
def test_features_are_those_of_the_reference(size, pixels):
    path = imagenet_weights(f"efficientnet_lite{size}")
    theirs = reference.EfficientNet.from_name(f"efficientnet-lite{size}")
    theirs.load_state_dict(torch.load(path, weights_only=True))
    theirs.eval()
    x = np.random.default_rng(0).integers(0, 256, (1, pixels, pixels, 3)).astype(np.float32)
    with torch.no_grad():
        expected = theirs.extract_features(torch.from_numpy(((x - 127) / 128).transpose(0, 3, 1, 2).copy()))
    encoder = build_encoder(f"efficientnet_lite{size}", norm="affine")
    params = pytorch_efficientnet(Source(read_tensors(path)))
    ours = jax.jit(lambda params, x: encoder.apply({"params": params}, x, train=False))(params, jnp.asarray(x / 255))
    assert expected.abs().max() > 1
    np.testing.assert_allclose(ours.transpose(0, 3, 1, 2), expected, atol=OUTPUT_TOLERANCE, rtol=0)
