"""Which tokens of a scan a pretraining hides: at random or in blocks, in each slice or in all of them."""

import math
from typing import Literal

import jax
import jax.numpy as jnp
from einops import rearrange
from jaxtyping import Array, Bool, Float, Int, Int16, Shaped

from ichformer.models.layers.attention.windows import Size
from ichformer.models.layers.draws import draw_by_scan

MaskKind = Literal["random", "block", "tube", "column"]

SAME_IN_ALL_SLICES = ("tube", "column")
"""Kinds that hide the same places in every slice."""

_AIR_HU = -500
"""Half-way between air and water: a token whose voxels are all below it shows nothing of the head."""

_BLOCK = 4
"""Side of a block in tokens, along each axis: with patches of 16 pixels of 0.8 mm about 5 cm in the slice."""


def holds_tissue(
    hu: Int16[Array, "b s h w"], slice_mask: Bool[Array, "b s"], patch_size: Size
) -> Bool[Array, "b tokens rows columns"]:
    """Tokens with a voxel of a real slice that is not air; sizes that patches do not divide are padded with air."""
    solid = (hu > _AIR_HU) & slice_mask[..., None, None]
    return to_patches(solid[..., None], patch_size).any(-1)


def to_patches(x: Shaped[Array, "b s h w c"], patch_size: Size) -> Shaped[Array, "b tokens rows columns pixels"]:
    """The voxels of each token, in the order (slice, row, column, channel).

    Sizes that patches do not divide are padded with zeros behind, as encoders do.
    """
    behind = [(0, -size % p) for size, p in zip(x.shape[1:4], patch_size, strict=True)]
    x = jnp.pad(x, [(0, 0), *behind, (0, 0)])
    p, q, r = patch_size
    return rearrange(x, "b (d p) (h q) (w r) c -> b d h w (p q r c)", p=p, q=q, r=r)


def draw_hidden(
    rng: Array, tissue: Bool[Array, "n tokens rows columns"], *, ratio: float, kind: MaskKind
) -> Bool[Array, "n tokens rows columns"]:
    """Tokens to hide: of those that hold tissue, the share ``ratio``, rounded, of each of the ``n`` scans or slices.

    "random" hides each by itself (He et al. 2022, section 3), "block" in blocks of up to 4 tokens along each axis, so
    that little can be filled in from next to it (Xie et al. 2022, SimMIM, section 4.1.2, with its larger mask patches),
    "tube" at the same places of all slices (Tong et al. 2022, VideoMAE, section 3.3; of places with tissue in any
    slice), "column" in blocks at the same places of all slices (Bardes et al. 2024, V-JEPA, section 3.2). Random
    numbers are those of the scan: see ``draws.draw_by_scan``.

    Args:
      rng: one key, the same in every layout.
      tissue: of ``holds_tissue``, one row a scan, or with one token a slice, one row a slice.
      ratio: above 0 and below 1.
      kind: see above.
    """
    n, *grid = tissue.shape
    if kind in SAME_IN_ALL_SLICES:
        in_slice: MaskKind = "random" if kind == "tube" else "block"
        return draw_hidden(rng, tissue.any(1, keepdims=True), ratio=ratio, kind=in_slice) & tissue

    def draw(key: Array, each: int) -> Array:
        fine, coarse = jax.random.split(key)
        draws = jax.random.uniform(fine, (each, *grid))
        if kind == "block":
            blocks = [-(-size // _BLOCK) for size in grid]
            whole = jax.random.uniform(coarse, (each, *blocks))
            for axis, size in enumerate(grid, start=1):
                whole = jnp.repeat(whole, _BLOCK, axis).take(jnp.arange(size), axis)
            draws = whole + 1e-3 * draws  # the tokens of a block follow each other
        return draws

    draws = jnp.where(tissue, draw_by_scan(rng, n, draw), jnp.inf).reshape(n, -1)
    place = jnp.argsort(jnp.argsort(draws, axis=1), axis=1)
    count = jnp.round(ratio * tissue.reshape(n, -1).sum(1, keepdims=True))
    return (place < count).reshape(tissue.shape)


def most_visible(tokens: int, ratio: float) -> int:
    """How many of ``tokens`` are never hidden, at most; at least one."""
    return max(1, tokens - math.floor(ratio * tokens))


def visible_first(
    hidden: Bool[Array, "n tokens"], tissue: Bool[Array, "n tokens"]
) -> tuple[Int[Array, "n tokens"], Int[Array, "n"]]:
    """The tokens in order, and how many of them are visible: visible ones, then air, then hidden ones."""
    visible = tissue & ~hidden
    order = jnp.argsort(jnp.where(visible, 0, jnp.where(hidden, 2, 1)), axis=1, stable=True)
    return order, visible.sum(1)


def tissue_mean(
    features: Float[Array, "b tokens rows columns d"], tissue: Bool[Array, "b tokens rows columns"]
) -> Float[Array, "b tokens d"]:
    """The mean feature of the tokens of each slice that hold tissue, in float32; 0 where none does."""
    counts = tissue[..., None]
    total = jnp.where(counts, features.astype(jnp.float32), 0).sum((2, 3))
    return total / jnp.maximum(counts.sum((2, 3)), 1)
