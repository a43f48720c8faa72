"""``ichformer leave-one-site-out``."""

from pathlib import Path
from typing import Annotated

import tyro

from ichformer.cli.commands.training.train import COMMON_SETTINGS
from ichformer.cli.printing import print_result
from ichformer.cli.start import DEFAULTS, Start
from ichformer.files.writing import shown
from ichformer.training.config import TrainConfig

COMMON = ("data.store", "out", "split-seed", *COMMON_SETTINGS, "json")


def leave_one_site_out(
    settings: Annotated[TrainConfig, tyro.conf.arg(name="")],
    *,
    out: Path,
    split_seed: int = 0,
    start: Annotated[Start, tyro.conf.arg(name="")] = DEFAULTS,  # noqa: ARG001 - read before the others
    json: bool = False,
) -> None:
    """Trains one run for each site of a store without that site, evaluates it there and pools the sites.

    Args:
      settings: the settings of every run.
      out: Folder for the runs, sites.html and sites.json. Run again with the same folder, it continues.
      split_seed: Seed of the division of the other sites into train and val.
      start: from where settings come that are not given.
      json: Print one JSON object in place of text.
    """
    from ichformer.training.process import own_process
    from ichformer.workflows.leave_one_site_out import format_across_sites
    from ichformer.workflows.leave_one_site_out import leave_one_site_out as evaluate_sites

    own_process(settings.parallel)
    found = evaluate_sites(settings, out, split_seed=split_seed)
    text = f"{format_across_sites(found)}\n\npage: {shown(out / 'sites.html')}"
    print_result(found.to_json(), text, as_json=json)
