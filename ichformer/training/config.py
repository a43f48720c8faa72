"""What a run is told: frozen dataclasses that the command line, an experiment and ``config.json`` share. No JAX."""

import dataclasses
import json
import os
import typing
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ichformer.ct.windows import WINDOWS
from ichformer.errors import InputError, one_line
from ichformer.files.json_files import convert, read_json
from ichformer.pipeline.augmentation.augment import Augmentation
from ichformer.settings import check_ranges, check_settings

VERSION = 1
"""Of the layout of ``config.json``."""

_MOST_STEPS = 2**31 - 1  # a training counts its steps in 32 bits
_MOST_PROCESSES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Which model.

    Attributes:
      name: a name of ``ichformer models``.
      scan_pool: how scan logits come from slices; the model's own choice where None.
      dropout: on the branches of the transformer's blocks.
      drop_path: stochastic depth: how often the last block's branch is left out; it grows from 0 at the first.
      remat: what the backward pass computes anew to save memory: nothing, all but dense layers, or each block.
      pretrained: weights to start from: a file (safetensors, .npz, torch), or "imagenet" for an EfficientNet-Lite.
      pretrained_layout: whose weights these are, which decides how the model is built; found in the file where empty.
      compute_dtype: of activations; parameters stay float32.
    """

    name: str = "hybrid_nano"
    scan_pool: Literal["attention", "max"] | None = None
    dropout: float = 0.0
    drop_path: float = 0.0
    remat: Literal["none", "dots", "full"] = "none"
    pretrained: str = ""
    pretrained_layout: str = ""
    compute_dtype: Literal["float32", "bfloat16"] = "float32"

    def __post_init__(self) -> None:
        """InputError for a value that is not of its type or outside its range."""
        check_settings(self, "--model.")
        check_ranges(
            "--model.",
            ("dropout", self.dropout, 0 <= self.dropout < 1, "a number of at least 0 and below 1"),
            ("drop_path", self.drop_path, 0 <= self.drop_path < 1, "a number of at least 0 and below 1"),
        )


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which scans, and how they come.

    Attributes:
      store: folder that ``ichformer prepare`` wrote.
      split: the split to train on.
      batch_size: scans a step, over all devices.
      num_slices: slices a scan in training; a shorter scan is padded. A longer scan gives a random run of neighbouring
        slices. Where labels are known of scans only, it gives every k-th slice of the whole scan instead.
      num_workers: processes that read and augment; 0 reads in the training process.
      augmentation: what is changed at random.
    """

    store: str
    split: str = "train"
    batch_size: int = 8
    num_slices: int = 24
    num_workers: int = 0
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        """InputError for a value that is not of its type or outside its range."""
        check_settings(self, "--data.")
        check_ranges(
            "--data.",
            ("batch_size", self.batch_size, 1 <= self.batch_size <= 1 << 20, "1 to 1048576 scans"),
            ("num_slices", self.num_slices, 1 <= self.num_slices <= 10_000, "1 to 10000 slices"),
            ("num_workers", self.num_workers, 0 <= self.num_workers <= 1024, "0 to 1024 processes"),
        )


@dataclass(frozen=True, kw_only=True)
class ObjectiveConfig:
    """What is optimised.

    Attributes:
      name: "classification" of slices and scans, or "mae", a masked autoencoder over slices.
      windows: display windows that become the channels of the input, by name (``ichformer.ct.windows.WINDOWS``).
      neighbours: slices of either side that come as further channels (1 is the "2.5-D" of RSNA 2019's winners).
      labels: classification: the labels and targets to train. Each label has to have positives and negatives among the
        training scans or slices, each target two different values. By default all that have them are trained, and the
        training says which are left out.
      scan_weight: classification: weight of the scan's loss beside the slices' loss.
      loss: classification: of each label: "bce" (binary cross-entropy), "focal" (Lin et al. 2017), "asymmetric"
        (Ridnik et al. 2021) or "logit_adjusted" (Menon et al. 2021). The last three are for rare labels: "focal" and
        "asymmetric" count less what is scored well already, "logit_adjusted" trains scores for positives and negatives
        that are equally frequent.
      positive_weight: classification with "bce": how often a positive counts; above 1 it raises the sensitivity.
      target_loss: classification: of each regression target, standardised by its mean and spread in training:
        "smooth_l1" (squared for small errors, absolute for large ones), "l1" (absolute) or "l2" (squared).
      mask_ratio: mae: part of a slice's patches that is hidden.
      decoder_width: mae: features of the decoder.
      decoder_depth: mae: blocks of the decoder.
    """

    name: Literal["classification", "mae"] = "classification"
    windows: tuple[str, ...] = ("brain", "subdural", "bone")
    neighbours: int = 0
    labels: tuple[str, ...] = ()
    scan_weight: float = 1.0
    loss: Literal["bce", "focal", "asymmetric", "logit_adjusted"] = "bce"
    positive_weight: float = 1.0
    target_loss: Literal["smooth_l1", "l1", "l2"] = "smooth_l1"
    mask_ratio: float = 0.75
    decoder_width: int = 128
    decoder_depth: int = 2

    def __post_init__(self) -> None:
        """InputError for a value that is not of its type or outside its range."""
        check_settings(self, "--objective.")
        if unknown := [name for name in self.windows if name not in WINDOWS]:
            raise InputError(
                f"there is no window {one_line(unknown[0])!r}",
                where="--objective.windows",
                mend=f"choose of {', '.join(WINDOWS)}",
            )
        for what, names in (("windows", self.windows), ("labels", self.labels)):
            if twice := [name for name, count in Counter(names).items() if count > 1]:
                raise InputError(
                    f"names {one_line(twice[0])} twice", where=f"--objective.{what}", mend="name each once"
                )
        if self.positive_weight != 1 and self.loss != "bce":
            raise InputError('goes with "bce" only', where="--objective.positive-weight", mend="leave it out")
        width = self.decoder_width
        check_ranges(
            "--objective.",
            ("windows", self.windows, bool(self.windows), "at least one window"),
            ("windows", len(self.windows), len(self.windows) <= 16, "at most 16 windows"),
            (
                "neighbours",
                self.neighbours,
                0 <= self.neighbours <= 32,
                "0 for the slice alone, 1 for one on either side, at most 32",
            ),
            ("scan_weight", self.scan_weight, self.scan_weight >= 0, "a number of 0 or more"),
            ("positive_weight", self.positive_weight, self.positive_weight > 0, "a number above 0"),
            ("mask_ratio", self.mask_ratio, 0 < self.mask_ratio < 1, "a number above 0 and below 1"),
            (
                "decoder_width",
                width,
                4 <= width <= 8192 and width % (4 if width < 64 else 32) == 0,
                "a multiple of 32, at most 8192",
            ),
            ("decoder_depth", self.decoder_depth, 1 <= self.decoder_depth <= 128, "1 to 128 blocks"),
        )

    @property
    def channels(self) -> str:
        """What the channels of the input are, in words."""
        beside = f" of the slice and {self.neighbours} on either side" if self.neighbours else ""
        return f"windows {', '.join(self.windows)}{beside}"


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """The optimiser and its schedule.

    Attributes:
      name: "adamw"; "lamb", for batches of thousands of scans; "lion", half of AdamW's memory (take a third of its
        rate); "sgd" with momentum; or "muon", which orthogonalises the updates of matrices and leaves the rest to
        AdamW with Nesterov's momentum: the demo's small network, which starts from nothing, is trained with it.
      learning_rate: the peak.
      adamw_factor: muon: what AdamW optimises (biases, norms, heads) gets this part of the rate.
      schedule: how the rate falls to zero after a linear warm-up: along a "cosine", on a "linear" line, or "wsd"
        (warm-up, stable, decay: Hu et al. 2024, arXiv:2404.06395, section 4), at the peak until the cooldown.
      warmup_steps: steps from zero to the peak.
      cooldown_fraction: wsd: the part of all steps in which the rate falls.
      weight_decay: decoupled (sgd: added to the gradient); none on biases, norms and other vectors.
      layer_decay: factor of the rate from a layer to the one below, for fine-tuning; 1 for none.
      freeze: patterns of parameters that stay as they are, such as "encoder/*"; "*" stands for anything.
      b1: decay of the first moment; of sgd, its momentum.
      b2: decay of the second moment.
      clip_norm: largest global norm of a gradient; 0 for no clip.
    """

    name: Literal["adamw", "lamb", "lion", "muon", "sgd"] = "adamw"
    learning_rate: float = 1e-3
    adamw_factor: float = 1.0
    schedule: Literal["cosine", "linear", "wsd"] = "cosine"
    warmup_steps: int = 20
    cooldown_fraction: float = 0.2
    weight_decay: float = 0.05
    layer_decay: float = 1.0
    freeze: tuple[str, ...] = ()
    b1: float = 0.9
    b2: float = 0.99
    clip_norm: float = 1.0

    def __post_init__(self) -> None:
        """InputError for a value that is not of its type or outside its range."""
        check_settings(self, "--optim.")
        check_ranges(
            "--optim.",
            ("learning_rate", self.learning_rate, self.learning_rate > 0, "a number above 0"),
            ("adamw_factor", self.adamw_factor, self.adamw_factor > 0, "a number above 0"),
            (
                "cooldown_fraction",
                self.cooldown_fraction,
                0 < self.cooldown_fraction <= 1,
                "a number above 0 and at most 1",
            ),
            ("layer_decay", self.layer_decay, 0 < self.layer_decay <= 1, "a number above 0 and at most 1"),
            ("warmup_steps", self.warmup_steps, 0 <= self.warmup_steps <= _MOST_STEPS, f"0 to {_MOST_STEPS} steps"),
            ("weight_decay", self.weight_decay, self.weight_decay >= 0, "a number of 0 or more"),
            ("clip_norm", self.clip_norm, self.clip_norm >= 0, "a number of 0 or more"),
            ("b1", self.b1, 0 <= self.b1 < 1, "a number of at least 0 and below 1"),
            ("b2", self.b2, 0 <= self.b2 < 1, "a number of at least 0 and below 1"),
        )


@dataclass(frozen=True, kw_only=True)
class ParallelConfig:
    """Which devices share the work, and how. A run may be resumed with other values: its batches stay the same.

    The mesh has the axes (data, fsdp, tensor); see ``training.parallel``.

    Attributes:
      mode: "jit" over the mesh; "pmap" runs the same step with the parameters whole on every device of one host.
      data: groups of devices that share a batch and hold the same parameters; what is left where None.
      fsdp: devices that share a batch and each hold a part of every large parameter and of its optimiser state.
      tensor: devices that share the heads and the hidden features of each block.
      accumulate: parts of a batch that are computed one after the other, in as many times less memory. The result is
        the same up to rounding, also with dropout and masking.
      coordinator: HOST:PORT of the first host, where no launcher (Slurm, a GKE job, a TPU VM) names it.
      num_processes: with ``coordinator``: how many processes there are.
      process_id: with ``coordinator``: which of them this is, from 0.
    """

    mode: Literal["jit", "pmap"] = "jit"
    data: int | None = None
    fsdp: int = 1
    tensor: int = 1
    accumulate: int = 1
    coordinator: str | None = None
    num_processes: int | None = None
    process_id: int | None = None

    def __post_init__(self) -> None:
        """InputError for a value that is not of its type or outside its range."""
        check_settings(self, "--parallel.")
        least = {"data": 1, "fsdp": 1, "tensor": 1, "accumulate": 1, "num_processes": 1, "process_id": 0}
        values = {name: getattr(self, name) for name in least}
        check_ranges(
            "--parallel.",
            *(
                (
                    name,
                    value,
                    value is None or least[name] <= value <= _MOST_PROCESSES,
                    f"at least {least[name]} and at most {_MOST_PROCESSES}",
                )
                for name, value in values.items()
            ),
        )


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """A whole run.

    Attributes:
      data: which scans, and how they come.
      model: which model.
      objective: what is optimised.
      optim: how.
      parallel: on which devices.
      steps: optimiser steps.
      seed: of parameters, order, augmentation and dropout.
      ema_decay: of the averaged parameters that evaluation and prediction use; 0 keeps none.
      init_from: a run whose parameters are the start, as far as their names and shapes fit.
      wandb_project: also log to this Weights & Biases project (extra ``wandb``); "" for none.
      spike_factor: an update is skipped where the loss is so many times its running mean; 0 to skip none but those of
        a loss that is no number.
      max_bad_steps: after so many skipped updates in a row the run goes back to the checkpoint before them.
      evaluate_every: steps between two looks at the split "val"; 0 for none. The checkpoint with the smallest loss
        there is kept, and is the one that evaluation and prediction take.
      patience_steps: the run ends where the loss on "val" has not fallen for so many steps; 0 never.
      profile: first and last step of a profiler's trace, for TensorBoard and Perfetto.
      log_every: steps between two lines of metrics.
      checkpoint_every: steps between two checkpoints.
      keep_checkpoints: how many of the newest stay.
    """

    data: DataConfig
    model: ModelConfig = field(default_factory=ModelConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    parallel: ParallelConfig = field(default_factory=ParallelConfig)
    steps: int = 1000
    seed: int = 0
    ema_decay: float = 0.99
    init_from: str = ""
    wandb_project: str = ""
    spike_factor: float = 20.0
    max_bad_steps: int = 10
    evaluate_every: int = 0
    patience_steps: int = 0
    profile: tuple[int, int] | None = None
    log_every: int = 10
    checkpoint_every: int = 100
    keep_checkpoints: int = 2

    def __post_init__(self) -> None:
        """InputError for a value that is not of its type or outside its range."""
        check_settings(self, "--")
        least = dict.fromkeys(("steps", "max_bad_steps", "log_every", "checkpoint_every", "keep_checkpoints"), 1)
        least |= {"evaluate_every": 0}
        check_ranges(
            "--",
            *(
                (name, getattr(self, name), number <= getattr(self, name) <= _MOST_STEPS, f"{number} to {_MOST_STEPS}")
                for name, number in least.items()
            ),
            ("seed", self.seed, 0 <= self.seed < 2**31 - 1, "0 or more, and less than 2147483647"),
            ("ema_decay", self.ema_decay, 0 <= self.ema_decay < 1, "at least 0 and less than 1"),
            ("spike_factor", self.spike_factor, self.spike_factor == 0 or self.spike_factor > 1, "above 1, or 0"),
            (
                "patience_steps",
                self.patience_steps,
                self.patience_steps == 0 or 0 < self.evaluate_every <= self.patience_steps,
                "0, or at least --evaluate-every, which it needs",
            ),
            (
                "profile",
                self.profile,
                self.profile is None or 1 <= self.profile[0] <= self.profile[1],
                "two steps, the first first",
            ),
        )

    def to_json(self) -> str:
        """As text, with the version of the layout."""
        return json.dumps({"version": VERSION, **dataclasses.asdict(self)}, indent=2) + "\n"


def read_config(path: Path) -> TrainConfig:
    """The inverse of ``TrainConfig.to_json``; InputError for a file that is not one of this version.

    A run tells its store by the way from its own folder. Where that leads to a folder, ``data.store`` is its absolute
    path.
    """
    if not path.exists():
        raise InputError("there is no run here", where=path, mend="name the folder of a run that was trained")
    mend = "restore the file, or train again into a new folder"
    values = read_json(path, dict, mend=mend)
    version = values.pop("version", None)
    if version != VERSION:
        raise InputError(
            f"is of layout version {version!r}, this ichformer reads {VERSION}",
            where=path,
            mend="use the ichformer that wrote it, or train again",
        )
    _check_names(TrainConfig, values, path)
    config = convert(values, TrainConfig, where=path, mend=mend)
    store = os.path.normpath(path.parent.resolve() / config.data.store)
    if not config.data.store or not os.path.isdir(store):
        return config
    return dataclasses.replace(config, data=dataclasses.replace(config.data, store=store))


def _check_names(cls: Any, values: dict[str, Any], where: object) -> None:
    """InputError for a setting that ``cls`` does not have: without it the model would be another one."""
    known = typing.get_type_hints(cls)
    for name, value in values.items():
        if name not in known:
            raise InputError(f"{cls.__name__} has no setting {one_line(name)!r}", where=where, mend="take it out")
        if dataclasses.is_dataclass(known[name]) and isinstance(value, dict):
            _check_names(known[name], value, f"{where}, {name}")
