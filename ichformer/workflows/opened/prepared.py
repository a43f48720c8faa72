"""A volume that was handed in, as the scans of a run's training were prepared."""

from typing import Any

import numpy as np
from jaxtyping import Int64

from ichformer.ct.geometry.regrid import slice_offsets_mm
from ichformer.ct.handed_in import check_volume
from ichformer.ct.volume import Volume
from ichformer.errors import InputError
from ichformer.files.writing import shown
from ichformer.inference.recipes import UNKNOWN_RECIPE, check_new_scans
from ichformer.inference.trained import Trained
from ichformer.pipeline.preparation.config import PrepareConfig
from ichformer.pipeline.preparation.recipe import prepare_volume
from ichformer.process.said import say_once
from ichformer.settings import described
from ichformer.training.runs.pretrained_run import PretrainedRun


def prepare_as_trained(run: Trained | PretrainedRun, volume: Any) -> Volume:
    """Prepares a volume for a run.

    Args:
      run: whose training prepared its scans so.
      volume: as ``read_volume`` gives it.

    Raises:
      InputError: it is no ``Volume`` in HU and LPS (``ct.handed_in``), it was read in another way than the run's scans,
        or the run's scans were prepared by another recipe than this ichformer's.
    """
    if not isinstance(volume, Volume):
        raise InputError(
            f"expected a Volume, found {described(volume)}",
            where="volume",
            fix="read it with ichformer.read_volume",
        )
    check_volume(volume)
    wanted = run.prepare.missing
    if wanted != "keep" and volume.audit.missing_slices:
        raise InputError(
            f"{volume.audit.missing_slices} slices are missing, and the run's scans were read without gaps",
            where=volume.source[0],
            fix=f"read it with ichformer.read_volume(path, missing={wanted!r})",
        )
    if not check_new_scans(run):
        say_once(f"{shown(run.path)}: {UNKNOWN_RECIPE}")
    return prepare_volume(volume, run.prepare)


def prepared_slices(volume: Volume, prepared: Volume, prepare: PrepareConfig) -> Int64[np.ndarray, " s"]:
    """For each slice of a volume the one of the prepared volume that stands for it: the same, or the nearest."""
    if prepare.slice_spacing_mm is None:
        return np.arange(len(volume.hu))
    nearest = np.rint(slice_offsets_mm(volume) / prepare.slice_spacing_mm).astype(np.int64)
    return np.minimum(nearest, len(prepared.hu) - 1)
