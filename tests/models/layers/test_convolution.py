"""Convolution is what XLA's own is, whatever formulation the backend gets."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from ichformer.models.layers.convolution import Conv, convolve

DEPTHWISE = {"shape": (8, 7, 6, 4), "kernel": (3, 3, 1, 4), "strides": (2, 2), "padding": "SAME", "groups": 4}
DENSE = {"shape": (8, 7, 6, 4), "kernel": (3, 3, 4, 5), "strides": (2, 2), "padding": ((1, 1), (1, 1)), "groups": 1}
VOLUME = {"shape": (8, 4, 7, 6, 3), "kernel": (3, 3, 3, 3, 4), "strides": (1, 2, 2), "padding": "SAME", "groups": 1}


def arrays(case, dtype=jnp.float32):
    x, kernel = (jax.random.normal(jax.random.key(i), case[name]) for i, name in enumerate(("shape", "kernel")))
    return x.astype(dtype), kernel.astype(dtype)


def ours(case):
    return partial(convolve, strides=case["strides"], padding=case["padding"], groups=case["groups"])


def theirs(case):
    def plain(x, kernel):
        space = tuple(range(1, x.ndim - 1))
        image, taps = (0, x.ndim - 1, *space), (x.ndim - 1, x.ndim - 2, *range(x.ndim - 2))
        return lax.conv_general_dilated(
            x,
            kernel,
            case["strides"],
            case["padding"],
            dimension_numbers=lax.ConvDimensionNumbers(image, taps, image),
            feature_group_count=case["groups"],
        )

    return plain


def with_gradients(function):
    """The result, and the gradients of a sum with changing weights at both arguments."""

    def all_three(x, kernel):
        y, back = jax.vjp(function, x, kernel)
        weights = jnp.cos(jnp.arange(y.size, dtype=jnp.float32)).reshape(y.shape).astype(y.dtype)
        return y, *back(weights)

    return all_three


def assert_equal(found, wanted, relative=1e-5):
    for name, a, b in zip(("result", "at input", "at kernel"), found, wanted, strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype), name
        a, b = np.asarray(a, np.float32), np.asarray(b, np.float32)
        np.testing.assert_allclose(a, b, rtol=0, atol=relative * max(np.abs(b).max(initial=0), 1e-30), err_msg=name)


def assert_equal_to_theirs(case):
    """Where zeros are put beyond the reach of the kernel, XLA's own gradient is wrong on a CPU (jaxlib 0.10.2).

    So the convolution to compare with gets an image with its zeros already, in an operation of its own.
    """
    x, kernel = arrays(case)
    plain = theirs(case)
    if not isinstance(case["padding"], str):
        valid, edges = theirs(case | {"padding": "VALID"}), ((0, 0), *case["padding"], (0, 0))

        def plain(x, kernel):
            return valid(jnp.pad(x, edges), kernel)

    assert_equal(jax.jit(with_gradients(ours(case)))(x, kernel), with_gradients(plain)(x, kernel))


@st.composite
def cases(draw):
    rank = draw(st.sampled_from([2, 3]))
    kernel = tuple(draw(st.integers(1, 4)) for _ in range(rank))
    space = tuple(draw(st.integers(size, 6)) for size in kernel)
    strides = kernel if draw(st.booleans()) else tuple(draw(st.integers(1, 3)) for _ in range(rank))
    pairs = tuple((draw(st.integers(0, 3)), draw(st.integers(0, 3))) for _ in range(rank))
    channels, groups = draw(st.sampled_from([(1, 1), (3, 1), (4, 4)]))
    return {
        "shape": (2, *space, channels),
        "kernel": (*kernel, channels // groups, 4),
        "strides": strides,
        "padding": draw(st.sampled_from(["SAME", "VALID", pairs])),
        "groups": groups,
    }


@pytest.mark.parametrize(
    "case",
    [
        {"shape": (2, 3, 2, 3), "kernel": (1, 2, 3, 5), "padding": ((0, 0), (2, 0))},
        {"shape": (2, 3, 2, 3), "kernel": (2, 2, 3, 5), "padding": ((3, 2), (2, 4))},
        {"shape": (2, 1, 2, 2, 1), "kernel": (1, 1, 2, 1, 4), "padding": ((0, 0), (0, 0), (2, 0))},
    ],
    ids=["before", "around", "volume"],
)
def test_zeros_beyond_the_reach_of_the_kernel(case):
    """The gradient at the input leaves out what lies before the image, where XLA's own kernel would read beyond it."""
    case = {"strides": (1,) * len(case["padding"]), "groups": 1, **case}
    assert_equal_to_theirs(case)


@pytest.mark.slow
@settings(max_examples=6, derandomize=True)
@given(cases())
def test_equal_to_the_plain_convolution(case):
    assert_equal_to_theirs(case)


@pytest.mark.full
@settings(max_examples=100)
@given(cases())
def test_equal_to_the_plain_convolution_at_length(case):
    assert_equal_to_theirs(case)


@pytest.mark.parametrize("case", [DEPTHWISE, DENSE, VOLUME], ids=["depthwise", "dense", "volume"])
def test_shards_of_the_batch_stay_where_they_are(case):
    x, kernel = arrays(case)
    mesh = Mesh(np.asarray(jax.devices()), ("data",))
    split, whole = NamedSharding(mesh, P("data")), NamedSharding(mesh, P())
    step = jax.jit(with_gradients(ours(case)), in_shardings=(split, whole), out_shardings=(split, split, whole))
    compiled = step.lower(x, kernel).compile()
    text = compiled.as_text()
    assert "all-reduce" in text
    assert not any(moved in text for moved in ("all-gather", "all-to-all", "collective-permute"))
    assert_equal(step(x, kernel), jax.jit(with_gradients(theirs(case)))(x, kernel))


@pytest.mark.parametrize("case", [DEPTHWISE, DENSE], ids=["depthwise", "dense"])
def test_bfloat16_in_and_out(case):
    x, kernel = arrays(case, jnp.bfloat16)
    # Eight bits: half a step of rounding is 2^-9 of a value.
    found, wanted = (jax.jit(with_gradients(how(case)))(x, kernel) for how in (ours, theirs))
    assert_equal(found, wanted, relative=2**-7)


def test_inside_vmap_and_scan():
    case = {"shape": (2, 5, 6, 4), "kernel": (2, 3, 3, 4, 4), "strides": (1, 1), "padding": "SAME", "groups": 1}
    x, kernels = arrays(case)

    def through(convolve):
        def run(x, kernels):
            first = jax.vmap(convolve, (None, 0))(x, kernels).sum(0)
            return lax.scan(lambda y, kernel: (jnp.tanh(convolve(y, kernel)), None), first, kernels)[0]

        return run

    assert_equal(*(jax.jit(with_gradients(through(how(case))))(x, kernels) for how in (ours, theirs)))


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
@pytest.mark.parametrize("case", [DEPTHWISE, VOLUME], ids=["depthwise", "volume"])
def test_accelerators_get_the_plain_convolution(platform, case):
    x, kernel = arrays(case)
    texts = [
        jax.jit(with_gradients(how(case))).trace(x, kernel).lower(lowering_platforms=(platform,)).as_text()
        for how in (ours, theirs)
    ]
    found, wanted = (text.count("stablehlo.convolution") for text in texts)
    assert found == wanted == 3


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((2, 9, 8, 6), {"features": 5, "kernel_size": (3, 3)}),
        ((2, 9, 8, 6), {"features": 5, "kernel_size": (7, 7), "strides": 2, "padding": ((3, 3), (3, 3))}),
        ((2, 9, 8, 6), {"features": 6, "kernel_size": (5, 5), "feature_group_count": 6, "use_bias": False}),
        ((2, 9, 8, 6), {"features": 9, "kernel_size": (3, 3), "feature_group_count": 3}),
        ((2, 6, 9, 8, 4), {"features": 5, "kernel_size": (3, 3, 3), "strides": (1, 2, 2)}),
        ((2, 6, 9, 8, 4), {"features": 4, "kernel_size": (3, 3, 3), "padding": "VALID", "feature_group_count": 4}),
    ],
)
def test_parameters_and_results_are_those_of_flax(shape, options):
    x = jax.random.normal(jax.random.key(0), shape)
    ours, theirs = (
        jax.jit(module.init_with_output)(jax.random.key(1), x) for module in (Conv(**options), nn.Conv(**options))
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), ours, theirs)
