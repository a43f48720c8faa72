"""``ichformer cross-validate``."""

from pathlib import Path
from typing import Annotated

import tyro

from ichformer.cli.commands.training.train import COMMON_SETTINGS
from ichformer.cli.printing import print_result
from ichformer.cli.start import DEFAULTS, Start
from ichformer.files.writing import shown
from ichformer.training.config import TrainConfig

COMMON = ("data.store", "out", "folds", "seeds", "split-seed", *COMMON_SETTINGS, "json")


def cross_validate(
    settings: Annotated[TrainConfig, tyro.conf.arg(name="")],
    *,
    out: Path,
    folds: int = 5,
    seeds: int = 1,
    split_seed: int = 0,
    start: Annotated[Start, tyro.conf.arg(name="")] = DEFAULTS,  # noqa: ARG001 - read before the others
    json: bool = False,
) -> None:
    """Trains and evaluates a run for each fold of a store's patients and for each seed, and prints mean and spread.

    Args:
      settings: the settings of every run.
      out: Folder for the runs and folds.json. Run again with the same folder, it continues.
      folds: Number of parts that the patients are divided into, at least 2. Each part is evaluated by runs that never
        saw it.
      seeds: Number of runs for each fold. Their seeds count from --seed. Take several to see how much chance matters.
      split_seed: Seed of the division into folds.
      start: from where settings come that are not given.
      json: Print one JSON object in place of text.
    """
    from ichformer.training.process import own_process
    from ichformer.workflows.cross_validate import cross_validate as evaluate_folds
    from ichformer.workflows.cross_validate import format_cross_validation

    own_process(settings.parallel)
    found = evaluate_folds(settings, out, folds=folds, seeds=seeds, split_seed=split_seed)
    print_result(found.to_json(), f"{format_cross_validation(found)}\n\nruns: {shown(out)}", as_json=json)
