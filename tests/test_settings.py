"""Settings from Python are refused as the command line refuses them: in one line, with what may be taken."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ichformer import cli
from ichformer.ct.windows import WINDOWS
from ichformer.errors import InputError
from ichformer.models.families.cnn import cnn3d
from ichformer.models.families.hybrid import hybrid
from ichformer.models.families.slice_vit import slice_vit
from ichformer.models.families.swin3d import swin3d
from ichformer.models.families.vit3d import vit3d
from ichformer.models.layers.attention.self_attention import SelfAttention
from ichformer.models.layers.attention.transformer import BlockStyle
from ichformer.models.registry import create_model
from ichformer.objectives.classification import Classification
from ichformer.pipeline.augmentation.augment import Augmentation
from ichformer.pipeline.preparation.config import PrepareConfig
from ichformer.settings import check_settings, fit
from ichformer.training.config import (
    DataConfig,
    ModelConfig,
    ObjectiveConfig,
    OptimConfig,
    ParallelConfig,
    TrainConfig,
)
from tests.typecheck import unchecked

DATA = DataConfig(store="store")

CONFIGS: list[tuple[Any, dict[str, Any], str]] = [
    (ObjectiveConfig, {"name": 1}, "--objective.name: found 1; take text"),
    (ObjectiveConfig, {"windows": ("brian",)}, "--objective.windows: there is no window 'brian'"),
    (ObjectiveConfig, {"windows": ()}, "--objective.windows: .. is out of range; take at least one"),
    (ObjectiveConfig, {"windows": 1}, "--objective.windows: found 1; take a tuple of text"),
    (ObjectiveConfig, {"neighbours": -1}, "--objective.neighbours: -1"),
    (ObjectiveConfig, {"scan_weight": -1.0}, "--objective.scan-weight: -1.0"),
    (ObjectiveConfig, {"windows": ("brain", "bone", "brain")}, "--objective.windows: names brain twice"),
    (ObjectiveConfig, {"loss": "hinge"}, "--objective.loss"),
    (ObjectiveConfig, {"loss": "focal", "positive_weight": 2.0}, "--objective.positive-weight: goes with"),
    (ObjectiveConfig, {"positive_weight": 0.0}, "--objective.positive-weight: 0.0"),
    (ObjectiveConfig, {"mask_ratio": 1.0}, "--objective.mask-ratio: 1.0"),
    (ObjectiveConfig, {"decoder_width": 100}, "--objective.decoder-width: 100 is out of range; take a multiple of 32"),
    (ObjectiveConfig, {"decoder_depth": 0}, "--objective.decoder-depth: 0"),
    (OptimConfig, {"schedule": "constant"}, "--optim.schedule: found 'constant'; take 'cosine' or 'linear' or 'wsd'"),
    (OptimConfig, {"name": "adam"}, "--optim.name: found 'adam'; perhaps you meant 'adamw'"),
    (OptimConfig, {"learning_rate": float("inf")}, "--optim.learning-rate: found inf; take a finite number"),
    (OptimConfig, {"learning_rate": float("nan")}, "--optim.learning-rate: found nan"),
    (OptimConfig, {"learning_rate": 10**400}, "--optim.learning-rate: found 1000.*; take a finite number"),
    (OptimConfig, {"learning_rate": "1e-3"}, "--optim.learning-rate: found '1e-3'"),
    (OptimConfig, {"freeze": 1}, "--optim.freeze: found 1; take a tuple of text"),
    (ModelConfig, {"scan_pool": "mean"}, "--model.scan-pool: found 'mean'; take 'attention' or 'max' or None"),
    (ModelConfig, {"remat": "all"}, "--model.remat: found 'all'"),
    (ModelConfig, {"compute_dtype": "float16"}, "--model.compute-dtype: found 'float16'"),
    (ParallelConfig, {"mode": "shard"}, "--parallel.mode: found 'shard'; take 'jit' or 'pmap'"),
    (ParallelConfig, {"accumulate": 0}, "--parallel.accumulate: 0 is out of range; take at least 1"),
    (DataConfig, {"store": "s", "num_slices": 24.0}, "--data.num-slices: found 24.0; take a whole number"),
    (DataConfig, {"store": "s", "num_slices": True}, "--data.num-slices: found True; take a whole number"),
    (TrainConfig, {"data": DATA, "profile": (1, 2, 3)}, "--profile: found .1, 2, 3."),
    (TrainConfig, {"data": {"store": "s"}}, "--data: found .*; take a DataConfig"),
    (Augmentation, {"flip": "often"}, "augmentation.flip: found 'often'; take a finite number"),
    (PrepareConfig, {"keep": "skull"}, "keep: found 'skull'; take 'head' or 'brain'"),
    (PrepareConfig, {"missing": "interpolated"}, "missing: found 'interpolated'; perhaps you"),
    (BlockStyle, {"mlp": "relu"}, "BlockStyle.mlp: found 'relu'"),
]  # fmt: skip

MODELS: list[tuple[Any, dict[str, Any], str]] = [
    (swin3d, {"depths": (2, 3, 2), "num_heads": (3, 6, 12)}, r"SwinEncoder.depths: \(2, 3, 2\) .* even numbers"),
    (swin3d, {"version": "v3"}, "SwinEncoder.version: found 'v3'; take 'v1' or 'v2'"),
    (swin3d, {"depths": (2, 2)}, "SwinEncoder.num_heads: has 4 entries"),
    (swin3d, {"slice_merges": (1, 1, 4)}, "SwinEncoder.slice_merges"),
    (swin3d, {"width": 95}, "SwinEncoder.num_heads: 3 heads do not divide a width of 95"),
    (slice_vit, {"slice_pool": "maxx"}, "SliceSequence.slice_pool: found 'maxx'"),
    (slice_vit, {"scan_pool": "mean"}, "SliceSequence.scan_pool: found 'mean'; take 'attention' or 'max'"),
    (slice_vit, {"num_heads": 5, "width": 96}, "PatchEncoder.num_heads: 5 heads do not divide a width of 96"),
    (slice_vit, {"positions": "fixed"}, "PatchEncoder.positions: found 'fixed'"),
    (slice_vit, {"z_position": "cm"}, "SliceContext.z_position: found 'cm'; take 'mm' or 'index'"),
    (slice_vit, {"remat": "dot"}, "PatchEncoder.remat: found 'dot'; perhaps you meant 'dots'"),
    (slice_vit, {"dropout": 1.5}, "PatchEncoder.dropout: 1.5"),
    (slice_vit, {"depth": 0}, "PatchEncoder.depth: 0 is out of range; take 1 or more"),
    (slice_vit, {"patch_size": 8.0}, "PatchEncoder.patch_size: found 8.0"),
    (vit3d, {"attention": "full"}, "VolumeEncoder.attention: found 'full'; take 'factorised' or 'joint'"),
    (vit3d, {"patch_size": (16, 16)}, "VolumeEncoder.patch_size: found .16, 16."),
    (hybrid, {"norm": "batch"}, "ResNet.norm: found 'batch'; take 'group' or 'affine'"),
    (cnn3d, {"shortcut": "none"}, "ResNet3D.shortcut: found 'none'"),
    (cnn3d, {"depths": (1, 1)}, "ResNet3D.widths: has 4 entries"),
]


@pytest.mark.parametrize(("make", "options", "said"), [*CONFIGS, *MODELS])
def test_what_no_setting_can_be_is_refused_in_one_line(make, options, said):
    with unchecked(), pytest.raises(InputError, match=said) as error:
        make(**options)
    assert "\n" not in str(error.value)


def test_the_registry_refuses_alike():
    with unchecked(), pytest.raises(InputError, match="scan_pool: found 'mean'"):
        create_model("slice_vit_nano", scan_pool="mean")


def test_heads_that_do_not_divide_what_they_are_given():
    shapes = jax.ShapeDtypeStruct((1, 4, 96), jnp.float32)
    with pytest.raises(InputError, match=r"SelfAttention\.num_heads: 5 heads do not divide a width of 96"):
        jax.eval_shape(SelfAttention(5).init, jax.random.key(0), shapes)


def test_an_objective_made_by_hand():
    model, windows = create_model("slice_vit_nano"), (WINDOWS["brain"],)
    with pytest.raises(InputError, match=r"Classification\.neighbours: -1"):
        Classification(model=model, windows=windows, neighbours=-1)
    with pytest.raises(InputError, match=r"Classification\.scan_labels: .*take some of epidural"):
        Classification(model=model, windows=windows, scan_labels=("ich",))


def test_what_means_the_same_is_taken_as_the_same():
    """So that settings compare equal, and can be written as JSON, however they were given."""
    with unchecked():
        data = DataConfig(store=Path("a") / "b", batch_size=np.int64(4))
        given = TrainConfig(
            data=data,
            objective=ObjectiveConfig(windows=["brain", "bone"], scan_weight=np.float32(0.5)),
            profile=[2, 3],
            init_from=Path("run"),
        )
    plain = TrainConfig(
        data=DataConfig(store="a/b", batch_size=4),
        objective=ObjectiveConfig(windows=("brain", "bone"), scan_weight=0.5),
        profile=(2, 3),
        init_from="run",
    )
    assert given == plain
    assert given.to_json() == plain.to_json()


def test_the_command_line_says_the_same_as_python(capsys, tmp_path):
    with pytest.raises(SystemExit) as ended:
        cli.main(["train", "--data.store", "s", "--objective.mask-ratio", "2", "--out", str(tmp_path / "run")])
    assert ended.value.code == 2
    with pytest.raises(InputError) as error:
        ObjectiveConfig(mask_ratio=2.0)
    assert str(error.value) in capsys.readouterr().err


@dataclass(frozen=True)
class Settings:
    name: Literal["a", "b"] | None = None
    sizes: tuple[int, float] = (1, 2.0)

    def __post_init__(self) -> None:
        check_settings(self, "here.")


@pytest.mark.parametrize("wrong", [{"name": "c"}, {"name": 1}, {"sizes": (1,)}, {"sizes": (1.5, 2)}, {"sizes": 3}])
def test_a_dataclass_is_checked_by_its_types(wrong):
    with unchecked(), pytest.raises(InputError, match=f"here.{next(iter(wrong))}: found"):
        Settings(**wrong)


def test_text_in_a_message_is_one_line():
    with pytest.raises(InputError) as error:
        fit(Literal["a"], "x\n\x1b[31m" + "y" * 1000, where="here")
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 400
