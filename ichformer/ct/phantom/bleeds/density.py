"""What the blood of a bleed looks like inside: how dense and thin blood lie in it."""

import numpy as np
from jaxtyping import Float

from ichformer.ct.phantom.anatomy.grid import Grid, random_field, waves
from ichformer.ct.phantom.anatomy.shapes import Points
from ichformer.ct.phantom.bleeds.bleed import Blood


def blood_hu(
    blood: Blood, p: Points, grid: Grid, inside_mm: Float[np.ndarray, "i k j"]
) -> Float[np.ndarray, "i k j"] | float:
    """HU at the grid's positions ``p``, which lie ``inside_mm`` below the surface of the bleed."""
    if blood.texture == "even":
        return blood.hu
    rng = np.random.default_rng(blood.seed)
    if blood.texture == "level":
        # The patient lies on the back, however the head is turned: down is where the scanner's y grows.
        y = np.broadcast_to(grid.y_mm[:, None, None], grid.shape)
        surface = np.quantile(y[inside_mm > 0], 1 - blood.cells) if (inside_mm > 0).any() else 0.0
        thin = 0.5 - (y - np.float32(surface)) * np.float32(0.2)
    elif blood.texture == "fading":
        thin = 1.1 - inside_mm * np.float32(1.1 / float(inside_mm.max(initial=1.0)))
    elif blood.texture == "grains":
        thin = 0.35 + 0.8 * waves(rng, np.stack(p), wavelength_mm=float(rng.uniform(5, 9)), count=12)
    else:
        cut = rng.uniform(0.2, 0.9)
        field = grid.spread(random_field(rng))
        # Blobs of a quarter of it, and membranes between chambers.
        thin = 0.5 + 1.8 * (field - cut) if blood.texture == "swirl" else 1 - np.exp(-((field * 5) ** 2))
    return blood.hu + (blood.thin_hu - blood.hu) * np.clip(thin, 0, 1, dtype=np.float32)
