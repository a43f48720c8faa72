"""What a run is told: frozen dataclasses that the command line, an experiment and ``config.json`` share. No JAX."""

import dataclasses
import json
import os
import typing
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ichformer import LABELS
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
      name: Name of the model. `ichformer models` lists them. The "nano" models train on a CPU; others want a GPU.
      scan_pool: How the scores of a scan come from those of its slices: "attention" learns how much each slice counts,
        "max" takes the largest score. By default each model has its own way.
      dropout: Share of the features that dropout sets to zero in each block of a transformer, 0 to 1. Raise it, to 0.1
        for example, where the training loss falls but the validation loss does not.
      drop_path: Stochastic depth: the chance that the last block of a transformer is skipped in a step, 0 to 1. It
        grows from 0 at the first block. Raise it, to 0.1 for example, for large models on few scans.
      remat: What the backward pass computes a second time to save memory: "none", "dots" for all but the dense layers,
        or "full" for each block. Take "full" where memory runs out; a step then takes about a third longer.
      pretrained: Weights to start from: a file (safetensors, .npz or PyTorch), or "imagenet" for an EfficientNet-Lite.
        By default training starts from random weights.
      pretrained_layout: Which library the file of weights comes from. By default it is recognised from the names in the
        file. Give it where that fails.
      compute_dtype: Type of the activations. Parameters stay float32. Take bfloat16 on GPUs and TPUs: it is faster and
        takes less memory.
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
      store: Folder of the store, as `ichformer prepare` wrote it.
      split: Split of the store to train on.
      batch_size: Scans in a step, over all devices. Lower it where memory runs out.
      num_slices: Slices that are taken of a scan in training. A shorter scan is padded. A longer scan gives a random
        run of neighbouring slices. If only whole scans are labelled, it gives every k-th slice of the whole scan in
        place of that. More slices show more of a scan, and take more memory and time.
      num_workers: Number of processes that read and augment scans. 0 reads in the training process. Raise it where the
        metric input_bound says that steps wait for batches.
      augmentation: How scans are changed at random in training.
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
      name: What is trained: "classification" of slices and scans; "mae", a masked autoencoder that learns from scans
        without labels; or an objective of a plugin.
      windows: Names of the display windows that become the channels of the input, of brain, subdural, soft_tissue,
        bone, stroke and the ranges hu_0_20, hu_20_40, hu_40_60, hu_60_80 and hu_80_100.
      neighbours: Number of neighbouring slices on either side that come as further channels. 1 is the "2.5-D" input of
        the winners of RSNA 2019. With 0 a slice comes alone.
      labels: For classification, the labels to train. Each has to have positives and negatives among the training scans
        or slices. By default every label that has both is trained, and the training says which are left out.
      scan_weight: For classification, the weight of the loss of scans beside the loss of slices, which has the weight
        1.
      loss: For classification, the loss of each label: "bce" (binary cross-entropy), "focal" (Lin et al. 2017) or
        "asymmetric" (Ridnik et al. 2021). The last two give less weight to what is classified well already; try them
        for rare labels.
      positive_weight: For classification with "bce", the weight of a positive beside a negative. A value above 1 raises
        the sensitivity and the number of false alarms.
      mask_ratio: For mae, the share of the patches of a slice that is hidden, 0 to 1.
      decoder_width: For mae, the number of features of the decoder.
      decoder_depth: For mae, the number of blocks of the decoder.
    """

    name: Literal["classification", "mae"] = "classification"
    windows: tuple[str, ...] = ("brain", "subdural", "bone")
    neighbours: int = 0
    labels: tuple[str, ...] = ()
    scan_weight: float = 1.0
    loss: Literal["bce", "focal", "asymmetric"] = "bce"
    positive_weight: float = 1.0
    mask_ratio: float = 0.75
    decoder_width: int = 128
    decoder_depth: int = 2

    def __post_init__(self) -> None:
        """InputError for a value that is not of its type or outside its range."""
        check_settings(self, "--objective.")
        for what, names, known in (("window", self.windows, tuple(WINDOWS)), ("label", self.labels, LABELS)):
            if unknown := [name for name in names if name not in known]:
                raise InputError(
                    f"there is no {what} {one_line(unknown[0])!r}",
                    where=f"--objective.{what}s",
                    mend=f"choose of {', '.join(known)}",
                )
            if twice := [name for name, count in Counter(names).items() if count > 1]:
                raise InputError(f"names {twice[0]} twice", where=f"--objective.{what}s", mend="name each once")
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
      name: Optimiser: "adamw" for most trainings; "lamb" for batches of thousands of scans; "lion", which takes half
        the memory of AdamW (use a third of its learning rate); "sgd" with momentum; or "muon", which orthogonalises the
        updates of matrices and leaves the rest to AdamW with Nesterov's momentum. The demo trains its small network
        from random weights with muon.
      learning_rate: Largest learning rate, which the schedule reaches after the warm-up. Lower it where the loss jumps;
        when you start from published weights, a tenth or less of the default is usual.
      adamw_factor: For muon, the factor of the learning rate for what AdamW optimises: biases, norms and heads.
      schedule: How the learning rate falls to zero after a linear warm-up: along a "cosine", on a "linear" line, or
        "wsd" (warm-up, stable, decay: Hu et al. 2024, arXiv:2404.06395, section 4), which stays at the largest rate
        until the cooldown.
      warmup_steps: Steps in which the learning rate rises from zero to its largest value. Large models want several
        hundred.
      cooldown_fraction: For wsd, the share of all steps in which the learning rate falls, 0 to 1.
      weight_decay: Weight decay. It is decoupled, but for sgd, where it is added to the gradient. Biases, norms and
        other vectors have none.
      layer_decay: Factor of the learning rate from a layer to the one below, above 0 and at most 1. Lower it, to 0.75
        for example, when you start from published weights. 1 gives all layers the same rate.
      freeze: Patterns of names of parameters that stay as they are, such as "encoder/*"; "*" stands for anything. By
        default all parameters are trained.
      b1: Decay of the first moment of the gradient; for sgd, its momentum.
      b2: Decay of the second moment of the gradient. Raise it, to 0.999 for example, for long trainings.
      clip_norm: Largest norm of a gradient over all parameters; a larger one is scaled down. 0 never scales.
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
      mode: How a step runs on several devices: "jit" divides batches and parameters over a mesh; "pmap" keeps all
        parameters on every device of one host. Both give the same result up to rounding.
      data: Number of groups of devices that share a batch and hold the same parameters. By default all devices that
        fsdp and tensor leave.
      fsdp: Number of devices that share a batch and each hold a part of every large parameter and of its optimiser
        state. Raise it where a model does not fit into the memory of one device.
      tensor: Number of devices that share the attention heads and the hidden features of each block. Raise it for the
        largest models only.
      accumulate: Number of parts of a batch that are computed one after the other. Memory shrinks by that factor, and
        the result stays the same up to rounding, also with dropout and masking. Raise it where a batch does not fit.
      coordinator: HOST:PORT of the first host of several. It is only needed where no launcher (Slurm, a GKE job, a TPU
        VM) gives it.
      num_processes: With --parallel.coordinator, the number of processes.
      process_id: With --parallel.coordinator, the number of this process, from 0.
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
      data: The scans to train on, and how they are drawn.
      model: The model.
      objective: What is optimised.
      optim: The optimiser and its learning rate.
      parallel: How several devices share the work. A run may be resumed with other values.
      steps: Number of steps of the optimiser. Each takes one batch.
      seed: Seed of the parameters, the order of scans, augmentation and dropout.
      ema_decay: Decay of the averaged parameters that evaluation and prediction use, 0 to 1. Lower it for trainings of
        a few hundred steps. 0 keeps no average.
      init_from: Folder of a run whose parameters are the start, as far as their names and shapes fit. Use it to
        fine-tune, or after a pretraining with mae.
      wandb_project: Name of a Weights & Biases project that also gets the metrics. It needs `pip install
        'ichformer[wandb]'`. By default nothing is sent.
      spike_factor: An update is skipped if its loss is this many times the running mean of losses. With 0 only updates
        whose loss is not a number are skipped.
      max_bad_steps: After so many skipped updates in a row the run rolls back to the checkpoint before them.
      evaluate_every: Steps between two validations, which compute the loss on the split "val". The checkpoint with the
        smallest loss is kept, and evaluation and prediction use it. With 0 there is no validation and the last
        checkpoint is used.
      patience_steps: The training ends early if the validation loss has not fallen for so many steps. It needs
        --evaluate-every. With 0 it never ends early.
      profile: First and last step of a trace of the profiler, such as 20 25. TensorBoard and Perfetto show it. By
        default there is none.
      log_every: Steps between two lines of metrics.
      checkpoint_every: Steps between two checkpoints. A training that is killed loses the steps since the last one.
      keep_checkpoints: Number of the newest checkpoints that are kept.
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
