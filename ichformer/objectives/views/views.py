"""Two looks at one scan: crops, flips and changed HU, computed on the device, for objectives that compare them."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, Int16

from ichformer.ct.volume import AIR_HU
from ichformer.models.layers.draws import draw_by_scan

LEAST_AREA = 0.4
"""Of the slice, in a crop: a half of a brain shows no more than that (SimCLR takes 0.08 of a photograph)."""

LEAST_SLICES = 0.5
"""Share of a scan's slices in a view; they follow each other."""

Shares = tuple[float, float]
"""The smallest and the largest share of something that a view may show."""

OFFSET_HU, GAIN, NOISE_HU = 5.0, 0.1, 5.0
"""Changes of another scanner: the standard deviations of what is added and multiplied, and the largest noise's."""


def draw_view(
    rng: Array,
    hu: Int16[Array, "b s h w"],
    slice_mask: Bool[Array, "b s"],
    *,
    area: Shares = (LEAST_AREA, 1.0),
    slices: Shares = (LEAST_SLICES, 1.0),
    size: int | None = None,
) -> tuple[Int16[Array, "b s rows columns"], Bool[Array, "b s"]]:
    """A random view of each scan, with as many slices: some that follow each other are in it, and a part of each.

    The part of the slice is enlarged to the whole of it, and mirrored half of the time. HU are scaled and shifted a
    little, and noise is added. Random numbers are those of the scan: see ``draws.draw_by_scan``.

    Args:
      rng: one key, the same in every layout.
      hu: HU.
      slice_mask: real slices.
      area: of the slice that the part covers.
      slices: share of the real slices in the view.
      size: rows and columns of the view; those of the scan where None.

    Returns:
      HU, and which slices are real and in the view.
    """
    keys = draw_by_scan(rng, len(hu), lambda key, each: jax.random.split(key, each))
    shape = hu.shape[1:] if size is None else (hu.shape[1], size, size)
    view = functools.partial(_view, area=area, slices=slices, shape=shape)
    return jax.vmap(view)(keys, hu, slice_mask)


def _view(
    key: Array,
    hu: Int16[Array, "s h w"],
    slice_mask: Bool[Array, "s"],
    *,
    area: Shares,
    slices: Shares,
    shape: tuple[int, ...],
) -> tuple[Array, Array]:
    of_slices, of_place, of_flip, of_values, of_noise = jax.random.split(key, 5)
    mask = slice_mask & _run_of(of_slices, slice_mask, slices)
    covered, *corner = jax.random.uniform(of_place, (3,))
    side = (area[0] + (area[1] - area[0]) * covered) ** 0.5
    whole = jnp.asarray(hu.shape[1:], jnp.float32)
    zoom = jnp.asarray(shape[1:]) / whole / side
    first = jnp.stack(corner) * (1 - side) * whole
    above_air = hu.astype(jnp.float32) - AIR_HU
    above_air = jax.image.scale_and_translate(
        above_air, shape, (1, 2), zoom, -first * zoom, method="linear", antialias=False
    )
    above_air = jnp.where(jax.random.bernoulli(of_flip), above_air[..., ::-1], above_air)
    offset_hu, gain = jax.random.normal(of_values, (2,)) * jnp.asarray([OFFSET_HU, GAIN])
    noise_hu = NOISE_HU * jax.random.uniform(of_noise) * jax.random.normal(jax.random.fold_in(of_noise, 1), shape)
    changed = (above_air + AIR_HU) * (1 + gain) + offset_hu + noise_hu
    inside = above_air > 1  # air stays what it is
    return jnp.where(inside, jnp.maximum(jnp.round(changed), AIR_HU), AIR_HU).astype(jnp.int16), mask


def _run_of(key: Array, slice_mask: Bool[Array, "s"], slices: Shares) -> Bool[Array, "s"]:
    """Some of the real slices, which follow each other."""
    place: Int[Array, s] = jnp.cumsum(slice_mask) - 1
    count = slice_mask.sum()
    share, start = jax.random.uniform(key, (2,))
    length = jnp.ceil((slices[0] + (slices[1] - slices[0]) * share) * count)
    first = jnp.floor(start * (count - length + 1))
    return (place >= first) & (place < first + length)
