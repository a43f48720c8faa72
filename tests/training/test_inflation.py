"""A run of a model of slices starts a model of the whole scan, and a run of another size is refused."""

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ichformer as ich
from ichformer.errors import InputError
from ichformer.models.families.slice_vit import slice_vit
from ichformer.models.families.vit3d import vit3d
from ichformer.models.registry import registered_models
from ichformer.training.build import build_objective
from ichformer.training.config import DataConfig, ModelConfig, ObjectiveConfig, ParallelConfig, TrainConfig
from ichformer.training.runs.run import Run, initial_state
from ichformer.training.trainer import run_training
from ichformer.training.transfer import transfer_params
from tests.registries import forget_after

SIZE, DEEP = {"width": 24, "depth": 2, "num_heads": 2}, 3


@pytest.fixture
def models(monkeypatch):
    """Two small models of one width, as slice_vit_s and vit3d_s have one."""
    forget_after(monkeypatch, registered_models())
    flat = {**SIZE, "patch_size": 8, "context_depth": 1, "context_heads": 2}
    ich.register_model("flat", options=flat)(slice_vit)
    ich.register_model("deep", options={**SIZE, "patch_size": (DEEP, 8, 8), "attention": "joint"})(vit3d)
    ich.register_model("factorised", options={**SIZE, "patch_size": (1, 8, 8)})(vit3d)


def config(store: Path, model: str, objective: str = "classification") -> TrainConfig:
    return TrainConfig(
        data=DataConfig(store=str(store), batch_size=2, num_slices=DEEP),
        model=ModelConfig(name=model),
        objective=ObjectiveConfig(name=objective),
        parallel=ParallelConfig(data=1),
        steps=1,
    )


def started(settings: TrainConfig, source: Path):
    """The state of a training of these settings that starts from a run, all zeros before."""
    objective = build_objective(settings)
    shapes = jax.eval_shape(functools.partial(initial_state, objective, settings, 32))
    return transfer_params(jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes), source, objective)


@pytest.mark.slow
def test_a_run_of_slices_starts_one_of_scans(models, tiny_store, tmp_path, capsys):
    run_training(config(tiny_store, "flat"), tmp_path / "flat", progress=False)
    flat = Run.open(tmp_path / "flat").params["encoder"]
    capsys.readouterr()
    state = started(config(tiny_store, "deep"), tmp_path / "flat")
    said = capsys.readouterr().err
    assert "encoder/patches/kernel: inflated to 3 slices (mean)" in said
    encoder = state.params["encoder"]
    jax.tree.map(np.testing.assert_array_equal, encoder["blocks"], flat["blocks"])
    jax.tree.map(np.testing.assert_array_equal, state.params, state.ema_params)

    # Equal slices are embedded as one of them was: Carreira & Zisserman 2017, section 2.4.
    one = jax.random.normal(jax.random.key(0), (1, 16, 16, flat["patches"]["kernel"].shape[2]))
    wanted = embedded(one, flat["patches"])
    found = embedded(jnp.repeat(one[:, None], DEEP, 1), encoder["patches"])
    np.testing.assert_allclose(found[:, 0], wanted, atol=1e-5)

    # Attention along the slices is new, all else of the encoder is not.
    factorised = started(config(tiny_store, "factorised"), tmp_path / "flat").params["encoder"]
    own = {name: part for name, part in factorised["blocks"]["block"].items() if not name.endswith("_z")}
    jax.tree.map(np.testing.assert_array_equal, own, flat["blocks"]["block"])
    np.testing.assert_array_equal(factorised["patches"]["kernel"][0], flat["patches"]["kernel"])


def embedded(x: jax.Array, patches: dict) -> jax.Array:
    """Patches of a picture or of a scan [N,...,H,W,C], as a convolution without overlap."""
    kernel = jnp.asarray(patches["kernel"])
    axes = "NDHWC" if kernel.ndim == 5 else "NHWC"
    numbers = (axes, axes[1:-1] + "IO", axes)
    found = jax.lax.conv_general_dilated(x, kernel, kernel.shape[:-2], "VALID", dimension_numbers=numbers)
    return found + jnp.broadcast_to(patches["bias"], found.shape)


@pytest.mark.slow
def test_a_run_of_another_size_is_refused(models, tiny_store, tiny_run):
    for model in ("flat", "swin3d_nano"):
        with pytest.raises(
            InputError, match=r"slice_vit_nano \(classification\) is of another architecture or size than this model"
        ):
            started(config(tiny_store, model), tiny_run)
