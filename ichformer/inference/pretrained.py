"""A scan through a pretraining: features of its slices, and what is made of what is hidden."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float32

from ichformer.ct.volume import Volume
from ichformer.inference.scoring import batch_of_one
from ichformer.objectives.base import Pretraining
from ichformer.objectives.masked.masked_objective import MaskedPixels, Reconstruction
from ichformer.pipeline.batch import Batch


def slice_features(objective: Pretraining, params: Any, volume: Volume) -> Float32[np.ndarray, "s d"]:
    """The features of each slice of a prepared scan."""
    found = _features(objective, params, _batch(volume))
    return np.asarray(found, np.float32)[0, : len(volume.hu)]


def reconstruct(objective: MaskedPixels, params: Any, volume: Volume, *, seed: int = 0) -> Reconstruction:
    """What a model makes of a prepared scan of which most is hidden: arrays [S,H,W,C], as ``Reconstruction`` says."""
    found = jax.device_get(_reconstruct(objective, params, _batch(volume), jax.random.key(seed)))
    return jax.tree.map(lambda pictures: pictures[0, : len(volume.hu)], found)


@partial(jax.jit, static_argnums=0)
def _features(objective: Pretraining, params: Any, batch: Batch) -> jax.Array:
    return objective.features(params, batch)


@partial(jax.jit, static_argnums=0)
def _reconstruct(objective: MaskedPixels, params: Any, batch: Batch, rng: jax.Array) -> Reconstruction:
    return objective.reconstruct(params, batch, rng)


def _batch(volume: Volume) -> Batch:
    hu, slice_mask, spacing_mm = batch_of_one(volume)
    unknown = jnp.full((1, hu.shape[1], 0), jnp.nan)
    return Batch(
        hu=hu,
        slice_mask=slice_mask,
        spacing_mm=spacing_mm,
        slice_labels=unknown,
        scan_labels=unknown[:, 0],
        weight=jnp.ones(1),
        row=jnp.zeros(1, jnp.int32),
    )
