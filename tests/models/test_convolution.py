"""Convolution is what XLA's own is, whatever formulation the backend gets."""

import flax.linen as nn
import jax
import numpy as np
import pytest

from ichformer.models.layers.convolution import Conv


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((2, 9, 8, 6), {"features": 5, "kernel_size": (3, 3)}),
        ((2, 9, 8, 6), {"features": 5, "kernel_size": (7, 7), "strides": 2, "padding": ((3, 3), (3, 3))}),
        ((2, 9, 8, 6), {"features": 6, "kernel_size": (5, 5), "feature_group_count": 6, "use_bias": False}),
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
