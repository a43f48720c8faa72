"""One set of tests over every model of the registry."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ichformer import LABELS
from ichformer.errors import InputError
from ichformer.models.contract import CAM_LAYER
from ichformer.models.zoo import MODELS, build_model

# The larger sizes differ from these in numbers alone: for them shapes and counts are enough.
SMALL = [name for name in MODELS if name.endswith(("_nano", "_ti"))]
SIZE = 64


def scan_batch(slices: int = 5, real: int = 4, *, seed: int = 0) -> tuple[jax.Array, jax.Array, jax.Array]:
    x = jax.random.uniform(jax.random.key(seed), (2, slices, SIZE, SIZE, 3))
    slice_mask = jnp.arange(slices)[None] < jnp.asarray([real, slices])[:, None]
    return x, slice_mask, jnp.asarray([[5.0, 1.0, 1.0], [2.5, 1.0, 1.0]])


@functools.cache
def model_and_variables(name: str):
    model = build_model(name)
    variables = jax.jit(lambda: model.init(jax.random.key(1), *scan_batch(), False))()
    return model, {"params": variables["params"]}


@functools.cache
def apply(name: str, train: bool = False):
    model, _ = model_and_variables(name)
    return jax.jit(lambda variables, *inputs: model.apply(variables, *inputs, train))


@pytest.mark.parametrize("name", MODELS)
def test_shapes_and_parameter_count(name):
    model = build_model(name)
    inputs = scan_batch()
    prediction, variables = jax.eval_shape(lambda: model.init_with_output(jax.random.key(0), *inputs, False))
    assert prediction.slice_logits.shape == (2, 5, len(LABELS))
    assert prediction.scan_logits.shape == (2, len(LABELS))
    assert prediction.features[CAM_LAYER].shape[:2] == (2, 5)
    count = sum(np.prod(leaf.shape, dtype=int) for leaf in jax.tree.leaves(variables["params"]))
    assert count == MODELS[name].params


@pytest.mark.parametrize("name", SMALL)
def test_every_parameter_gets_a_gradient(name):
    _, variables = model_and_variables(name)

    def total(params):
        prediction = apply(name)({"params": params}, *scan_batch())
        # Squares, so that no sum that a norm holds fixed hides a gradient.
        logits = jnp.concatenate([prediction.slice_logits[:, :4], prediction.scan_logits[:, None]], 1)
        return jnp.sum(jnp.square(logits + 0.3))

    grads = jax.grad(total)(variables["params"])
    silent = [
        jax.tree_util.keystr(path)
        for path, grad in jax.tree_util.tree_leaves_with_path(grads)
        if not np.isfinite(grad).all() or not np.abs(grad).max() > 0
    ]
    assert silent == []


@pytest.mark.parametrize("name", SMALL)
def test_jit_equals_eager(name):
    model, variables = model_and_variables(name)
    inputs = scan_batch()
    eager, jitted = model.apply(variables, *inputs, False), apply(name)(variables, *inputs)
    np.testing.assert_allclose(eager.slice_logits, jitted.slice_logits, atol=1e-5)
    np.testing.assert_allclose(eager.scan_logits, jitted.scan_logits, atol=1e-5)


@pytest.mark.parametrize("name", SMALL)
def test_masked_slices_change_nothing(name):
    _, variables = model_and_variables(name)
    x, slice_mask, spacing_mm = scan_batch(slices=6, real=4)
    before = apply(name)(variables, x, slice_mask, spacing_mm)
    x = jnp.where(slice_mask[..., None, None, None], x, 1.0 - x[:, ::-1])
    after = apply(name)(variables, x, slice_mask, spacing_mm)
    np.testing.assert_allclose(before.scan_logits, after.scan_logits, atol=1e-6)
    np.testing.assert_allclose(before.slice_logits[0, :4], after.slice_logits[0, :4], atol=1e-6)
    # And padding itself: four slices alone give what they give with two masked ones behind them.
    alone = apply(name)(variables, x[:, :4], slice_mask[:, :4], spacing_mm)
    np.testing.assert_allclose(alone.scan_logits[0], after.scan_logits[0], atol=1e-5)


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("slices", [1, 300])
def test_one_slice_and_three_hundred(name, slices):
    _, variables = model_and_variables(name)
    x = jnp.zeros((1, slices, 32, 32, 3))
    prediction = apply(name)(variables, x, jnp.ones((1, slices), bool), jnp.ones((1, 3)))
    assert np.isfinite(prediction.slice_logits).all()
    assert np.isfinite(prediction.scan_logits).all()


@pytest.mark.parametrize("name", SMALL)
def test_bfloat16_stays_close(name):
    _, variables = model_and_variables(name)
    half = build_model(name, dtype=jnp.bfloat16).apply(variables, *scan_batch(), False)
    full = apply(name)(variables, *scan_batch())
    assert half.scan_logits.dtype == jnp.float32
    # bfloat16 keeps 8 bits: 2^-8 of logits near -2, a few times over through the layers.
    np.testing.assert_allclose(half.scan_logits, full.scan_logits, atol=0.06)


@pytest.mark.parametrize("name", [name for name in SMALL if not name.startswith("cnn")])
def test_position_in_the_scan_is_in_millimetres(name):
    """Slices further apart are other places of the head, so their features differ."""
    _, variables = model_and_variables(name)
    x, _, _ = scan_batch(slices=4)
    thick = apply(name)(variables, x, jnp.ones((2, 4), bool), jnp.full((2, 3), 5.0))
    stretched = apply(name)(variables, x, jnp.ones((2, 4), bool), jnp.full((2, 3), 50.0))
    assert np.abs(thick.slice_logits - stretched.slice_logits).max() > 1e-4


def test_scan_pool_max_is_the_largest_slice_logit():
    model = build_model("slice_vit_nano", scan_pool="max")
    x, slice_mask, spacing_mm = scan_batch(real=3)
    prediction, _ = model.init_with_output(jax.random.key(0), x, slice_mask, spacing_mm, False)
    np.testing.assert_array_equal(prediction.scan_logits[0], prediction.slice_logits[0, :3].max(0))


def test_dropout_only_when_training():
    model = build_model("hybrid_nano", dropout=0.5)
    inputs = scan_batch()
    variables = {"params": model.init(jax.random.key(0), *inputs, False)["params"]}
    first, second = (
        model.apply(variables, *inputs, True, rngs={"dropout": jax.random.key(i)}).scan_logits for i in (1, 2)
    )
    assert np.abs(first - second).max() > 0
    np.testing.assert_array_equal(
        model.apply(variables, *inputs, False).scan_logits, model.apply(variables, *inputs, False).scan_logits
    )


def test_unknown_names_and_sizes_are_explained():
    with pytest.raises(InputError, match="choose one of"):
        build_model("resnet")
    with pytest.raises(ValueError, match="cannot be cut into patches of 8"):
        build_model("slice_vit_nano").init(
            jax.random.key(0), jnp.zeros((1, 1, 30, 30, 3)), jnp.ones((1, 1), bool), jnp.ones((1, 3)), False
        )
