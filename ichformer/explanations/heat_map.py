"""Maps over the slices of a scan as they are shown, and not only over what the model was given."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from ichformer.ct.anatomy.outside import air_outside
from ichformer.ct.geometry.regrid import affine_of_cells, resample_like
from ichformer.ct.volume import Volume
from ichformer.errors import InputError
from ichformer.explanations.batch import explain_batch
from ichformer.explanations.registry import DEFAULT_METHOD
from ichformer.inference.scoring import batch_of_one
from ichformer.objectives.classification import Classification

_SHOWN_CELLS = 128
"""Cells along each side of a heat map as it is shown; features are coarser."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ScanMap:
    """The map of a label over a scan.

    Attributes:
      label: whose score is explained.
      method: the name of the method.
      level: whether the score is that of the scan or those of its slices.
      values: on the voxels of the scan, over ``largest``, so within [-1, 1]. 0 in the air outside the head, and where
        the model saw nothing.
      largest: the largest value of either sign before, in the unit of the method.
      grid: rows and columns of the cells that the values were interpolated from.
      completeness_error: see ``Explanation``; None for methods that have none.
    """

    label: str
    method: str
    level: Literal["scan", "slice"]
    values: Float32[np.ndarray, "s h w"]
    largest: float
    grid: tuple[int, int]
    completeness_error: float | None


def heat_map(
    objective: Classification,
    variables: Mapping[str, Any],
    prepared: Volume,
    volume: Volume,
    *,
    label: str,
    level: Literal["scan", "slice"],
    method: str = DEFAULT_METHOD,
) -> tuple[Float32[np.ndarray, "s gh gw"], tuple[int, int]]:
    """The map of a label's score over the slices of ``volume``, scaled to [0, 1] over the scan.

    Of a method with a sign it is what raised the score.

    Args:
      objective: as for ``scoring.score``.
      variables: see there.
      prepared: the scan that the model sees.
      volume: the scan that is shown; the same slices, before they were framed and their tilt removed.
      label: of the objective's label set.
      level: whose score is explained; the slices' unless they were never trained.
      method: of ``explanations.registry.EXPLANATIONS``.

    Returns:
      A grid over each slice of ``volume``, edge to edge; 0 where the model saw nothing of it, and in air. And rows and
      columns of the cells in a slice that it was interpolated from.
    """
    maps, affine, _ = _maps(objective, variables, prepared, label, level, method)
    shown = shown_grid(volume)
    laid = np.maximum(resample_like(maps, affine, shown), 0)
    return _scaled(laid, _cells_of_air(volume, shown.hu.shape[1:]))[0], (maps.shape[1], maps.shape[2])


def map_in_full(
    objective: Classification,
    variables: Mapping[str, Any],
    prepared: Volume,
    volume: Volume,
    *,
    label: str,
    level: Literal["scan", "slice"],
    method: str,
    rows: Int64[np.ndarray, " s"],
) -> ScanMap:
    """The map of a label's score on the voxels of ``volume``, whose slices may be others than those of the model.

    Args:
      objective, variables, prepared, label, level: as for ``heat_map``.
      volume: the scan as it was read.
      method: of ``explanations.registry.EXPLANATIONS``.
      rows: for each slice of ``volume`` the slice of ``prepared`` that stands for it.
    """
    maps, affine, error = _maps(objective, variables, prepared, label, level, method)
    values, largest = _scaled(resample_like(maps[rows], affine, volume), air_outside(volume.hu))
    return ScanMap(
        label=label,
        method=method,
        level=level,
        values=values,
        largest=largest,
        grid=(maps.shape[1], maps.shape[2]),
        completeness_error=error,
    )


def _maps(
    objective: Classification, variables: Mapping[str, Any], prepared: Volume, label: str, level: Any, method: str
) -> tuple[Float32[np.ndarray, "s gh gw"], Float64[np.ndarray, "4 4"], float | None]:
    """Maps on the method's grid, the affine of that grid, and the completeness error."""
    found = explain_batch(objective, variables, *batch_of_one(prepared), label=label, method=method, level=level)
    maps = np.asarray(found.maps[0, : len(prepared.hu)])
    if not np.isfinite(maps).all():
        raise InputError(f"{method} gave values that are no numbers", where=prepared.source[0], fix="take another one")
    error = None if found.completeness_error is None else float(found.completeness_error[0])
    return maps, affine_of_cells(prepared.affine, prepared.hu.shape[1:], maps.shape[1:]), error


def _scaled(
    laid: Float32[np.ndarray, "s h w"], air: Bool[np.ndarray, "s h w"]
) -> tuple[Float32[np.ndarray, "s h w"], float]:
    """One scale a scan, and its end; air has nothing."""
    laid = np.where(air, np.float32(0), laid)
    largest = float(np.abs(laid).max())
    return laid / np.float32(largest or 1.0), largest


def _cells_of_air(volume: Volume, cells: tuple[int, int]) -> Bool[np.ndarray, "s gh gw"]:
    """The cells of a grid over each slice that hold air outside the head alone."""
    held = ~air_outside(volume.hu)
    for axis, count in enumerate(cells, start=1):
        held = np.logical_or.reduceat(held, np.arange(count) * held.shape[axis] // count, axis=axis)
    return ~held


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
