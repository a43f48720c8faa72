"""What cnn3d's options have to keep: a slice's own features, and silence about padding."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ichformer.models.encoders.resnet3d import planes_to_slices
from ichformer.models.families.cnn import cnn3d

SETTINGS = {
    "thick slices": {},
    "thin slices": {"depth_strides": 3, "shortcut": "pad"},
    "as Med3D": {"depth_strides": 3, "dilated": True, "norm": "affine"},
}
OPTIONS = [pytest.param(name, marks=[pytest.mark.slow] * (name != "thick slices")) for name in SETTINGS]
X = jax.random.uniform(jax.random.key(1), (2, 11, 20, 24, 2))
REAL = jnp.arange(11)[None] < jnp.asarray([[6], [7]])
SPACING = jnp.ones((2, 3))


@functools.cache
def setup(name: str):
    model = cnn3d(depths=(1, 1, 1), widths=(8, 8, 16), **SETTINGS[name])
    params = jax.jit(lambda: model.init(jax.random.key(0), X, REAL, SPACING, False)["params"])()
    # Biases start at zero, and would hide what a norm does to padding.
    params = jax.tree.map(lambda leaf: leaf + 0.1 * jnp.cos(jnp.arange(leaf.size)).reshape(leaf.shape), params)
    return params, jax.jit(lambda params, x, mask: model.apply({"params": params}, x, mask, SPACING, False))


@pytest.mark.slow
@pytest.mark.parametrize("name", OPTIONS)
def test_padding_changes_nothing(name):
    params, apply = setup(name)
    full = apply(params, X, REAL)
    other = apply(params, jnp.where(REAL[..., None, None, None], X, 7.0), REAL)
    np.testing.assert_array_equal(full.scan_logits, other.scan_logits)
    # As many slices as the longer scan has, an odd and an even number.
    alone = apply(params, X[:, :7], REAL[:, :7])
    np.testing.assert_allclose(full.scan_logits, alone.scan_logits, atol=1e-5)
    np.testing.assert_allclose(full.slice_logits[0, :6], alone.slice_logits[0, :6], atol=1e-5)
    np.testing.assert_allclose(full.slice_logits[1, :7], alone.slice_logits[1, :7], atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", OPTIONS)
def test_every_slice_counts_and_a_scan_without_any_is_finite(name):
    params, apply = setup(name)

    def total(params, x, mask):
        prediction = apply(params, x, mask)
        return jnp.sum(
            jnp.square(jnp.where(mask[..., None], prediction.slice_logits, 0.0) + prediction.scan_logits[:, None])
        )

    empty = REAL.at[1].set(False)
    grads, grad = jax.jit(jax.grad(total, argnums=(0, 1)))(params, X, empty)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(grads))
    per_slice = np.abs(grad).max((2, 3, 4))
    assert (per_slice[0, :6] > 0).all()
    assert (per_slice[0, 6:] == 0).all()
    assert (per_slice[1] == 0).all()


def test_planes_are_interpolated_between_real_ones():
    x = jnp.asarray([0.0, 1.0, 5.0]).reshape(1, 3, 1, 1, 1)
    found = planes_to_slices(x, jnp.asarray([[True, True, False]]), slices=6, stride=2)
    np.testing.assert_allclose(found.ravel()[:4], [0, 0.5, 1, 1])
    found = planes_to_slices(x, jnp.asarray([[True, True, True]]), slices=6, stride=2)
    np.testing.assert_allclose(found.ravel(), [0, 0.5, 1, 3, 5, 5])
