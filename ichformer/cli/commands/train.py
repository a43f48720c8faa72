"""``ichformer train``."""

from pathlib import Path
from typing import Annotated

import tyro

from ichformer.cli.printing import print_result
from ichformer.files.writing import path_text, shown
from ichformer.training.config import TrainConfig

COMMON_SETTINGS = (
    "steps",
    "model.name",
    "model.pretrained",
    "data.batch-size",
    "data.num-slices",
    "data.num-workers",
    "optim.learning-rate",
    "optim.warmup-steps",
    "objective.windows",
    "evaluate-every",
    "checkpoint-every",
    "seed",
)
"""The settings of a training that people change most."""

COMMON = ("data.store", "out", *COMMON_SETTINGS, "json")


def train(config: Annotated[TrainConfig, tyro.conf.arg(name="")], *, out: Path, json: bool = False) -> None:
    """Trains a model into the folder of a run. Run again, it resumes where it was stopped.

    Args:
      config: the settings.
      out: Folder of the run, for the settings, the checkpoints and the metrics.
      json: Print one JSON object in place of text.
    """
    from ichformer.training.process import own_process
    from ichformer.training.runs.pretrained_run import is_pretraining
    from ichformer.workflows.train_run import train_and_freeze

    own_process(config.parallel)
    written = train_and_freeze(config, out)
    text = ", ".join(f"{name} {value:.4g}" for name, value in written.items()) or "the training was finished before"
    then = "probe" if is_pretraining(out) else "evaluate"
    print_result(
        {"run": path_text(out), "metrics": written},
        f"{shown(out)}: {text}\nnext: ichformer {then} {shown(out)}",
        as_json=json,
    )
