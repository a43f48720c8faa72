"""``ichformer find-learning-rate``."""

from pathlib import Path
from typing import Annotated

import tyro

from ichformer.cli.commands.training.train import COMMON_SETTINGS
from ichformer.cli.printing import print_result
from ichformer.cli.start import DEFAULTS, Start
from ichformer.files.writing import shown
from ichformer.training.config import TrainConfig

COMMON = ("data.store", "out", "lowest", "highest", "try-steps", *COMMON_SETTINGS, "json")


def find_learning_rate(
    settings: Annotated[TrainConfig, tyro.conf.arg(name="")],
    *,
    out: Path,
    lowest: float = 1e-6,
    highest: float = 1.0,
    try_steps: int = 100,
    start: Annotated[Start, tyro.conf.arg(name="")] = DEFAULTS,  # noqa: ARG001 - read before the others
    json: bool = False,
) -> None:
    """Suggests a learning rate for a training, from a few steps in which it rises until the loss jumps.

    It takes the options of `train`. The model that it trains is thrown away.

    Args:
      settings: the settings of the training to come.
      out: Folder for learning_rates.csv and learning_rates.png.
      lowest: Learning rate of the first step.
      highest: Learning rate of the last step. The test ends earlier where the loss diverges.
      try_steps: Number of steps. Each takes one batch. More steps give a smoother curve.
      start: from where settings come that are not given.
      json: Print one JSON object in place of text.
    """
    from ichformer.training.process import own_process
    from ichformer.workflows.find_learning_rate import PICTURE_NAME
    from ichformer.workflows.find_learning_rate import find_learning_rate as find

    own_process(settings.parallel)
    found = find(settings, out, lowest=lowest, highest=highest, steps=try_steps)
    if found.suggested is None:
        text = "no learning rate is suggested: the loss did not fall. Give more --try-steps, or look at the picture."
    else:
        text = f"suggested: --optim.learning-rate {found.suggested:.2g}, in the middle of the longest fall of the loss"
    values = {"suggested": found.suggested, "rates": found.rates.tolist(), "losses": found.losses.tolist()}
    print_result(values, f"{text}\npicture: {shown(out / PICTURE_NAME)}", as_json=json)
