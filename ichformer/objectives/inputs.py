"""From HU to what a model sees: windows as channels and, beside them, those of the neighbouring slices."""

from collections.abc import Iterator

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int16, Shaped

from ichformer.ct.windows import Window, apply_windows


def model_inputs(
    hu: Int16[Array, "b s h w"],
    slice_mask: Bool[Array, "b s"],
    windows: tuple[Window, ...],
    neighbours: int,
    alone: Bool[Array, "b"] | None = None,
) -> Float[Array, "b s h w c"]:
    """Windowed slices with ``neighbours`` slices from either side as further channels, the "2.5-D" of RSNA 2019.

    Channels run slice by slice from inferior to superior, the windows of a slice together. Where the scan has no
    such neighbour, be it at its ends or because it is padding, the slice itself stands in.

    Args:
      hu: [B,S,H,W].
      slice_mask: False where a slice is padding.
      windows: channels of one slice.
      neighbours: k on each side; the result has ``(2 k + 1) len(windows)`` channels.
      alone: True for scans whose slices are seen without their neighbours, as single pictures are.
    """
    seen = _each_neighbour(hu, slice_mask, neighbours, alone)
    return jnp.concatenate([apply_windows(slices, windows, jnp) for slices in seen], axis=-1)


def with_neighbours(
    windowed: Float[Array, "b s h w c"], slice_mask: Bool[Array, "b s"], neighbours: int
) -> Float[Array, "b s h w c2"]:
    """``model_inputs`` of slices that were windowed already, [B,S,H,W,windows]: windows and neighbours commute.

    A gradient with respect to ``windowed`` gives each slice what its neighbours saw of it, beside what it saw itself.
    """
    return jnp.concatenate([*_each_neighbour(windowed, slice_mask, neighbours)], axis=-1)


def _each_neighbour(
    slices: Shaped[Array, "b s *picture"],
    slice_mask: Bool[Array, "b s"],
    neighbours: int,
    alone: Bool[Array, "b"] | None = None,
) -> Iterator[Shaped[Array, "b s *picture"]]:
    """For each offset, from the lowest neighbour to the highest, the slice that stands there for each slice."""
    here = jnp.arange(slices.shape[1])[None]
    for offset in range(-neighbours, neighbours + 1):
        there = jnp.clip(here + offset, 0, slices.shape[1] - 1)
        real = (there == here + offset) & jnp.take(slice_mask, there[0], axis=1, mode="clip")
        if alone is not None:
            real = real & ~alone[:, None]
        source = jnp.where(real, there, here).reshape(*slice_mask.shape, *(1,) * (slices.ndim - 2))
        yield slices if offset == 0 else jnp.take_along_axis(slices, source, axis=1, mode="clip")
