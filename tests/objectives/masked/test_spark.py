"""SparK: every parameter of an encoder learns, and all of them start a classifier. See ``test_masked``, too."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ichformer.labels import SIX
from ichformer.models.families.cnn import NoContext
from ichformer.models.families.slice_sequence import SliceSequence
from ichformer.models.heads import SliceContext
from ichformer.models.registry import create_model
from ichformer.models.weights.fit import fit_tree
from ichformer.objectives.classification import Classification
from ichformer.objectives.config import ObjectiveConfig
from ichformer.objectives.registry import OBJECTIVES
from tests.models.encoders.test_visible import ENCODERS
from tests.objectives.test_classification import make_batch

SETTINGS = ObjectiveConfig(name="spark", windows=("brain", "bone"), decoder_width=16, decoder_depth=1, mask_ratio=0.6)
SIZE = 32


def objective_of(encoder, context=None):
    return OBJECTIVES.find("spark")(SliceSequence(encoder.clone(), context), SETTINGS, SIX)


@functools.cache
def start(name):
    objective, batch = objective_of(ENCODERS[name]), make_batch(size=SIZE)
    return objective, jax.jit(objective.init)(jax.random.key(0), batch)["params"], batch


def moved(gradients):
    """The paths of parameters with a gradient."""
    return {
        jax.tree_util.keystr(path)
        for path, leaf in jax.tree_util.tree_leaves_with_path(gradients)
        if np.abs(leaf).max() > 0
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [name if name == "residual" else pytest.param(name, marks=pytest.mark.full(minutes=1)) for name in ENCODERS]
)
def test_every_parameter_that_learns_from_labels_learns_without_them(name):
    objective, params, batch = start(name)

    def loss(objective):
        return lambda params: objective.loss(params, batch, jax.random.key(0), False)[0]

    model = SliceSequence(ENCODERS[name].clone(), NoContext(0.0))
    classification = Classification(model=model, windows=objective.windows)
    supervised = jax.jit(classification.init)(jax.random.key(0), batch)["params"]
    assert jax.tree.map(jnp.shape, supervised["encoder"]) == jax.tree.map(jnp.shape, params["encoder"])
    wanted = moved(jax.jit(jax.grad(loss(classification)))(supervised)["encoder"])
    found = jax.jit(jax.grad(loss(objective)))(params)
    assert wanted
    assert wanted <= moved(found["encoder"])
    decoder = {name: of_part for name, of_part in found.items() if name != "encoder"}
    assert moved(decoder) == {jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(decoder)}


@pytest.mark.slow
def test_a_classifier_starts_with_all_of_the_encoder():
    objective, params, batch = start("residual")
    model = SliceSequence(ENCODERS["residual"].clone(), SliceContext(1, 2))
    classification = Classification(model=model, windows=objective.windows)
    shapes = jax.eval_shape(classification.init, jax.random.key(7), batch)["params"]
    fresh = jax.tree.map(lambda leaf: jnp.full(leaf.shape, 7.0), shapes)
    loaded, report = fit_tree(fresh, params)
    assert report.loaded
    jax.tree.map(np.testing.assert_array_equal, loaded["encoder"], params["encoder"])
    assert not any((leaf == 7).any() for leaf in jax.tree.leaves(loaded["encoder"]))
    assert all((leaf == 7).all() for leaf in jax.tree.leaves(loaded["head"]))


@pytest.mark.parametrize(
    ("model", "pixels"),
    [
        ("cnn_gru_nano", 16),
        pytest.param("cnn2d_resnet18", 32, marks=pytest.mark.slow),
        pytest.param("dual_nano", 8, marks=pytest.mark.slow),
    ],
)
def test_a_patch_is_as_large_as_a_place_of_the_encoder(model, pixels):
    objective = OBJECTIVES.find("spark")(create_model(model), SETTINGS, SIX)
    assert objective.model.patch_size == (1, pixels, pixels)
    assert objective.by_slice
