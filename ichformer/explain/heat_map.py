"""Heat maps over the slices of a scan as they are shown, and not only over what the model was given."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float32, Float64, Int16, Int64

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
    maps, affine = _maps(objective, variables, prepared, label, level)
    return np.asarray(for_display(jnp.asarray(resample_like(maps, affine, shown_grid(volume)))))


def heat_map_in_full(
    objective: Classification,
    variables: Mapping[str, Any],
    prepared: Volume,
    volume: Volume,
    *,
    label: str,
    level: Literal["scan", "slice"],
    rows: Int64[np.ndarray, " s"],
) -> Float32[np.ndarray, "s h w"]:
    """``heat_map`` on the voxels of ``volume``, whose slices may be others than those that the model sees.

    Args:
      objective, variables, prepared, label, level: as for ``heat_map``.
      volume: the scan as it was read.
      rows: for each slice of ``volume`` the slice of ``prepared`` that stands for it.
    """
    maps, affine = _maps(objective, variables, prepared, label, level)
    return np.asarray(for_display(jnp.asarray(resample_like(maps[rows], affine, volume))))


def _maps(
    objective: Classification, variables: Mapping[str, Any], prepared: Volume, label: str, level: Any
) -> tuple[Float32[np.ndarray, "s gh gw"], Float64[np.ndarray, "4 4"]]:
    """Maps on the model's feature grid, and the affine of that grid."""
    columns = objective.label_set.columns
    weights = jax.nn.one_hot(columns.index(label), len(columns))
    maps = np.asarray(_cam(objective, variables, *batch_of_one(prepared), weights, level)[0, : len(prepared.hu)])
    return maps, affine_of_cells(prepared.affine, prepared.hu.shape[1:], maps.shape[1:])


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


def shown_grid(volume: Volume) -> Volume:
    """The grid of a map as a report shows it, over the same slices; its voxels hold nothing."""
    slices, *shape = volume.hu.shape
    cells = (min(shape[0], _SHOWN_CELLS), min(shape[1], _SHOWN_CELLS))
    z, y, x = volume.spacing_mm
    return replace(
        volume,
        hu=np.zeros((slices, *cells), np.int16),
        spacing_mm=(z, y * shape[0] / cells[0], x * shape[1] / cells[1]),
        affine=affine_of_cells(volume.affine, (shape[0], shape[1]), cells),
    )
