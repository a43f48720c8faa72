"""The encoder among a model's settings: passed on where the model has one, and recorded where it is a plugin's."""

import flax.linen as nn
import jax.numpy as jnp
import pytest

import ichformer as ich
from ichformer.models.encoders.registry import ENCODERS
from ichformer.models.encoders.resnet import ResNet
from ichformer.training.build import Given, configured_model
from ichformer.training.config import DataConfig, ModelConfig, TrainConfig
from ichformer.training.runs.needs import NEEDS_FACT, check_needs, needs_of
from tests.registries import forget_after


def test_another_encoder_takes_the_place_of_the_models_own():
    model = configured_model(ModelConfig(name="hybrid_nano", encoder="resnet18"))
    assert model == ich.create_model("hybrid_nano", encoder="resnet18", labels=ich.LABELS)
    assert isinstance(model.encoder, ResNet)
    assert configured_model(ModelConfig(name="hybrid_nano")) == ich.create_model("hybrid_nano", labels=ich.LABELS)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"name": "swin3d_nano", "encoder": "resnet18"},
            "--model.encoder: swin3d_nano has no such option; leave it out, or choose a model that has it: hybrid_na",
        ),
        (
            {"name": "hybrid_nano", "encoder": "resnet81"},
            "--model.encoder: there is no encoder 'resnet81'; perhaps you meant resnet18, or choose one of residual_na",
        ),
    ],
)
def test_an_encoder_that_does_not_go_is_refused_with_the_choices(settings, said):
    with pytest.raises(ich.InputError) as refused:
        configured_model(ModelConfig(**settings))
    assert str(refused.value).startswith(said)


def test_a_run_records_the_plugin_of_its_encoder_and_asks_for_it(monkeypatch):
    config = TrainConfig(data=DataConfig(store="store"), model=ModelConfig(name="hybrid_nano", encoder="squares"))
    with monkeypatch.context() as registered:
        forget_after(registered, ENCODERS)

        @ich.register_encoder("squares")
        class Squares(nn.Module):
            dtype: object = jnp.float32

        facts = {NEEDS_FACT: needs_of(config, Given(), ["phantom"])}
        check_needs(facts, Given(), where="run")
    assert [(need["what"], need["name"], need["module"]) for need in facts[NEEDS_FACT]] == [
        ("encoder", "squares", __name__)
    ]
    with pytest.raises(ich.InputError, match="run: needs the encoder squares of a plugin; name the plugin that"):
        check_needs(facts, Given(), where="run")
