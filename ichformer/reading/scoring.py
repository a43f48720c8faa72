"""From a prepared volume to scores and heat maps: the part of a prediction that runs on the device."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float32, Int16

from ichformer import LABELS
from ichformer.ct.geometry import affine_of_cells, resample_like
from ichformer.ct.volume import AIR_HU, Volume
from ichformer.ct.windows import Window, apply_windows
from ichformer.explain.gradients import for_display, hires_cam
from ichformer.models.contract import scan_features
from ichformer.pipeline.batch import SLICE_MULTIPLE

_SHOWN_CELLS = 128
"""Cells along each side of a heat map as it is shown; features are coarser."""


def score(
    model: nn.Module, variables: Mapping[str, Any], windows: tuple[Window, ...], prepared: Volume
) -> tuple[Float32[np.ndarray, "labels"], Float32[np.ndarray, "s labels"], Float32[np.ndarray, "d"]]:
    """Probabilities of the scan and of its slices, in the order of ``LABELS``, and the features of the scan.

    Args:
      model: obeys ``models.contract.Classifier``.
      variables: what ``model.apply`` takes first.
      windows: the channels of its input.
      prepared: the scan as the model's training prepared its own.
    """
    scan, slices, features = _probabilities(model, windows, variables, *_padded(prepared))
    return np.asarray(scan[0]), np.asarray(slices[0, : len(prepared.hu)]), np.asarray(features[0])


def heat_map(
    model: nn.Module,
    variables: Mapping[str, Any],
    windows: tuple[Window, ...],
    prepared: Volume,
    volume: Volume,
    *,
    label: str,
) -> Float32[np.ndarray, "s gh gw"]:
    """HiResCAM of a label's slice scores, laid over the slices of ``volume`` and scaled to [0, 1] over the scan.

    Args:
      model: as for ``score``, and so are ``variables`` and ``windows``.
      variables: see there.
      windows: see there.
      prepared: the scan that the model sees.
      volume: the scan that is shown; the same slices, before they were framed and their tilt removed.
      label: one of ``LABELS``.

    Returns:
      A grid over each slice of ``volume``, edge to edge; 0 where the model saw nothing of it.
    """
    weights = jax.nn.one_hot(LABELS.index(label), len(LABELS))
    maps = np.asarray(_cam(model, windows, variables, *_padded(prepared), weights)[0, : len(prepared.hu)])
    affine = affine_of_cells(prepared.affine, prepared.hu.shape[1:], maps.shape[1:])
    return np.asarray(for_display(jnp.asarray(resample_like(maps, affine, _coarse(volume)))))


@partial(jax.jit, static_argnames=("model", "windows"))
def _probabilities(
    model: nn.Module,
    windows: tuple[Window, ...],
    variables: Mapping[str, Any],
    hu: Int16[Array, "b s h w"],
    slice_mask: Bool[Array, "b s"],
    spacing_mm: Float[Array, "b 3"],
) -> tuple[Float[Array, "b labels"], Float[Array, "b s labels"], Float[Array, "b d"]]:
    prediction = model.apply(variables, apply_windows(hu, windows, jnp), slice_mask, spacing_mm, False)
    scan_logits, slice_logits = (
        logits.astype(jnp.float32) for logits in (prediction.scan_logits, prediction.slice_logits)
    )
    return jax.nn.sigmoid(scan_logits), jax.nn.sigmoid(slice_logits), scan_features(prediction, slice_mask)


@partial(jax.jit, static_argnames=("model", "windows"))
def _cam(
    model: nn.Module,
    windows: tuple[Window, ...],
    variables: Mapping[str, Any],
    hu: Int16[Array, "b s h w"],
    slice_mask: Bool[Array, "b s"],
    spacing_mm: Float[Array, "b 3"],
    weights: Float[Array, "labels"],
) -> Float[Array, "b s gh gw"]:
    x = apply_windows(hu, windows, jnp)
    return hires_cam(model, variables, x, slice_mask, spacing_mm, label=weights, level="slice")


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
