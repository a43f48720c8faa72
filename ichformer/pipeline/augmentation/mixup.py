"""Mixup of whole batches: each scan with the one half a batch further on.

Zhang et al., mixup: Beyond Empirical Risk Minimization, 2018. Scans half a batch apart lie on the same host however
many hosts share the batch, as long as each has an even number of them: so the batch is the same for all.
"""

import numpy as np
from jaxtyping import Float, UInt8

from ichformer.cohorts.mask_labels import UNKNOWN, is_boxed
from ichformer.pipeline.batch import Batch


def mix_batch(batch: Batch, share: float) -> Batch:
    """Mixes each scan with the one half a batch further on, by ``share``; ``row`` stays that of the first.

    Labels mix as the pictures do and are unknown where either is; so are voxels whose lesions differ, or that lie in
    boxes. A slice that only one of the two has is its own, unmixed, and so are its labels.
    """
    other = Batch(*(None if values is None else np.roll(values, len(values) // 2, axis=0) for values in batch))
    own, theirs = share * batch.slice_mask, (1 - share) * other.slice_mask
    total = own + theirs
    part = np.divide(own, total, out=np.ones_like(total), where=total > 0)
    return Batch(
        hu=np.rint(_mix(part[..., None, None].astype(np.float32), batch.hu, other.hu)).astype(np.int16),
        slice_mask=total > 0,
        spacing_mm=_mix(share, batch.spacing_mm, other.spacing_mm).astype(np.float32),
        slice_labels=_mix(part[..., None], batch.slice_labels, other.slice_labels).astype(np.float32),
        scan_labels=_mix(share, batch.scan_labels, other.scan_labels).astype(np.float32),
        weight=_mix(share, batch.weight, other.weight).astype(np.float32),
        row=batch.row,
        lesions=None if batch.lesions is None else _mix_lesions(part[..., None, None], batch.lesions, other.lesions),
    )


def _mix_lesions(
    part: Float[np.ndarray, "b s 1 1"], a: UInt8[np.ndarray, "b s h w"], b: UInt8[np.ndarray, "b s h w"]
) -> UInt8[np.ndarray, "b s h w"]:
    is_same = (a == b) & ~is_boxed(a)
    return np.where(part == 1, a, np.where((part == 0) | is_same, b, np.uint8(UNKNOWN)))


def _mix(part: float | Float[np.ndarray, "..."], a: np.ndarray, b: np.ndarray) -> Float[np.ndarray, "..."]:
    # A part of nothing takes nothing: 0 times an unknown label is unknown.
    return np.where(part == 1, a, np.where(part == 0, b, part * a + (1 - part) * b))
