"""Models by name: those of the package and those of others; what is asked of one, and what is refused."""

import doctest

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ichformer import LABELS
from ichformer.errors import InputError
from ichformer.models import registry
from ichformer.models.contract import Prediction
from ichformer.models.encoders import registry as encoders
from ichformer.models.families import base
from ichformer.models.inputs import example_inputs
from ichformer.models.registry import create_model, list_models, register_model, registered_models
from tests.registries import forget_after
from tests.typecheck import unchecked

FAMILIES = [name for name in list_models("*_nano") if not name.startswith(("maxvit", "dual"))]


@pytest.fixture(autouse=True)
def _as_before(monkeypatch):
    """What a test registers is gone after it."""
    forget_after(monkeypatch, registered_models(), encoders.ENCODERS)


@pytest.mark.parametrize("module", [registry, base, encoders])
def test_the_examples_of_the_docstrings(module):
    failed, attempted = doctest.testmod(module)
    assert failed == 0
    assert attempted > 2


def test_names_by_pattern():
    assert list_models("swin*") == ("swin3d_nano", "swin3d_t", "swin3d_s", "swin3d_b")
    assert list_models() == tuple(registered_models())
    assert list_models("nothing*") == ()


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_scores_the_labels_that_are_asked_for(name):
    model = create_model(name, labels=("bleed", "fracture"), channels=2)
    inputs = example_inputs(model, scans=2, slices=3, size=32)
    assert inputs["x"].shape == (2, 3, 32, 32, 2)
    arrays = {key: value for key, value in inputs.items() if key != "train"}
    prediction, _ = jax.eval_shape(
        lambda arrays: model.init_with_output(jax.random.key(0), **arrays, train=False), arrays
    )
    assert prediction.slice_logits.shape == (2, 3, 2)
    assert prediction.scan_logits.shape == (2, 2)
    assert create_model(name).labels == LABELS


@pytest.mark.slow
def test_init_is_compiled_and_gives_what_flax_gives():
    model = create_model("cnn2d_nano")
    inputs, key = example_inputs(model, size=32), jax.random.key(3, impl="unsafe_rbg")
    ours = model.init(key, **inputs)
    by_place = model.init(key, inputs["x"], inputs["slice_mask"], inputs["spacing_mm"], False)
    theirs = jax.jit(lambda: nn.Module.init(model, key, **inputs))()
    for other in (by_place, theirs):
        jax.tree.map(np.testing.assert_array_equal, ours, other)


def changed(**changes):
    inputs = example_inputs(create_model("cnn2d_nano", channels=3), size=16)
    return {name: changes.get(name, value) for name, value in inputs.items()}


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        (
            changed(x=jnp.zeros((4, 16, 16, 3))),
            r"x: expected \[scans.*found the shape \[4, 16, 16, 3\]; add the axis of scans",
        ),
        (changed(x=jnp.zeros((1, 4, 16, 16, 5))), "expected 3 channels, found 5"),
        (changed(x=np.zeros((1, 4, 16, 16, 3), np.int16)), "found int16; apply windows to the HU first"),
        (changed(x=jnp.full((1, 4, 16, 16, 3), 40.0)), r"expected values in \[0, 1\], found 40 to 40; apply windows"),
        (changed(slice_mask=jnp.ones((1, 5), bool)), r"slice_mask: expected the shape \[1, 4\]"),
        (changed(slice_mask=jnp.ones((1, 4))), "slice_mask: expected bool, found float32"),
        (changed(spacing_mm=jnp.ones((1, 2))), r"spacing_mm: expected the shape \[1, 3\]"),
    ],
)
def test_wrong_inputs_say_what_was_expected_and_found(inputs, said):
    with unchecked(), pytest.raises(InputError, match=said):
        create_model("cnn2d_nano", channels=3).init(jax.random.key(0), **inputs)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("swin3dt", {}, "there is no such model; perhaps you meant swin3d_t, or choose one of slice_vit_nano"),
        ("swin3d_t", {"scanpool": "max"}, "scanpool: swin3d_t has no such setting; perhaps you meant scan_pool"),
        ("swin3d_t", {"labels": ()}, "labels: found ()"),
        ("swin3d_t", {"labels": ("a", "a")}, "each of them once"),
        ("swin3d_t", {"channels": 0}, "1 or more"),
    ],
)
def test_what_cannot_be_made_is_refused(name, options, said):
    with unchecked(), pytest.raises(InputError) as refused:
        create_model(name, **options)
    assert said in str(refused.value)


def test_a_model_of_somebody_else():
    @register_model
    class Brightness(nn.Module):
        labels: tuple[str, ...] = LABELS

        @nn.compact
        def __call__(self, x, slice_mask, spacing_mm, train):
            logits = nn.Dense(len(self.labels))(x.mean((2, 3)))
            return Prediction(slice_logits=logits, scan_logits=logits.max(1), features={"slices": x.mean((2, 3))})

    register_model(name="brightness_of_one", options={"labels": ("any",)}, family="brightness", about="a mean")(
        Brightness
    )
    assert list_models("*rightness*") == ("Brightness", "brightness_of_one")
    entry = registered_models()["brightness_of_one"]
    assert (entry.family, entry.about, entry.params, entry.gflops) == ("brightness", "a mean", None, None)
    model = create_model("brightness_of_one")
    variables = model.init(jax.random.key(0), **example_inputs(model))
    assert model.apply(variables, **example_inputs(model)).scan_logits.shape == (1, 1)
    assert create_model("Brightness", labels=("a", "b")).labels == ("a", "b")


def test_a_name_belongs_to_one_model_which_may_be_registered_again():
    def tiny() -> nn.Module:
        return nn.Dense(1)

    register_model(tiny)
    register_model(tiny)  # the cell of a notebook, run again
    with pytest.raises(InputError, match="tiny: another model has this name"):
        register_model(name="tiny")(lambda: nn.Dense(2))
    with pytest.raises(InputError, match="swin3d_t: another model has this name"):
        register_model(name="swin3d_t")(tiny)


def test_an_encoder_of_somebody_else():
    class Squares(nn.Module):
        dtype: object = jnp.float32

        @nn.compact
        def __call__(self, x, *, train):
            return nn.Conv(32, (8, 8), (8, 8), dtype=self.dtype)(x)

    for _ in range(2):
        encoders.register_encoder(Squares)
    model = create_model("cnn_gru_nano", encoder="Squares")
    variables = jax.eval_shape(lambda: model.init(jax.random.key(0), **example_inputs(model)))
    assert variables["params"]["encoder"]["Conv_0"]["kernel"].shape == (8, 8, 3, 32)
    with pytest.raises(InputError, match="Squares: this encoder has no drop_path"):
        create_model("cnn_gru_nano", encoder="Squares", drop_path=0.1)

    class resnet18(nn.Module):  # noqa: N801
        dtype: object = jnp.float32

    with pytest.raises(InputError, match="resnet18: another encoder has this name"):
        encoders.register_encoder(resnet18)
