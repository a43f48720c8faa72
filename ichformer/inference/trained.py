"""Runs and ensembles as one thing: opened alike, with the store that they were trained on."""

import os
from pathlib import Path

from ichformer.errors import InputError
from ichformer.files.folders import folder_kind
from ichformer.inference.ensemble_folder import member_folder, read_ensemble
from ichformer.inference.ensembles import ENSEMBLE_NAME, EnsembleRun
from ichformer.training.build import Given
from ichformer.training.config import read_config
from ichformer.training.runs.opening.run_folder import run_folder
from ichformer.training.runs.run import Run, read_facts
from ichformer.training.runs.store_path import STORE_FACT, find_store

Trained = Run | EnsembleRun
"""What evaluates and predicts."""


def open_trained(path: str | os.PathLike[str], given: Given = Given()) -> Trained:
    """The run or the ensemble in a folder.

    Args:
      path: the folder, or whatever else ``run_folder`` takes.
      given: the objects that a run was trained with in place of names.

    Raises:
      InputError: it is neither, or damaged, or needs a plugin or an object that is not there.
    """
    path = run_folder(path)
    if folder_kind(path) == "store":
        raise InputError("is a store, not a run", where=path, fix="name the folder of a run that was trained on it")
    if not (path / ENSEMBLE_NAME).exists():
        return Run.open(path, given)
    if given != Given():
        raise InputError("is an ensemble, whose models have names", where=path, fix="leave the objects out")
    return read_ensemble(path)


def training_store(path: Path | str) -> Path:
    """The store that the run in this folder was trained on, or the first member of the ensemble in it.

    InputError where it is no longer there; see ``store_path.find_store`` for where it is looked for.
    """
    path = run_folder(path)
    folder = path / member_folder(0) if (path / ENSEMBLE_NAME).exists() else path
    told = read_config(folder / "config.json").data.store
    return find_store(told, folder, str(read_facts(folder / "run.json").get(STORE_FACT, "")))
