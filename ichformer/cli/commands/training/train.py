"""``ichformer train``."""

from pathlib import Path
from typing import Annotated

import tyro

from ichformer.cli.printing import print_result
from ichformer.cli.start import DEFAULTS, Start
from ichformer.files.writing import path_text, shown
from ichformer.training.config import TrainConfig

COMMON_SETTINGS = (
    "recipe",
    "config",
    "steps",
    "model.name",
    "model.pretrained",
    "data.batch-size",
    "data.num-slices",
    "data.num-workers",
    "optim.learning-rate",
    "objective.windows",
    "evaluate-every",
    "seed",
)
"""The settings of a training that people change most, and where others come from."""

COMMON = ("data.store", "out", *COMMON_SETTINGS, "json")

EXAMPLES = (
    "ichformer train --data.store store --out runs/first --evaluate-every 100",
    "ichformer train --recipe demo --data.store store --out runs/demo --steps 2000",
    "ichformer train --config runs/first/config.json --out runs/second --model.name slice_vit_nano",
)


def train(
    settings: Annotated[TrainConfig, tyro.conf.arg(name="")],
    *,
    out: Path,
    start: Annotated[Start, tyro.conf.arg(name="")] = DEFAULTS,  # noqa: ARG001 - read before the others
    json: bool = False,
) -> None:
    """Trains a model into the folder of a run. Run again, it resumes where it was stopped.

    Args:
      settings: the settings.
      out: Folder of the run, for the settings, the checkpoints and the metrics.
      start: from where settings come that are not given.
      json: Print one JSON object in place of text.
    """
    from ichformer.training.process import own_process
    from ichformer.training.runs.pretrained_run import is_pretraining
    from ichformer.workflows.train_run import train_and_freeze

    own_process(settings.parallel)
    written = train_and_freeze(settings, out)
    ends = {name: value for name, value in written.items() if name.endswith("loss") or name == "scans_per_s"}
    text = ", ".join(f"{name} {value:.4g}" for name, value in ends.items()) or "the training was finished before"
    then = "probe" if is_pretraining(out) else "evaluate"
    print_result(
        {"run": path_text(out), "metrics": written},
        f"{shown(out)}: {text}\nnext: ichformer {then} {shown(out)}",
        as_json=json,
    )
