"""From HU to what a model sees: windows as channels and, beside them, those of the neighbouring slices."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int16

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
    here = jnp.arange(hu.shape[1])[None]
    channels = []
    for offset in range(-neighbours, neighbours + 1):
        there = jnp.clip(here + offset, 0, hu.shape[1] - 1)
        real = (there == here + offset) & jnp.take(slice_mask, there[0], axis=1)
        if alone is not None:
            real = real & ~alone[:, None]
        source = jnp.where(real, there, here)
        shifted = hu if offset == 0 else jnp.take_along_axis(hu, source[:, :, None, None], axis=1)
        channels.append(apply_windows(shifted, windows, jnp))
    return jnp.concatenate(channels, axis=-1)
