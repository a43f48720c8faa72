"""What is true of the bleeds beside their mask: on which side they lie, and how far they shift the midline."""

import numpy as np
from jaxtyping import Float

from ichformer.ct.phantom.anatomy.head import Head

_MONRO = (0.0, -10.0, 9.0)
"""Between the foramina of Monro, where the septum pellucidum meets the third ventricle; mm of the standard head."""


def midline_shift_mm(moved: Float[np.ndarray, "3 cz cy cx"], head: Head) -> float:
    """How far ``moved`` (mm, on the lattice) takes the septum pellucidum at the foramina of Monro to the left; mm.

    It is negative where the septum moved to the right.
    """
    now = head.lattice_mm() + head.wobble - moved
    far = ((now - np.asarray(_MONRO, np.float32)[:, None, None, None]) ** 2).sum(axis=0)
    weight = np.exp(far * (-1 / (2 * 5.0**2)))
    return float((weight * moved[0]).sum() / weight.sum() * head.scale[0])


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
