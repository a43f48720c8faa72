"""One set of tests over every model of the registry. Each small model is compiled once and asked many questions."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ichformer import LABELS
from ichformer.errors import InputError
from ichformer.models.contract import CAM_LAYER
from ichformer.models.flops import SCAN_SHAPE, count_flops, scan_inputs
from ichformer.models.registry import create_model, registered_models
from tests.models.gradients import constants, key_biases, silent_parameters

# The larger sizes differ from these in numbers alone: for them shapes and counts are enough.
SMALL = [name for name in registered_models() if name.endswith("_nano")]
# Tracing and compiling take most of the time, so that most models wait for `pytest -m slow`.
SOME = [pytest.param(name, marks=[pytest.mark.slow] * (name != "slice_vit_nano")) for name in SMALL]
SLICES, REAL = 6, 4


@functools.cache
def inputs() -> tuple[jax.Array, jax.Array, jax.Array]:
    """Two scans of 40 x 32 pixels, the first with two masked slices behind it."""
    x = jnp.asarray(np.random.default_rng(0).random((2, SLICES, 40, 32, 3), np.float32))
    slice_mask = jnp.arange(SLICES)[None] < jnp.asarray([REAL, SLICES])[:, None]
    return x, slice_mask, jnp.asarray([[5.0, 1.0, 1.0], [2.5, 1.0, 1.0]])


@functools.cache
def variables(name: str):
    model, args = create_model(name), inputs()
    key = jax.random.key(1, impl="unsafe_rbg")  # one operation an array, where the default is compiled for seconds
    return {"params": jax.jit(lambda: model.init(key, *args, False)["params"])()}


@functools.cache
def with_gradient(name: str):
    """Prediction and the gradient of a number that depends on all logits that count, jitted as one."""
    model = create_model(name)

    def total(params, *args):
        prediction = model.apply({"params": params}, *args, False)
        logits = jnp.concatenate([prediction.slice_logits[:, :REAL], prediction.scan_logits[:, None]], 1)
        # Squares, so that no sum that a norm holds fixed hides a gradient.
        return jnp.sum(jnp.square(logits + 0.3)), prediction

    return jax.jit(jax.grad(total, has_aux=True))


def predict(name: str, *args: jax.Array):
    return with_gradient(name)(variables(name)["params"], *args)[1]


@pytest.mark.parametrize(
    "name", [name if name in SMALL else pytest.param(name, marks=pytest.mark.slow) for name in registered_models()]
)
def test_shapes_and_counts(name):
    shapes = []

    def forward(*args):
        # Starting values take no matrix products, so that they do not count.
        made = create_model(name).init_with_output(jax.random.key(0), *args, False)
        shapes.append(jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), made))
        return made

    flops = count_flops(forward, *scan_inputs(*SCAN_SHAPE))
    ((prediction, made),) = shapes
    params = sum(leaf.size for leaf in jax.tree.leaves(made["params"]))
    slices = SCAN_SHAPE[0]
    assert prediction.slice_logits.shape == (1, slices, len(LABELS))
    assert prediction.scan_logits.shape == (1, len(LABELS))
    assert prediction.features["slices"].shape[:2] == (1, slices)
    assert prediction.features[CAM_LAYER].shape[:2] == (1, slices)
    assert prediction.features[CAM_LAYER].ndim == 5
    entry = registered_models()[name]
    assert (entry.params, entry.gflops) == (params, float(f"{flops / 1e9:.4g}"))


def test_every_family_has_a_small_size():
    assert {registered_models()[name].family for name in SMALL} == {
        entry.family for entry in registered_models().values()
    }
    assert all(registered_models()[name].params < 510_000 for name in SMALL)


@pytest.mark.parametrize("name", SOME)
def test_every_parameter_gets_a_gradient_but_the_biases_of_keys_and_constants(name):
    grads, _ = with_gradient(name)(variables(name)["params"], *inputs())
    assert silent_parameters(grads) == key_biases(grads) | constants(grads)


@pytest.mark.parametrize("name", SOME)
def test_masked_slices_and_their_order_change_nothing(name):
    x, slice_mask, spacing_mm = inputs()
    before = predict(name, x, slice_mask, spacing_mm)
    changed = jnp.where(slice_mask[..., None, None, None], x, 1.0 - x[:, ::-1])
    swapped = x.at[0, REAL:].set(x[0, REAL:][::-1])
    for other in (changed, swapped):
        after = predict(name, other, slice_mask, spacing_mm)
        np.testing.assert_allclose(before.scan_logits, after.scan_logits, atol=1e-6)
        np.testing.assert_allclose(before.slice_logits[0, :REAL], after.slice_logits[0, :REAL], atol=1e-6)


@functools.cache
def with_lesions(name: str):
    """Prediction of a model with a lesion head, the gradient of its lesion logits that count, and such parameters.

    What the head adds to the slices' vectors is multiplied by 0.
    """
    model = create_model(name, lesions=True)
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), *inputs(), False)["params"])
    rng = np.random.default_rng(2)
    parts = {part: shapes[part] for part in ("lesion_head", "lesion_pool", "from_lesions")}
    parts = jax.tree.map(lambda leaf: jnp.asarray(0.2 * rng.normal(size=leaf.shape), leaf.dtype), parts)
    parts["from_lesions"] = jax.tree.map(jnp.zeros_like, parts["from_lesions"])

    def total(params, *args):
        prediction = model.apply({"params": params}, *args, False)
        return jnp.sum(jnp.square(prediction.lesion_logits[:, :REAL] + 0.3)), prediction

    return jax.jit(jax.grad(total, has_aux=True)), {**variables(name)["params"], **parts}


# An encoder with stages and one without; all models in the long form.
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow if name in ("cnn2d_nano", "slice_vit_nano") else pytest.mark.full)
        for name in SMALL
    ],
)
def test_a_lesion_head_is_added_to_the_same_model(name):
    (x, slice_mask, spacing_mm), (run, params) = inputs(), with_lesions(name)
    grads, prediction = run(params, x, slice_mask, spacing_mm)
    assert prediction.lesion_logits.shape == (2, SLICES, 20, 16, len(LABELS))
    assert prediction.lesion_logits.dtype == jnp.float32
    assert not silent_parameters(grads["lesion_head"])
    plain = predict(name, x, slice_mask, spacing_mm)
    assert plain.lesion_logits is None
    np.testing.assert_allclose(prediction.scan_logits, plain.scan_logits, atol=1e-5)
    np.testing.assert_allclose(prediction.slice_logits[:, :REAL], plain.slice_logits[:, :REAL], atol=1e-5)
    # What the head finds adds to the logits, and masked slices change nothing of it.
    draw = np.random.default_rng(3)
    added = jax.tree.map(lambda leaf: jnp.asarray(draw.normal(size=leaf.shape), leaf.dtype), params["from_lesions"])
    params = params | {"from_lesions": added}
    found = run(params, x, slice_mask, spacing_mm)[1]
    assert np.abs(found.slice_logits[0, :REAL] - plain.slice_logits[0, :REAL]).max() > 1e-3
    changed = jnp.where(slice_mask[..., None, None, None], x, 1.0 - x[:, ::-1])
    other = run(params, changed, slice_mask, spacing_mm)[1]
    np.testing.assert_allclose(found.lesion_logits[0, :REAL], other.lesion_logits[0, :REAL], atol=1e-4)
    np.testing.assert_allclose(found.slice_logits[0, :REAL], other.slice_logits[0, :REAL], atol=1e-4)
    np.testing.assert_allclose(found.scan_logits, other.scan_logits, atol=1e-4)


def one_slice() -> tuple[jax.Array, jax.Array, jax.Array]:
    x, slice_mask, spacing_mm = inputs()
    return x[:1, :1], slice_mask[:1, :1], spacing_mm[:1]


@pytest.mark.slow
@pytest.mark.parametrize("name", SOME)
def test_one_slice_and_three_hundred(name):
    x, slice_mask, spacing_mm = inputs()
    model = create_model(name)
    apply = jax.jit(lambda *args: model.apply(*args, False))
    alone = apply(variables(name), *one_slice())
    padded = predict(name, x, slice_mask & (jnp.arange(SLICES)[None] < 1), spacing_mm)
    np.testing.assert_allclose(alone.slice_logits[0, 0], padded.slice_logits[0, 0], atol=1e-5)
    np.testing.assert_allclose(alone.scan_logits[0], padded.scan_logits[0], atol=1e-5)
    many = jnp.full((1, 300, 32, 32, 3), 0.5), jnp.ones((1, 300), bool), jnp.ones((1, 3))
    prediction = apply(variables(name), *many)
    assert np.isfinite(prediction.slice_logits).all()
    assert np.isfinite(prediction.scan_logits).all()


@pytest.mark.full  # operation by operation, each is compiled alone: some hundred of them
@pytest.mark.parametrize("name", SMALL)
def test_jit_equals_eager(name):
    model = create_model(name)
    eager = model.apply(variables(name), *one_slice(), False)
    jitted = jax.jit(lambda *args: model.apply(*args, False))(variables(name), *one_slice())
    np.testing.assert_allclose(eager.slice_logits, jitted.slice_logits, atol=1e-5)
    np.testing.assert_allclose(eager.scan_logits, jitted.scan_logits, atol=1e-5)


@pytest.mark.parametrize("name", SOME)
def test_bfloat16_stays_close(name):
    model = create_model(name, dtype=jnp.bfloat16)
    half = jax.jit(lambda *args: model.apply(*args, False))(variables(name), *inputs())
    full = predict(name, *inputs())
    assert half.scan_logits.dtype == half.slice_logits.dtype == jnp.float32
    assert half.features[CAM_LAYER].dtype == jnp.bfloat16
    # bfloat16 keeps 8 bits: 2^-8 of logits near -2, a few times over through the layers.
    np.testing.assert_allclose(half.scan_logits, full.scan_logits, atol=0.06)
    np.testing.assert_allclose(half.slice_logits[0, :REAL], full.slice_logits[0, :REAL], atol=0.06)


@pytest.mark.parametrize("name", [each for each in SOME if not each.values[0].startswith("cnn")])
def test_position_in_the_scan_is_in_millimetres(name):
    """Slices further apart are other places of the head, so their features differ."""
    x, slice_mask, spacing_mm = inputs()
    thick, stretched = (predict(name, x, slice_mask, spacing_mm * times) for times in (1, 10))
    assert np.abs(thick.slice_logits - stretched.slice_logits).max() > 1e-4


def test_scan_pool_max_is_the_largest_slice_logit():
    assert registered_models()["slice_vit_nano"].options["scan_pool"] == "max"
    prediction = predict("slice_vit_nano", *inputs())
    np.testing.assert_array_equal(prediction.scan_logits[0], prediction.slice_logits[0, :REAL].max(0))


@pytest.mark.slow
def test_dropout_only_when_training():
    model, params, args = create_model("hybrid_nano", dropout=0.5), variables("hybrid_nano"), inputs()

    @functools.partial(jax.jit, static_argnums=1)
    def scores(seed, train):
        return model.apply(params, *args, train, rngs={"dropout": jax.random.key(seed)}).scan_logits

    assert np.abs(scores(1, True) - scores(2, True)).max() > 0
    np.testing.assert_array_equal(scores(1, False), scores(2, False))


def test_unknown_names_and_sizes_are_explained():
    with pytest.raises(InputError, match="xyz: there is no such model; choose one of slice_vit_nano"):
        create_model("xyz")
    with pytest.raises(InputError, match="perhaps you meant swin3d_t, or choose one of"):
        create_model("swin3dt")
    with pytest.raises(InputError, match="cannot be cut into patches of 8"):
        jax.eval_shape(
            lambda *x: create_model("slice_vit_nano").init(jax.random.key(0), *x, False), *scan_inputs(1, 30, 30, 3)
        )
