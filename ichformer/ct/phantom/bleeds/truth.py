"""What is true of the bleeds beside their mask: on which side they lie, and how far they shift the midline."""

import numpy as np
from jaxtyping import Float

from ichformer.ct.phantom.anatomy.grid import lattice_points
from ichformer.ct.phantom.anatomy.head import Head

_MONRO = (0.0, -10.0, 9.0)
"""Between the foramina of Monro, where the septum pellucidum meets the third ventricle; mm of the standard head."""


def midline_shift_mm(moved: Float[np.ndarray, "3 cz cy cx"], head: Head) -> float:
    """How far ``moved`` (mm, on the lattice) takes the septum pellucidum at the foramina of Monro to the left; mm.

    It is negative where the septum moved to the right.
    """
    before, after = (_septum_mm(head.lattice_mm() + head.wobble - by) for by in (np.zeros_like(moved), moved))
    return float(head.rotation[0] @ (after - before))


def _septum_mm(brain_mm: Float[np.ndarray, "3 cz cy cx"]) -> Float[np.ndarray, "3"]:
    """Where the septum lies, given the place in the brain of each point of the lattice."""
    far = ((brain_mm - np.asarray(_MONRO, np.float32)[:, None, None, None]) ** 2).sum(axis=0)
    weight = np.exp(far * (-1 / (2 * 3.5**2)))
    return (lattice_points() * weight).sum(axis=(1, 2, 3)) / weight.sum()


def side_of(share: Float[np.ndarray, "i k j"], x_mm: Float[np.ndarray, "i k j"]) -> str:
    """The side of the head on which blood lies, given the ``share`` of each voxel: left, right, both or midline.

    "midline" is blood on both sides of which most lies within 12 mm of the middle; "" is no blood.
    """
    total = float(share.sum())
    if total == 0:
        return ""
    left = float(share[x_mm > 0].sum()) / total
    if max(left, 1 - left) > 0.85:
        return "left" if left > 0.5 else "right"
    return "midline" if float(share[np.abs(x_mm) < 12].sum()) > 0.5 * total else "both"
