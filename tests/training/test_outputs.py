"""Which outputs a training reaches: by the labels that are known and by how a model makes its scan's score."""

import dataclasses
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from ichformer import LABELS
from ichformer.errors import InputError
from ichformer.labels import LabelSet
from ichformer.training.build import build_objective
from ichformer.training.config import DataConfig, ModelConfig, ObjectiveConfig, TrainConfig
from ichformer.training.runs.outputs import (
    TRAINED_NAME,
    TrainedOutputs,
    outputs_of_all,
    own_parameters,
    parameter_names,
    read_trained,
)
from ichformer.training.runs.run import initial_state, start_run
from ichformer.training.transfer import reached_outputs
from tests.stores import CONFIG

SUBTYPES = LABELS[:-1]
ALL = TrainedOutputs(slice=LABELS, scan=LABELS)


KNOWN = {
    "slices": {"slice_labels": LABELS, "scan_labels": LABELS},
    "scans": {"slice_labels": (), "scan_labels": SUBTYPES},
}
"""Labels with a loss, where slices and scans have labels, and where scans alone have some, none for "any"."""


def settings(pool: str, **objective: object) -> TrainConfig:
    return TrainConfig(
        data=DataConfig(store="stores/phantom"),
        model=ModelConfig(name="slice_vit_nano", scan_pool=pool),
        objective=ObjectiveConfig(**objective),
    )


def shapes_of(config: TrainConfig):
    return jax.eval_shape(lambda: initial_state(build_objective(config), config, CONFIG.size)).params


def reached(config: TrainConfig, known: str) -> TrainedOutputs | None:
    objective = dataclasses.replace(build_objective(config), **KNOWN[known])
    return reached_outputs(config, objective, shapes_of(config), size=CONFIG.size)


@pytest.mark.parametrize(
    ("pool", "labels", "wanted"),
    [
        ("attention", "slices", ALL),
        ("max", "slices", ALL),
        # A maximum hands the scan's gradient to a slice; attention has a head of its own for the scan.
        ("attention", "scans", TrainedOutputs(slice=(), scan=SUBTYPES)),
        ("max", "scans", TrainedOutputs(slice=SUBTYPES, scan=SUBTYPES)),
    ],
)
def test_outputs_are_reached_by_the_labels_that_are_known(pool, labels, wanted):
    assert reached(settings(pool), labels) == wanted


def test_a_loss_of_scans_without_weight_reaches_nothing_from_their_labels():
    assert reached(settings("max", scan_weight=0.0), "scans") == TrainedOutputs(slice=(), scan=())
    assert reached(settings("attention", scan_weight=0.0), "slices") == TrainedOutputs(slice=LABELS, scan=())


def test_a_target_is_trained_at_its_own_level_alone():
    """The slice's output is reached through a maximum, but nobody told the scale of its values."""
    own = LabelSet(names=("bleed",), targets=("volume_ml",))
    config = settings("max")
    objective = dataclasses.replace(build_objective(config, own), slice_labels=(), scan_labels=own.columns)
    shapes = jax.eval_shape(lambda: initial_state(objective, config, CONFIG.size)).params
    found = reached_outputs(config, objective, shapes, size=CONFIG.size)
    assert found == TrainedOutputs(slice=("bleed",), scan=own.columns, label_set=own)
    assert found.reason("slice").startswith("The model was never trained to estimate volume_ml of slices: no two ")
    assert found.reason("scan") == ""


@pytest.mark.slow
@pytest.mark.parametrize("pool", ["attention", "max"])
def test_own_parameters_are_those_without_a_gradient_of_the_other_level(pool):
    config = settings(pool)
    objective = build_objective(config)
    params = jax.jit(lambda: initial_state(objective, config, CONFIG.size))().params
    hu = jax.random.randint(jax.random.key(0), (1, 2, CONFIG.size, CONFIG.size), 0, 80).astype(jnp.int16)
    mask, spacing_mm = jnp.ones((1, 2), bool), jnp.ones((1, 3))

    def of_scans(params):
        x = objective.inputs(hu, mask)
        return objective.model.apply({"params": params}, x, mask, spacing_mm, False).scan_logits.sum()

    gradients = jax.tree.leaves(jax.jit(jax.grad(of_scans))(params))
    without = {name for name, g in zip(parameter_names(params), gradients, strict=True) if not jnp.any(g)}
    own_of_slices, own_of_scans = own_parameters(objective, params, size=CONFIG.size)
    assert own_of_slices <= without
    assert bool(own_of_slices) == bool(own_of_scans) == (pool == "attention")
    assert {name for name in without if "slice_logits" in name} == own_of_slices


def earlier_run(path: Path, config: TrainConfig, outputs: TrainedOutputs | None) -> str:
    facts = {} if outputs is None else {TRAINED_NAME: outputs.to_json()}
    start_run(path, config, CONFIG, **facts)
    return str(path)


@pytest.mark.slow
def test_what_a_run_starts_from_counts_as_far_as_its_heads_are_handed_on(tmp_path):
    def after(pool: str, before: str, outputs: TrainedOutputs | None, name: str) -> TrainedOutputs | None:
        source = earlier_run(tmp_path / name, settings(before), outputs)
        return reached(dataclasses.replace(settings(pool), init_from=source), "scans")

    assert after("attention", "attention", ALL, "a") == ALL
    assert after("attention", "max", ALL, "b") == TrainedOutputs(slice=LABELS, scan=SUBTYPES)
    assert after("max", "attention", TrainedOutputs(slice=(), scan=LABELS), "c") == TrainedOutputs(
        slice=SUBTYPES, scan=SUBTYPES
    )
    assert after("attention", "attention", None, "d") is None
    mae = TrainConfig(
        data=DataConfig(store="x"), model=ModelConfig(name="slice_vit_nano"), objective=ObjectiveConfig(name="mae")
    )
    source = earlier_run(tmp_path / "e", mae, None)
    config = dataclasses.replace(settings("attention"), init_from=source)
    assert reached(config, "scans") == TrainedOutputs(slice=(), scan=SUBTYPES)


def test_an_ensemble_is_trained_where_all_its_members_are():
    scans = TrainedOutputs(slice=(), scan=SUBTYPES)
    assert outputs_of_all([ALL, ALL]) == ALL
    assert outputs_of_all([ALL, scans]) == scans
    assert outputs_of_all([ALL, None]) is None
    assert outputs_of_all([None, scans]) == scans
    assert outputs_of_all([None]) is None


def test_the_record_is_read_back_and_refused_where_it_makes_no_sense():
    found = TrainedOutputs(slice=(), scan=("any",))
    facts = json.loads(json.dumps({TRAINED_NAME: found.to_json()}))
    assert read_trained(facts, where="run.json") == found
    assert read_trained({}, where="run.json") is None
    assert read_trained({TRAINED_NAME: None}, where="run.json") is None
    assert "slice scores were never trained" in found.reason("slice")
    said = (
        "never trained for epidural, intraparenchymal, intraventricular, subarachnoid or subdural: no scans with and "
    )
    assert said + "without them were known" in found.reason("scan")
    for wrong in (
        7,
        [],
        {"slice": []},
        {"slice": ["x"], "scan": []},
        {"slice": [[]], "scan": []},
        {"slice": 1, "scan": 2},
    ):
        with pytest.raises(InputError, match="does not hold what it should"):
            read_trained({TRAINED_NAME: wrong}, where="run.json")
