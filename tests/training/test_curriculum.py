"""A training in stages, of small slices and few of them first: each stage is a run that starts from the one before."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ichformer.cohorts.registry import COHORTS
from ichformer.errors import InputError
from ichformer.models.layers.attention.positions import sincos_2d, sincos_3d
from ichformer.models.registry import create_model, registered_models
from ichformer.models.weights.fit import fit_tree
from ichformer.pipeline.preparation.config import PrepareConfig
from ichformer.training.build import build_objective
from ichformer.training.config import DataConfig, ModelConfig, ObjectiveConfig, TrainConfig
from ichformer.training.runs.run import Run, initial_state
from ichformer.training.trainer import run_training
from tests.shared import tiny_training
from tests.stores import prepare_here

SMALL, LARGE = 32, 64
KEY = jax.random.key(0)
NANO = sorted(name for name in registered_models() if name.endswith("_nano"))
OBJECTIVES = ("classification", "mae", "simmim", "spark", "jepa", "dino", "contrastive")


def shapes(name: str, objective: str, size: int):
    config = TrainConfig(
        data=DataConfig(store="store"), model=ModelConfig(name=name), objective=ObjectiveConfig(name=objective)
    )
    return jax.eval_shape(lambda: initial_state(build_objective(config), config, size)).params


@pytest.mark.parametrize(
    ("name", "objective"),
    [
        pytest.param(name, objective, marks=() if (name, objective) == ("vit3d_nano", "jepa") else pytest.mark.full)
        for name in NANO
        for objective in OBJECTIVES
    ],
)
@pytest.mark.slow
def test_all_parameters_of_small_slices_are_those_of_large_ones(name, objective):
    try:
        small = shapes(name, objective, SMALL)
    except InputError as error:
        pytest.skip(f"{name} has no {objective}: {error.what}")
    rng = np.random.default_rng(0)
    small = jax.tree.map(lambda x: rng.normal(size=x.shape).astype(np.float32), small)
    large = jax.tree.map(lambda x: np.zeros(x.shape, np.float32), shapes(name, objective, LARGE))
    params, report = fit_tree(large, small)
    assert (report.new, report.left, report.misfits, report.changed) == ((), (), {}, {})
    jax.tree.map(np.testing.assert_array_equal, params, small)


@pytest.mark.slow
def test_with_a_step_the_patches_of_a_small_slice_are_where_those_of_the_large_one_are():
    large, small = sincos_2d(6, 9, 16).reshape(6, 9, 16), sincos_2d(2, 3, 16, step=3.0).reshape(2, 3, 16)
    np.testing.assert_allclose(small, large[1::3, 1::3], atol=1e-6)
    heights_mm = jnp.asarray([[-5.0, 0.0, 5.0]])
    large, small = sincos_3d(heights_mm, 6, 9, 12), sincos_3d(heights_mm, 2, 3, 12, step=3.0)
    np.testing.assert_allclose(small, large[:, :, 1::3, 1::3], atol=1e-6)
    assert np.abs(sincos_2d(2, 3, 16) - sincos_2d(2, 3, 16, step=3.0)).max() > 0.5


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "option"), [("slice_vit_nano", "sincos"), pytest.param("vit3d_nano", "rotary", marks=pytest.mark.full)]
)
def test_the_step_reaches_the_model(name, option):
    def logits(step: float):
        model = create_model(name, positions=option, position_step=step, depth=1)
        x, mask, spacing_mm = jnp.ones((1, 2, 16, 16, 2)), jnp.ones((1, 2), bool), jnp.ones((1, 3))
        x = x.at[:, :, 8:].set(0)  # rotary positions show in differences alone
        return jax.jit(lambda key: model.init_with_output(key, x, mask, spacing_mm, False)[0].slice_logits)(KEY)

    assert float(jnp.abs(logits(1.0) - logits(2.0)).max()) > 1e-6


def test_a_model_without_positions_in_the_slice_takes_no_step():
    config = TrainConfig(data=DataConfig(store="store"), model=ModelConfig(name="cnn2d_nano", position_step=2.0))
    with pytest.raises(InputError, match=r"--model.position-step: cnn2d_nano has no such option; .* slice_vit_nano"):
        build_objective(config)
    with pytest.raises(InputError, match=r"--model.position-step: 0.5 is out of range"):
        ModelConfig(position_step=0.5)


@pytest.mark.full
def test_a_stage_of_larger_slices_and_more_of_them_starts_from_the_run_before(tiny_store, tiny_run, tmp_path, capsys):
    index = COHORTS["phantom"](tiny_store.parent / "cohort", cache=tmp_path / "cache").iloc[:4].assign(split="train")
    large = prepare_here(index, tmp_path / "large", PrepareConfig(size=LARGE))
    before = tiny_training(tiny_store)
    data = dataclasses.replace(before.data, store=str(large.path), num_slices=6)
    config = dataclasses.replace(before, data=data, init_from=str(tiny_run), steps=1, evaluate_every=0, ema_decay=0.0)
    capsys.readouterr()
    run_training(config, tmp_path / "run", progress=False)
    said = capsys.readouterr().err
    first, second = Run.open(tiny_run), Run.open(tmp_path / "run")
    assert "no fit" not in said
    moved = jax.tree.map(lambda a, b: float(np.abs(np.asarray(a) - np.asarray(b)).max()), first.params, second.params)
    assert 0 < max(jax.tree.leaves(moved)) <= 2 * config.optim.learning_rate
    stages = json.loads((tmp_path / "run" / "run.json").read_text())["contract"]["stages"]
    assert len(stages) == 2
    assert second.prepare.size == LARGE
