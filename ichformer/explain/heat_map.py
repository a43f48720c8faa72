"""Heat maps over the slices of a scan as they are shown, and not only over what the model was given."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float32, Int16

from ichformer.ct.geometry.regrid import affine_of_cells, resample_like
from ichformer.ct.volume import Volume
from ichformer.explain.gradients import for_display, hires_cam
from ichformer.inference.scoring import batch_of_one
from ichformer.objectives.classification import Classification

_SHOWN_CELLS = 128
"""Cells along each side of a heat map as it is shown; features are coarser."""


def heat_map(
    objective: Classification,
    variables: Mapping[str, Any],
    prepared: Volume,
    volume: Volume,
    *,
    label: str,
    level: Literal["scan", "slice"],
) -> Float32[np.ndarray, "s gh gw"]:
    """HiResCAM of a label's score, laid over the slices of ``volume`` and scaled to [0, 1] over the scan.

    Args:
      objective: as for ``scoring.score``.
      variables: see there.
      prepared: the scan that the model sees.
      volume: the scan that is shown; the same slices, before they were framed and their tilt removed.
      label: of the objective's label set.
      level: whose score is explained; the slices' unless they were never trained.

    Returns:
      A grid over each slice of ``volume``, edge to edge; 0 where the model saw nothing of it.
    """
    columns = objective.label_set.columns
    weights = jax.nn.one_hot(columns.index(label), len(columns))
    maps = np.asarray(_cam(objective, variables, *batch_of_one(prepared), weights, level)[0, : len(prepared.hu)])
    affine = affine_of_cells(prepared.affine, prepared.hu.shape[1:], maps.shape[1:])
    return np.asarray(for_display(jnp.asarray(resample_like(maps, affine, _coarse(volume)))))


@partial(jax.jit, static_argnames=("objective", "level"))
def _cam(
    objective: Classification,
    variables: Mapping[str, Any],
    hu: Int16[Array, "b s h w"],
    slice_mask: Bool[Array, "b s"],
    spacing_mm: Float[Array, "b 3"],
    weights: Float[Array, "labels"],
    level: Literal["scan", "slice"],
) -> Float[Array, "b s gh gw"]:
    x = objective.inputs(hu, slice_mask)
    return hires_cam(objective.model, variables, x, slice_mask, spacing_mm, label=weights, level=level)


def _coarse(volume: Volume) -> Volume:
    """The grid of a shown heat map over the same slices; its voxels hold nothing."""
    slices, *shape = volume.hu.shape
    cells = (min(shape[0], _SHOWN_CELLS), min(shape[1], _SHOWN_CELLS))
    z, y, x = volume.spacing_mm
    return replace(
        volume,
        hu=np.zeros((slices, *cells), np.int16),
        spacing_mm=(z, y * shape[0] / cells[0], x * shape[1] / cells[1]),
        affine=affine_of_cells(volume.affine, (shape[0], shape[1]), cells),
    )
