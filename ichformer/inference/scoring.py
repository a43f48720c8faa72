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
from ichformer.pipeline.batch import SLICE_MULTIPLE


def score(
    objective: Classification, variables: Mapping[str, Any], prepared: Volume
) -> tuple[Float32[np.ndarray, "labels"], Float32[np.ndarray, "s labels"], Float32[np.ndarray, "d"]]:
    """Scores of the scan and of its slices (``Classification.scores``), and the features of the scan.

    Args:
      objective: the model and what it sees of a scan.
      variables: what ``objective.model.apply`` takes first.
      prepared: the scan as the model's training prepared its own.
    """
    scan, slices, features = _probabilities(objective, variables, *batch_of_one(prepared))
    return np.asarray(scan[0]), np.asarray(slices[0, : len(prepared.hu)]), np.asarray(features[0])


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
    slice_scores, scan_scores = objective.scores(prediction)
    return scan_scores, slice_scores, scan_features(prediction, slice_mask)


def batch_of_one(volume: Volume) -> tuple[Array, Array, Array]:
    """A batch of one: HU, slice mask, spacing."""
    slices = len(volume.hu)
    missing = -slices % SLICE_MULTIPLE
    hu = np.pad(volume.hu, ((0, missing), (0, 0), (0, 0)), constant_values=AIR_HU)
    mask = np.arange(slices + missing) < slices
    return jnp.asarray(hu)[None], jnp.asarray(mask)[None], jnp.asarray(volume.spacing_mm, jnp.float32)[None]
