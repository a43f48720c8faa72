"""MaxViT beside torchvision's: outputs and gradients of every parameter."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ichformer.models.encoders.maxvit import MaxViT
from ichformer.models.encoders.resnet import IMAGENET_MEAN, IMAGENET_STD
from ichformer.models.weights.fit import fit_tree
from ichformer.models.weights.layouts.maxvit import torchvision_maxvit
from ichformer.models.weights.layouts.registry import recognise
from ichformer.models.weights.source import Source, Tree
from tests.parity.compare import assert_parity, randomise, tensors_of
from tests.parity.reference import Installed, torch

HEAD_WIDTH = 8
SIZES = {"stem_channels": 8, "partition_size": 2, "block_channels": [16], "block_layers": [2], "head_dim": HEAD_WIDTH}


def theirs():
    maxvit = Installed("torchvision.models.maxvit")
    return randomise(maxvit.MaxVit(input_size=(32, 32), stochastic_depth_prob=0.0, num_classes=2, **SIZES))


def layout(source: Source) -> Tree:
    """Gradients of our queries are ``sqrt(heads)`` times theirs, where the queries themselves are a part of theirs."""
    tree = torchvision_maxvit(source)
    if type(source) is Source:
        return tree
    for part in tree.values():
        if "qkv" in part:
            heads = part["relative_bias"].shape[-1]
            for name in ("kernel", "bias"):
                part["qkv"][name][..., 0, :, :] *= heads
    return tree


def features(module, x: np.ndarray):
    y = module.stem(torch.from_numpy(np.moveaxis((x - IMAGENET_MEAN) / IMAGENET_STD, -1, 1)))
    for block in module.blocks:
        y = block(y)
    return y.permute(0, 2, 3, 1)


@pytest.mark.filterwarnings("ignore")
def test_it_is_torchvisions_maxvit(reference):
    encoder = MaxViT((16,), (2,), 8, 2, HEAD_WIDTH, "affine")
    x = np.random.default_rng(0).uniform(size=(2, 32, 32, 3)).astype(np.float32)
    names = reference.tensors(lambda: tensors_of(theirs()))
    assert_parity(
        reference,
        ours=lambda params, x: encoder.apply({"params": params}, x, train=False),
        layout=layout,
        theirs=theirs,
        run=lambda module: features(module, x),
        inputs=(jnp.asarray(x),),
        left=tuple(name for name in names if name.startswith("classifier.")),
    )


@pytest.mark.full
@pytest.mark.filterwarnings("ignore")
def test_its_weights_start_a_model_of_other_windows():
    """The published ones have sets of 7 x 7 tokens, ours of 8 x 8: tables of offsets are resized."""
    tensors = tensors_of(theirs())
    found = recognise({"model." + name: value for name, value in tensors.items()}, where="here")
    assert found.layout.convert is torchvision_maxvit
    encoder = MaxViT((16,), (2,), 8, 3, HEAD_WIDTH, "affine")
    shapes = jax.eval_shape(lambda: encoder.init(jax.random.key(0), jnp.zeros((1, 24, 24, 3)), train=False))["params"]
    params = jax.tree.map(lambda shape: np.zeros(shape.shape, shape.dtype), shapes)
    merged, report = fit_tree({"encoder": params}, found.layout.convert(found.source), left=found.left)
    assert report.numbers == report.total
    assert not report.misfits
    table, wider = (
        layout(Source(tensors))["stage0_block0_grid"]["relative_bias"],
        merged["encoder"]["stage0_block0_grid"],
    )
    assert wider["relative_bias"].shape == (1, 5, 5, 2)
    np.testing.assert_allclose(wider["relative_bias"][0, 2, 2], table[0, 1, 1], atol=1e-6)
