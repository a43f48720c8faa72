"""Lesion maps over the slices of a scan as it was read, and not only over what the model was given."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float32

from ichformer.ct.geometry.regrid import affine_of_cells, resample_like
from ichformer.ct.volume import Volume
from ichformer.errors import InputError
from ichformer.inference.scoring import score_with_lesions
from ichformer.objectives.classification import Classification


def lesion_map(
    objective: Classification, variables: Mapping[str, Any], prepared: Volume, volume: Volume
) -> Float32[np.ndarray, "s h w labels"]:
    """The probability of each label for every voxel of ``volume``.

    Args:
      objective: as for ``scoring.score``; its model has a lesion head.
      variables: see there.
      prepared: the scan that the model sees.
      volume: the scan as it was read; the same slices, before they were framed and their tilt removed.

    Returns:
      On the voxels of ``volume``, with the labels in the order of the label set; 0 where the model saw nothing, and NaN
      for labels whose lesions were never trained.

    Raises:
      InputError: the model has no lesion head.
    """
    maps = score_with_lesions(objective, variables, prepared)[3]
    if maps is None:
        raise InputError("has no lesion head", where="model", fix="train one with --model.lesions")
    return lay_lesions(maps, prepared, volume)


def lay_lesions(
    maps: Float32[np.ndarray, "s gh gw labels"], prepared: Volume, volume: Volume
) -> Float32[np.ndarray, "s h w labels"]:
    """Lesion maps of ``prepared``, as ``scoring.score_with_lesions`` gives them, on the voxels of ``volume``.

    Probabilities are interpolated within a slice, linearly.
    """
    affine = affine_of_cells(prepared.affine, prepared.hu.shape[1:], maps.shape[1:3])
    laid = np.empty((*volume.hu.shape, maps.shape[3]), np.float32)
    for label in range(maps.shape[3]):
        laid[..., label] = resample_like(maps[..., label], affine, volume)
    return laid
