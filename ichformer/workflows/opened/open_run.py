"""A folder with a model, opened for use from Python."""

import os
from pathlib import Path

import flax.linen as nn

from ichformer.inference.trained import open_trained
from ichformer.objectives.base import Objective
from ichformer.settings import as_path
from ichformer.training.build import Given, make_given
from ichformer.training.runs.opening.run_folder import run_folder
from ichformer.training.runs.pretrained_run import PretrainedRun, is_pretraining
from ichformer.workflows.opened.pretrained_model import PretrainedModel
from ichformer.workflows.opened.trained_model import TrainedModel


def open_run(
    path: str | os.PathLike[str], *, model: nn.Module | None = None, objective: Objective | None = None
) -> TrainedModel:
    """Opens a run or an ensemble for use.

    Example:
      >>> import ichformer as ich
      >>> run = ich.open_run("runs/first")
      >>> prediction = run.predict(ich.read_volume("scan/"))
      >>> 0 < prediction.scan_scores["any"] < 1
      True

    Args:
      path: the folder that ``train`` or ``ichformer train`` wrote, or that of an ensemble; a bundle that ``ichformer
        export`` wrote, or its address, which begins with ``https://``; ``hf://OWNER/NAME`` on the Hugging Face Hub;
        ``"default"`` for the weights that come with ichformer.
      model: the module that the run was trained with, where it was given as an object in place of a name.
      objective: the objective, likewise.

    Returns:
      The model; of a pretraining a ``PretrainedModel``, which gives features but no scores.

    Raises:
      InputError: it is no run, is damaged, is no classifier and no pretraining, or needs a plugin or an object that is
        not there.
    """
    folder = as_path(path, where="path", fix="give the folder of a run")
    return opened(folder, make_given(model, objective))


def opened(folder: Path, given: Given) -> TrainedModel:
    """``open_run`` with objects that are checked already."""
    folder = run_folder(folder)
    if is_pretraining(folder, given):
        return PretrainedModel(run=PretrainedRun.open(folder, given))
    return TrainedModel(run=open_trained(folder, given))
