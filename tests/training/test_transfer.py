"""A run that starts from other people's weights is built as they want it, says what it took, and needs them once."""

import dataclasses
import hashlib
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ichformer as ich
from ichformer.cohorts.registry import COHORTS
from ichformer.errors import InputError
from ichformer.evaluation.thresholds import THRESHOLDS_NAME
from ichformer.models.registry import registered_models
from ichformer.models.weights.layouts.registry import LAYOUTS, named_layout
from ichformer.testing import tiny_cohort
from ichformer.training.build import build_objective, configured_model
from ichformer.training.config import (
    DataConfig,
    ModelConfig,
    ObjectiveConfig,
    OptimConfig,
    ParallelConfig,
    TrainConfig,
)
from ichformer.training.runs.run import Run, initial_state
from ichformer.training.state import TrainState
from ichformer.training.trainer import run_training
from ichformer.training.transfer import transfer_pretrained, with_start
from tests.stores import prepare_here

RNG = np.random.default_rng(0)
WIDTH, DEPTH, PATCH, GRID = 96, 3, 8, 4


def timm_tensors() -> dict[str, np.ndarray]:
    """A ViT of slice_vit_nano's size by timm's names, trained at another size."""
    shapes = {
        "cls_token": (1, 1, WIDTH),
        "pos_embed": (1, 1 + GRID * GRID, WIDTH),
        "patch_embed.proj.weight": (WIDTH, 3, PATCH, PATCH),
        "patch_embed.proj.bias": (WIDTH,),
        "norm.weight": (WIDTH,),
        "norm.bias": (WIDTH,),
        "head.weight": (1000, WIDTH),
    }
    for i in range(DEPTH):
        parts = {"norm1": (WIDTH,), "norm2": (WIDTH,), "attn.qkv": (3 * WIDTH, WIDTH), "attn.proj": (WIDTH, WIDTH)}
        parts |= {"mlp.fc1": (4 * WIDTH, WIDTH), "mlp.fc2": (WIDTH, 4 * WIDTH)}
        for part, shape in parts.items():
            shapes |= {f"blocks.{i}.{part}.weight": shape, f"blocks.{i}.{part}.bias": shape[:1]}
    return {name: RNG.normal(0, 0.05, shape).astype(np.float32) for name, shape in shapes.items()}


@pytest.fixture(scope="module")
def tensors() -> dict[str, np.ndarray]:
    return timm_tensors()


@pytest.fixture(scope="module")
def config(tmp_path_factory, tensors) -> TrainConfig:
    folder = tmp_path_factory.mktemp("store")
    index = COHORTS["phantom"](tiny_cohort(folder / "cohort", scans=8), cache=folder / "cache")
    prepare_here(index.assign(split="train"), folder / "store")
    np.savez(folder / "vit.npz", **tensors)
    return TrainConfig(
        data=DataConfig(store=str(folder / "store"), batch_size=8, num_slices=2),
        model=ModelConfig(name="slice_vit_nano", pretrained=str(folder / "vit.npz")),
        parallel=ParallelConfig(data=2),
        steps=1,
        checkpoint_every=1,
    )


def untrained(config: TrainConfig) -> TrainState:
    """A state of the right shapes, all zeros."""
    shapes = jax.eval_shape(lambda: initial_state(build_objective(config), config, 32))
    return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)


@pytest.mark.slow
def test_the_state_before_the_first_step(config, tensors, tmp_path, capsys):
    config = dataclasses.replace(config, objective=ObjectiveConfig(neighbours=1))
    config = with_start(config, tmp_path)
    assert config.model.pretrained_layout == "timm ViT"
    assert config.optim.encoder_factor == 0.1
    fresh = untrained(config)
    state = transfer_pretrained(fresh, config.model)
    encoder = state.params["encoder"]
    qkv = tensors["blocks.2.attn.qkv.weight"].T.reshape(WIDTH, 3, 3, WIDTH // 3)
    np.testing.assert_array_equal(encoder["blocks"]["block"]["attention"]["qkv"]["kernel"][2], qkv)
    # Nine channels, three windows of three slices: each slice a third of the stem.
    stem = tensors["patch_embed.proj.weight"].transpose(2, 3, 1, 0)
    np.testing.assert_allclose(encoder["patches"]["kernel"][:, :, 3:6], stem / 3, rtol=1e-6)
    jax.tree.map(np.testing.assert_array_equal, state.params, state.ema_params)
    assert not np.any(state.params["head"]["slice_logits"]["kernel"])
    said = capsys.readouterr().err
    for words in ("vit.npz, timm ViT", "from 3 to 9 channels", "resized from 4x4x96 to 14x14x96", "head.weight", "new"):
        assert words in said


def test_the_rate_of_an_encoder_is_decided_once(config, tmp_path):
    """A tenth for imported weights, and what an earlier version trained with where a run is gone on with."""
    file = tmp_path / "config.json"
    asked = dataclasses.replace(config, model=dataclasses.replace(config.model, pretrained_layout="timm ViT"))
    file.write_text(json.dumps({"version": 1, "data": {"store": config.data.store}}), encoding="utf-8")
    assert with_start(asked, tmp_path).optim.encoder_factor is None
    file.unlink()
    assert with_start(asked, tmp_path).optim.encoder_factor == 0.1
    plain = dataclasses.replace(config, model=ModelConfig(name="slice_vit_nano"))
    assert with_start(plain, tmp_path).optim.encoder_factor == 1.0
    given = dataclasses.replace(asked, optim=OptimConfig(encoder_factor=0.5))
    assert with_start(given, tmp_path) == given


@pytest.mark.full
def test_thresholds_are_frozen_in_a_run_with_imported_weights(config, tiny_store, tmp_path):
    data, parallel = {"batch_size": 2, "num_slices": 2}, {"data": 1}
    model = {"name": "slice_vit_nano", "pretrained": config.model.pretrained}
    run = ich.train(tiny_store, out=tmp_path / "run", model=model, data=data, parallel=parallel, steps=1)
    assert run is not None
    assert (tmp_path / "run" / THRESHOLDS_NAME).exists()


@pytest.mark.full
def test_a_run_needs_the_file_once(config, tmp_path):
    file = tmp_path / "moved.npz"
    data = Path(config.model.pretrained).read_bytes()
    file.write_bytes(data)
    config = dataclasses.replace(config, model=dataclasses.replace(config.model, pretrained=str(file)))
    run_training(config, tmp_path / "run", progress=False)
    facts = json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))["pretrained"]
    assert facts == {"file": "moved.npz", "sha256": hashlib.sha256(data).hexdigest(), "layout": "timm ViT"}
    file.unlink()
    assert Run.open(tmp_path / "run").params["encoder"]["positions"].shape == (14, 14, WIDTH)
    run_training(config, tmp_path / "run", progress=False)


def test_what_cannot_be_a_start(config, tmp_path):
    def trained(**changes):
        run_training(dataclasses.replace(config, **changes), tmp_path / "run", progress=False)

    def model(**changes):
        return {"model": dataclasses.replace(config.model, **changes)}

    for changes, said in (
        (model(pretrained="imagenet"), "no package brings ImageNet weights"),
        (model(pretrained=str(tmp_path / "none.npz")), r"none\.npz: cannot be read"),
        (model(pretrained_layout="mine"), "there is no layout 'mine'"),
        (model(pretrained="", name="swin3d_nano", dropout=0.1), "--model.dropout: swin3d_nano has no such option"),
        ({"init_from": "runs/first"}, "a run starts from one thing"),
    ):
        with pytest.raises(InputError, match=said):
            trained(**changes)
    wide = dataclasses.replace(config, **model(name="slice_vit_ti", pretrained_layout="timm ViT"))
    with pytest.raises(InputError, match="is of another architecture or size than this model: timm ViT fills 0 of"):
        transfer_pretrained(untrained(wide), wide.model)


@pytest.mark.parametrize("layout", [layout.name for layout in LAYOUTS])
def test_what_a_layout_needs_can_be_built(layout):
    assert named_layout(layout).needs.keys() <= {
        "positions",
        "class_token",
        "num_registers",
        "style",
        "norm",
        "version",
    }
    for name in ("slice_vit_nano", "swin3d_nano", "cnn3d_nano", "hybrid_resnet18", "cnn_gru_efficientnet_lite0"):
        model = configured_model(ModelConfig(name=name, pretrained="weights", pretrained_layout=layout))
        if "norm" in named_layout(layout).needs and "encoder" in registered_models()[name].options:
            assert model.encoder.norm == "affine"
