"""Coarse maps as pictures: laid over the slices that they came from."""

import jax
from jaxtyping import Array, Float


def upsample(maps: Float[Array, "*scans gh gw"], size: tuple[int, int]) -> Float[Array, "*scans h w"]:
    """Maps on a feature grid laid over the slices they came from, bilinearly.

    Pixel centres are aligned: a cell of the grid covers ``size / grid`` pixels and its value stands at the middle of
    them, so a map neither shifts nor shrinks. Beyond the outermost centres the outermost value goes on.
    """
    return jax.image.resize(maps, (*maps.shape[:-2], *size), method="linear", antialias=False)
