"""From a prepared volume to scores and heat maps: the part of a prediction that runs on the device."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float32, Int16

from ichformer import LABELS
from ichformer.ct.geometry import affine_of_cells, resample_like
from ichformer.ct.volume import AIR_HU, Volume
from ichformer.explain.gradients import for_display, hires_cam
from ichformer.models.contract import scan_features
from ichformer.objectives.classification import Classification
from ichformer.pipeline.batch import SLICE_MULTIPLE

_SHOWN_CELLS = 128
"""Cells along each side of a heat map as it is shown; features are coarser."""


def score(
    objective: Classification, variables: Mapping[str, Any], prepared: Volume
) -> tuple[Float32[np.ndarray, "labels"], Float32[np.ndarray, "s labels"], Float32[np.ndarray, "d"]]:
    """Probabilities of the scan and of its slices, in the order of ``LABELS``, and the features of the scan.

    Args:
      objective: the model and what it sees of a scan.
      variables: what ``objective.model.apply`` takes first.
      prepared: the scan as the model's training prepared its own.
    """
    scan, slices, features = _probabilities(objective, variables, *_padded(prepared))
    return np.asarray(scan[0]), np.asarray(slices[0, : len(prepared.hu)]), np.asarray(features[0])


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
      objective: as for ``score``.
      variables: see there.
      prepared: the scan that the model sees.
      volume: the scan that is shown; the same slices, before they were framed and their tilt removed.
      label: one of ``LABELS``.
      level: whose score is explained; the slices' unless they were never trained.

    Returns:
      A grid over each slice of ``volume``, edge to edge; 0 where the model saw nothing of it.
    """
    weights = jax.nn.one_hot(LABELS.index(label), len(LABELS))
    maps = np.asarray(_cam(objective, variables, *_padded(prepared), weights, level)[0, : len(prepared.hu)])
    affine = affine_of_cells(prepared.affine, prepared.hu.shape[1:], maps.shape[1:])
    return np.asarray(for_display(jnp.asarray(resample_like(maps, affine, _coarse(volume)))))


@partial(jax.jit, static_argnames="objective")
def _probabilities(
    objective: Classification,
    variables: Mapping[str, Any],
    hu: Int16[Array, "b s h w"],
    slice_mask: Bool[Array, "b s"],
    spacing_mm: Float[Array, "b 3"],
) -> tuple[Float[Array, "b labels"], Float[Array, "b s labels"], Float[Array, "b d"]]:
    x = objective.inputs(hu, slice_mask)
    prediction = objective.model.apply(variables, x, slice_mask, spacing_mm, False)
    scan_logits, slice_logits = (
        logits.astype(jnp.float32) for logits in (prediction.scan_logits, prediction.slice_logits)
    )
    return jax.nn.sigmoid(scan_logits), jax.nn.sigmoid(slice_logits), scan_features(prediction, slice_mask)


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


def _padded(volume: Volume) -> tuple[Array, Array, Array]:
    """A batch of one: HU, slice mask, spacing."""
    slices = len(volume.hu)
    missing = -slices % SLICE_MULTIPLE
    hu = np.pad(volume.hu, ((0, missing), (0, 0), (0, 0)), constant_values=AIR_HU)
    mask = np.arange(slices + missing) < slices
    return jnp.asarray(hu)[None], jnp.asarray(mask)[None], jnp.asarray(volume.spacing_mm, jnp.float32)[None]


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
