"""What every objective that hides tokens has to hold: nothing hidden is seen, errors are those of the pixels."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ichformer.errors import InputError
from ichformer.labels import SIX
from ichformer.models.encoders.efficientnet import EfficientNet, Stage
from ichformer.models.families.cnn import cnn2d
from ichformer.models.families.slice_sequence import SliceSequence
from ichformer.models.families.slice_vit import slice_vit
from ichformer.models.families.swin3d import swin3d
from ichformer.models.families.vit3d import vit3d
from ichformer.objectives.config import ObjectiveConfig
from ichformer.objectives.registry import OBJECTIVES
from tests.objectives.test_classification import make_batch

SETTINGS = ObjectiveConfig(windows=("brain", "bone"), decoder_width=32, decoder_depth=1)
SMALL = {"width": 24, "depth": 2, "num_heads": 2}
SWIN = {"width": 16, "depths": (2, 2), "num_heads": (1, 2)}
CNN = (Stage(8, 1, 3, 1, 1), Stage(16, 1, 3, 2, 1))
MODELS = {
    "slice_vit": ("mae", lambda: slice_vit(patch_size=4, **SMALL, context_depth=1, context_heads=2)),
    "vit3d": ("mae", lambda: vit3d(patch_size=(1, 4, 4), **SMALL)),
    "vit3d joint": ("mae", lambda: vit3d(patch_size=(2, 4, 4), **SMALL, attention="joint", positions="rotary")),
    "vit3d rotary": ("mae", lambda: vit3d(patch_size=(1, 4, 4), **SMALL, positions="rotary")),
    "swin3d": (
        "simmim",
        lambda: swin3d(
            patch_size=(1, 2, 2), width=16, depths=(2, 2), num_heads=(1, 2), window=(2, 4, 4), slice_merges=(1,)
        ),
    ),
    "cnn2d": ("spark", lambda: SliceSequence(EfficientNet(CNN, stem=8, head=16), None)),
}


def objective_of(name, **settings):
    kind, build = MODELS[name]
    return OBJECTIVES.find(kind)(build(), dataclasses.replace(SETTINGS, **settings), SIX)


def batch_of_noise(seed=0):
    """Four scans of three slices, of which some are padding; the left column of pixels' patches is air."""
    batch = make_batch()
    hu = np.random.default_rng(seed).integers(0, 90, batch.hu.shape).astype(np.int16)
    hu[..., :4] = -1024
    mask = np.array([[1, 1, 1], [1, 1, 0], [1, 1, 1], [1, 0, 0]], bool)
    return batch._replace(hu=jnp.asarray(hu), slice_mask=jnp.asarray(mask), weight=jnp.ones(4, jnp.float32))


@functools.cache
def start(name):
    objective = objective_of(name)
    return objective, jax.jit(objective.init)(jax.random.key(0), batch_of_noise())["params"]


def pixels_of(objective, params, batch, hidden, tissue):
    x = objective._inputs(batch)
    arguments = (x, batch.slice_mask, batch.spacing_mm, hidden, tissue)
    return objective.model.apply({"params": params}, *arguments, ratio=objective.mask_ratio, train=False)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_what_is_hidden_and_what_is_padding_is_not_seen(name):
    objective, params = start(name)
    params = jax.tree.map(lambda leaf: 8 * leaf, params)  # at the start tokens hardly know of each other
    batch = batch_of_noise()
    tissue = objective._tissue(batch)
    hidden = objective._hidden(jax.random.key(1), tissue)
    assert hidden.any()
    predict = jax.jit(functools.partial(pixels_of, objective))
    before = predict(params, batch, hidden, tissue)
    p, q, r = objective.model.patch_size
    voxels = hidden.repeat(p, 1).repeat(q, 2).repeat(r, 3)[:, :3]
    unseen = voxels | ~batch.slice_mask[..., None, None]
    other = batch._replace(hu=jnp.where(unseen, 77, batch.hu).astype(jnp.int16))
    real = np.asarray(hidden)
    np.testing.assert_array_equal(predict(params, other, hidden, tissue)[real], before[real])
    seen = batch._replace(hu=jnp.where(unseen, batch.hu, 77).astype(jnp.int16))
    assert np.abs(predict(params, seen, hidden, tissue)[real] - before[real]).max() > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_the_weight_is_the_number_of_hidden_tokens_and_scans_without_weight_do_not_count(name):
    objective, params = start(name)
    loss = jax.jit(objective.loss, static_argnums=3)
    batch, rng = batch_of_noise(), jax.random.key(2)
    tissue = objective._tissue(batch)
    total, weight, metrics = loss(params, batch, rng, False)
    share = float(weight / tissue.sum())
    assert share == pytest.approx(0.75, abs=0.1)
    assert metrics["reconstruction_error"] == (total, weight)
    parts = [loss(params, batch._replace(weight=jnp.arange(4) == i), rng, False) for i in range(4)]
    np.testing.assert_allclose(sum(part[0] for part in parts), total, rtol=1e-5)
    np.testing.assert_allclose(sum(part[1] for part in parts), weight)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["slice_vit", "vit3d", "swin3d"])
def test_no_pixels_at_all_cost_the_variance(name):
    """With the last layer at zero the squared error is the variance of n normalised pixels, which is 1 - 1 / n."""
    objective, params = start(name)
    params = jax.tree_util.tree_map_with_path(
        lambda path, leaf: jnp.zeros_like(leaf) if any(key.key == "pixels" for key in path) else leaf, params
    )
    objective = dataclasses.replace(objective, error="squared")
    total, weight, _ = jax.jit(objective.loss, static_argnums=3)(params, batch_of_noise(), jax.random.key(0), False)
    count = np.prod(objective.model.patch_size) * len(SETTINGS.windows)
    np.testing.assert_allclose(total / weight, 1 - 1 / count, atol=2e-3)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["slice_vit", "vit3d joint", "swin3d"])
def test_features_and_pictures_have_the_shape_of_the_scan(name):
    objective, params = start(name)
    batch = batch_of_noise()
    features = jax.jit(objective.features)(params, batch)
    assert features.shape[:2] == batch.slice_mask.shape
    assert np.isfinite(features).all()
    made = jax.jit(objective.reconstruct)(params, batch, jax.random.key(0))
    assert made.pixels.shape == made.seen.shape == made.truth.shape == (*batch.hu.shape, 2)
    seen = np.asarray(made.pixels == made.truth).all((2, 3, 4))  # no slice is all seen, none all hidden
    assert not seen[np.asarray(batch.slice_mask)].all()
    untouched = np.isclose(made.pixels, made.truth, atol=1e-5)
    assert untouched[np.asarray(batch.hu) == -1024].all()  # air stays


@pytest.mark.slow
@pytest.mark.parametrize("name", ["slice_vit", "vit3d", "vit3d joint", "swin3d", "cnn2d"])
def test_it_learns(name):
    objective, params = start(name)
    ramp = np.linspace(0, 80, 16).astype(np.int16)
    batch = batch_of_noise()._replace(hu=jnp.broadcast_to(jnp.asarray(ramp), (4, 3, 16, 16)))
    optimizer = optax.adam(3e-3)

    @jax.jit
    def step(params, opt_state, rng):
        def mean(p):
            total, weight, _ = objective.loss(p, batch, rng, True)
            return total / weight

        loss, grads = jax.value_and_grad(mean)(params)
        updates, opt_state = optimizer.update(grads, opt_state)
        return optax.apply_updates(params, updates), opt_state, loss

    losses, opt_state = [], optimizer.init(params)
    for i in range(60):
        params, opt_state, loss = step(params, opt_state, jax.random.fold_in(jax.random.key(0), i))
        losses.append(float(loss))
    share = losses[-1] / losses[0]
    assert (share if objective.error == "squared" else share**2) < 0.4


def test_models_of_other_families_and_masks_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match="pretrains a slice_vit or a vit3d"):
        OBJECTIVES.find("mae")(cnn2d(encoder="residual_nano"), SETTINGS, SIX)
    with pytest.raises(InputError, match="SimMIM pretrains a swin3d"):
        OBJECTIVES.find("simmim")(MODELS["vit3d"][1](), SETTINGS, SIX)
    for name in ("slice_vit", "swin3d"):
        with pytest.raises(InputError, match="SparK pretrains the convolutional encoder"):
            OBJECTIVES.find("spark")(MODELS[name][1](), SETTINGS, SIX)
    with pytest.raises(InputError, match="take tube"):
        objective_of("vit3d", masks="block")
    assert objective_of("vit3d").masks == "tube"
    assert objective_of("vit3d joint", masks="block").masks == "block"
