"""The encoders of a slice, at tiny widths: what the registry's sizes have in common with them is their code."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ichformer.errors import InputError
from ichformer.models.encoders.convnext import ConvNext
from ichformer.models.encoders.efficientnet import EfficientNet, Stage
from ichformer.models.encoders.registry import ENCODERS, build_encoder
from ichformer.models.encoders.resnet import ResNet
from ichformer.models.layers.convolution import Conv
from ichformer.models.layers.dilation import dilated
from tests.models.gradients import silent_parameters

TINY = {
    "resnet": ResNet((1, 1), (8, 16)),
    "bottleneck": ResNet((1, 1), (32, 64), bottleneck=True),
    "affine": ResNet((1, 1), (8, 16), norm="affine"),
    "convnext": ConvNext((1, 1), (8, 16), drop_path=0.5),
    "efficientnet": EfficientNet((Stage(16, 1, 3, 1, 1), Stage(24, 2, 5, 2, 2)), stem=8, head=32, drop_path=0.5),
}


@functools.cache
def loss_and_gradients(name: str, train: bool = False):
    def loss(params, x, rng):
        grid = TINY[name].apply({"params": params}, x, train=train, rngs={"dropout": rng} if train else None)
        return jnp.sum(jnp.square(grid + 0.3) * jnp.arange(grid.shape[-1]).reshape(1, 1, 1, -1)), grid

    return jax.jit(jax.value_and_grad(loss, has_aux=True))


@functools.cache
def params_of(name: str):
    params = jax.jit(lambda: TINY[name].init(jax.random.key(0), jnp.zeros((1, 32, 32, 3)), train=False))()["params"]
    if name != "convnext":
        return params
    # LayerScale starts so small that its branch would hardly show.
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: jnp.ones_like(leaf) if path[-1].key == "scale" else leaf, params
    )


X = jax.random.uniform(jax.random.key(1), (2, 21, 34, 3))  # a size that no stride divides


@pytest.mark.parametrize(
    "name", [name if name == "resnet" else pytest.param(name, marks=pytest.mark.slow) for name in TINY]
)
def test_any_size_and_a_gradient_for_every_parameter(name):
    (_, grid), grads = loss_and_gradients(name)(params_of(name), X, jax.random.key(0))
    stride = 4 if name == "efficientnet" else 8
    assert grid.shape[:3] == (2, -(-21 // stride), -(-34 // stride))
    assert silent_parameters(grads) == set()


@pytest.mark.parametrize("name", ["convnext", pytest.param("efficientnet", marks=pytest.mark.slow)])
def test_drop_path_in_training_alone(name):
    params = params_of(name)
    step = loss_and_gradients(name, train=True)
    first, *others, again = (step(params, X, jax.random.key(seed))[0][1] for seed in (*range(8), 0))
    np.testing.assert_array_equal(first, again)
    # One branch of two slices is at stake: two seeds draw the same one time in four, eight one in 16,000.
    assert max(np.abs(first - other).max() for other in others) > 1e-3


@pytest.mark.slow
def test_counts_are_those_of_the_papers_networks():
    """torchvision's and timm's counts, less the classifiers of 1000 classes."""
    expected = {
        "resnet18": 11_689_512 - 513_000,
        "resnet50": 25_557_032 - 2_049_000,
        "convnext_t": 28_589_128 - 769_000,
        "efficientnet_lite0": 4_652_008 - 1_281_000,
        "efficientnet_lite1": 5_416_680 - 1_281_000,
        "efficientnet_lite2": 6_092_072 - 1_281_000,
    }
    for name, count in expected.items():
        shapes = jax.eval_shape(
            lambda name=name: build_encoder(name).init(jax.random.key(0), jnp.zeros((1, 32, 32, 3)), train=False)
        )
        assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == count, name


def test_what_an_encoder_lacks_is_said():
    with pytest.raises(InputError, match="choose one of residual_nano"):
        build_encoder("resnet19")
    with pytest.raises(InputError, match="no norm to set to affine"):
        build_encoder("convnext_t", norm="affine")
    with pytest.raises(InputError, match=r"no drop_path to set to 0\.1"):
        build_encoder("resnet18", drop_path=0.1)
    assert build_encoder("resnet18", norm="affine").norm == "affine"
    assert set(ENCODERS) >= {"residual_nano", "resnet50", "convnext_t", "efficientnet_lite2"}


@pytest.mark.parametrize(("space", "dilation"), [((7, 5), 2), ((4, 9, 6), 3), ((1, 2, 3), 4)])
def test_dilated_by_dense_convolutions(space, dilation):
    rank = len(space)
    x = jax.random.normal(jax.random.key(0), (2, *space, 3))
    conv = Conv(4, (3,) * rank, 1, ((1, 1),) * rank, use_bias=False)
    variables = conv.init(jax.random.key(1), x)
    expected = jax.lax.conv_general_dilated(
        x,
        variables["params"]["kernel"],
        (1,) * rank,
        ((dilation, dilation),) * rank,
        rhs_dilation=(dilation,) * rank,
        dimension_numbers=("NHWC", "HWIO", "NHWC") if rank == 2 else ("NDHWC", "DHWIO", "NDHWC"),
    )
    np.testing.assert_allclose(dilated(lambda y: conv.apply(variables, y), x, dilation), expected, atol=1e-5)
