"""The head rest: a curved shell with foam in it, the same in all slices, of another shape and density in every scan."""

import numpy as np
from jaxtyping import Float

from ichformer.ct.phantom.acquisition.stack import Stack


def head_rest(stack: Stack, rng: np.random.Generator) -> Float[np.ndarray, "h w"]:
    """HU + 1000 of the head rest at the pixels of a slice; 0 where there is none of it."""
    y, x = stack.rows_mm[:, None].astype(np.float32), stack.columns_mm[None, :].astype(np.float32)
    half_mm, deep_mm, below_mm = rng.uniform(92, 128), rng.uniform(70, 120), rng.uniform(104, 119)
    ends_mm, shell_mm = rng.uniform(-15, 60), rng.uniform(0.9, 2.2)
    # Carbon fibre, plastic or a wooden core: fat to soft bone, and foam of a twentieth of water.
    shell, foam = rng.uniform(800, 1900), rng.uniform(20, 90)
    shift_mm = rng.normal(0, 3)
    inside = 1 - np.sqrt(((x - shift_mm) / half_mm) ** 2 + ((y - below_mm + deep_mm) / deep_mm) ** 2)
    inside *= np.sqrt(half_mm * deep_mm)
    reach = np.clip((y - ends_mm) / 4, 0, 1)
    wall = np.clip(shell_mm + 0.5 - np.abs(inside), 0, 1)
    pad = np.clip(inside - shell_mm, 0, 1) * np.clip(y - ends_mm - 20, 0, 1)
    return np.asarray(np.maximum(wall * shell, pad * foam) * reach, np.float32)
