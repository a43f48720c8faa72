"""Two looks at one scan: crops, flips and changed HU, computed on the device, for objectives that compare them."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, Int16

from ichformer.ct.volume import AIR_HU
from ichformer.models.layers.draws import draw_by_scan

LEAST_AREA = 0.4
"""Of the slice, in a crop: a half of a brain shows no more than that (SimCLR takes 0.08 of a photograph)."""

LEAST_SLICES = 0.5
"""Share of a scan's slices in a view; they follow each other."""

OFFSET_HU, GAIN, NOISE_HU = 5.0, 0.1, 5.0
"""Changes of another scanner: the standard deviations of what is added and multiplied, and the largest noise's."""


def draw_view(
    rng: Array, hu: Int16[Array, "b s h w"], slice_mask: Bool[Array, "b s"]
) -> tuple[Int16[Array, "b s h w"], Bool[Array, "b s"]]:
    """A random view of each scan, of the same shape: a part of its slices, and the same part of each of them.

    The part of the slice is enlarged to the whole of it, and mirrored half of the time. HU are scaled and shifted a
    little, and noise is added. Random numbers are those of the scan: see ``draws.draw_by_scan``.

    Args:
      rng: one key, the same in every layout.
      hu: HU.
      slice_mask: real slices.

    Returns:
      HU, and which slices are real and in the view.
    """
    keys = draw_by_scan(rng, len(hu), lambda key, each: jax.random.split(key, each))
    return jax.vmap(_view)(keys, hu, slice_mask)


def _view(key: Array, hu: Int16[Array, "s h w"], slice_mask: Bool[Array, "s"]) -> tuple[Array, Array]:
    of_slices, of_place, of_flip, of_values, of_noise = jax.random.split(key, 5)
    mask = slice_mask & _run_of(of_slices, slice_mask)
    area, *corner = jax.random.uniform(of_place, (3,))
    zoom = (LEAST_AREA + (1 - LEAST_AREA) * area) ** -0.5
    first = jnp.stack(corner) * (1 - 1 / zoom) * jnp.asarray(hu.shape[1:])
    above_air = hu.astype(jnp.float32) - AIR_HU
    above_air = jax.image.scale_and_translate(
        above_air, hu.shape, (1, 2), jnp.full(2, zoom), -first * zoom, method="linear", antialias=False
    )
    above_air = jnp.where(jax.random.bernoulli(of_flip), above_air[..., ::-1], above_air)
    offset_hu, gain = jax.random.normal(of_values, (2,)) * jnp.asarray([OFFSET_HU, GAIN])
    noise_hu = NOISE_HU * jax.random.uniform(of_noise) * jax.random.normal(jax.random.fold_in(of_noise, 1), hu.shape)
    changed = (above_air + AIR_HU) * (1 + gain) + offset_hu + noise_hu
    inside = above_air > 1  # air stays what it is
    return jnp.where(inside, jnp.maximum(jnp.round(changed), AIR_HU), AIR_HU).astype(jnp.int16), mask


def _run_of(key: Array, slice_mask: Bool[Array, "s"]) -> Bool[Array, "s"]:
    """Slices that follow each other, at least ``LEAST_SLICES`` of the real ones."""
    place: Int[Array, s] = jnp.cumsum(slice_mask) - 1
    count = slice_mask.sum()
    share, start = jax.random.uniform(key, (2,))
    length = jnp.ceil((LEAST_SLICES + (1 - LEAST_SLICES) * share) * count)
    first = jnp.floor(start * (count - length + 1))
    return (place >= first) & (place < first + length)
