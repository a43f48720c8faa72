"""From a prepared volume to scores: the part of a prediction that runs on the device."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float32, Int16

from ichformer.ct.volume import AIR_HU, Volume
from ichformer.models.contract import scan_features
from ichformer.objectives.classification import Classification

_SLICES = 8
"""A scan alone is padded to a multiple of so many slices: the first one of each length waits for the compiler."""


def score(
    objective: Classification, variables: Mapping[str, Any], prepared: Volume
) -> tuple[Float32[np.ndarray, "labels"], Float32[np.ndarray, "s labels"], Float32[np.ndarray, "d"]]:
    """Scores of the scan and of its slices (``Classification.scores``), and the features of the scan.

    Args:
      objective: the model and what it sees of a scan.
      variables: what ``objective.model.apply`` takes first.
      prepared: the scan as the model's training prepared its own.
    """
    return score_with_lesions(objective, variables, prepared)[:3]


def score_with_lesions(
    objective: Classification, variables: Mapping[str, Any], prepared: Volume
) -> tuple[
    Float32[np.ndarray, "labels"],
    Float32[np.ndarray, "s labels"],
    Float32[np.ndarray, "d"],
    Float32[np.ndarray, "s gh gw labels"] | None,
]:
    """``score``, and from the same computation the probabilities of lesions.

    Those are on a grid that covers the slices of ``prepared`` from edge to edge (``inference.lesions``), with NaN for
    labels whose lesions were never trained; None where the model has no lesion head.
    """
    found = _probabilities(objective, variables, *batch_of_one(prepared))
    scan, slices, features, lesions = jax.device_get(found)
    count = len(prepared.hu)
    maps = None if lesions is None else lesions[0, :count]
    return scan[0], slices[0, :count], features[0], maps


@partial(jax.jit, static_argnames="objective")
def _probabilities(
    objective: Classification,
    variables: Mapping[str, Any],
    hu: Int16[Array, "b s h w"],
    slice_mask: Bool[Array, "b s"],
    spacing_mm: Float[Array, "b 3"],
) -> tuple[
    Float[Array, "b labels"], Float[Array, "b s labels"], Float[Array, "b d"], Float[Array, "b s gh gw labels"] | None
]:
    x = objective.inputs(hu, slice_mask)
    prediction = objective.model.apply(variables, x, slice_mask, spacing_mm, False)
    slice_scores, scan_scores = objective.scores(prediction)
    return scan_scores, slice_scores, scan_features(prediction, slice_mask), objective.lesion_scores(prediction)


def batch_of_one(volume: Volume, *, longest: int = 0) -> tuple[Array, Array, Array]:
    """A batch of one: HU, slice mask, spacing.

    Args:
      volume: a prepared scan.
      longest: slices of the longest of several scans, so that all get one shape and one program serves them.
    """
    slices = len(volume.hu)
    missing = -max(slices, longest) % _SLICES + max(slices, longest) - slices
    hu = np.pad(volume.hu, ((0, missing), (0, 0), (0, 0)), constant_values=AIR_HU)
    mask = np.arange(slices + missing) < slices
    return jnp.asarray(hu)[None], jnp.asarray(mask)[None], jnp.asarray(volume.spacing_mm, jnp.float32)[None]
