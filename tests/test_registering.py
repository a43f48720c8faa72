"""The decorators of registration have one form, and refuse what is not of their kind."""

import functools

import flax.linen as nn
import pytest

import ichformer as ich
from ichformer.cohorts.registry import COHORTS
from ichformer.ct.corruptions import CORRUPTIONS
from ichformer.explanations.registry import EXPLANATIONS
from ichformer.models.encoders.registry import ENCODERS
from ichformer.models.registry import registered_models
from ichformer.objectives.registry import OBJECTIVES
from ichformer.plugins import Origin
from tests.registries import forget_after
from tests.typecheck import unchecked


class A(nn.Module):
    dtype: object = None


def build(model, settings, label_set): ...


def load(source, *, cache, labels=None): ...


def apply(scan, level, rng): ...


def explain(score): ...


ALL = {
    "model": (ich.register_model, registered_models(), A),
    "encoder": (ich.register_encoder, ENCODERS, A),
    "objective": (ich.register_objective, OBJECTIVES, build),
    "cohort": (ich.register_cohort, COHORTS, load),
    "corruption": (ich.register_corruption, CORRUPTIONS, apply),
    "explanation": (ich.register_explanation, EXPLANATIONS, explain),
}
"""Kind -> decorator, registry and something of that kind."""


@pytest.fixture(autouse=True)
def _forgotten(monkeypatch):
    forget_after(monkeypatch, *(registry for _, registry, _ in ALL.values()))


@pytest.mark.parametrize("kind", ALL)
def test_bare_and_with_a_name(kind):
    register, registry, made = ALL[kind]
    for decorated in (register(made), register()(made), register("mine")(made), register(name="ours")(made)):
        assert decorated is made
    assert {made.__name__, "mine", "ours"} <= set(registry)
    assert registry.origin("mine") == Origin(name="mine", module=__name__)
    with unchecked(), pytest.raises(ich.InputError, match=f"'a name' cannot name a {kind}"):
        register("a name")(made)


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("wrong", [3, ich.Volume, functools.partial(apply), len, lambda: None, lambda a, b, c, d: None])
def test_what_is_of_another_kind_is_refused_in_one_line(kind, wrong):
    register, registry, _ = ALL[kind]
    if kind == "model" and getattr(wrong, "__name__", "") in ("len", "<lambda>"):
        pytest.skip("a function may return any model")
    if kind == "explanation" and wrong is len:
        pytest.skip("it takes one argument, as a method does")
    before = set(registry)
    for attempt in (register, register("mine")):
        with (
            unchecked(),
            pytest.raises(ich.InputError, match=f"^register_{kind}: found .*; register a (class|function) ") as refused,
        ):
            attempt(wrong)
        assert str(refused.value).isprintable()
    assert set(registry) == before


def test_what_a_registered_function_returns_is_checked():
    ich.register_model("no_model")(lambda: 3)
    ich.register_encoder("no_encoder")(lambda dtype: "a")
    with unchecked(), pytest.raises(ich.InputError, match="no_model: this model was made as 3; let what is registered"):
        ich.create_model("no_model")
    with unchecked(), pytest.raises(ich.InputError, match="no_encoder: this encoder was made as 'a'"):
        ich.create_model("hybrid_nano", encoder="no_encoder")


def test_a_corruption_without_levels_gets_its_severity():
    ich.register_corruption(apply)
    assert (CORRUPTIONS["apply"].levels, CORRUPTIONS["apply"].unit) == ((1, 2, 3, 4, 5), "of 5")
    with unchecked(), pytest.raises(ich.InputError, match="levels: found 2 levels; give five"):
        ich.register_corruption(levels=(1, 2))


def test_the_message_names_what_was_found():
    with unchecked(), pytest.raises(ich.InputError) as refused:
        ich.register_objective(ich.Volume)
    assert str(refused.value) == (
        "register_objective: found the class Volume; register a function build(model, settings, label_set) that "
        "returns an objective"
    )
