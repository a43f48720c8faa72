"""Cutout: a rectangle of air through all slices; labels never claim what it hides.

DeVries and Taylor, Improved Regularization of Convolutional Neural Networks with Cutout, 2017.
"""

from dataclasses import replace

import numpy as np
from jaxtyping import Int64, UInt8

from ichformer.cohorts.mask_labels import NO_LESION, UNKNOWN, boxes_in
from ichformer.ct.volume import AIR_HU
from ichformer.pipeline.augmentation.sample import Sample

LARGEST_SIDE = 0.25
"""Of the picture's side: a hole is at most a sixteenth of a slice, because most bleeds come without a mask."""


def random_hole(shape: tuple[int, ...], rng: np.random.Generator, *, side: float) -> tuple[slice, slice]:
    """Draws rows and columns of a rectangle inside the picture, each side up to ``side`` of the picture's."""
    rows, columns = (max(1, round(side * size * rng.random())) for size in shape)
    top, left = rng.integers(0, shape[0] - rows + 1), rng.integers(0, shape[1] - columns + 1)
    return slice(int(top), int(top) + rows), slice(int(left), int(left) + columns)


def cut_out(sample: Sample, hole: tuple[slice, slice]) -> Sample:
    """Fills the hole with air and clears the mask there.

    In a slice where the hole hides more than half of what the mask shows of bleeds, or of the boxes round those of one
    subtype, the positive labels become unknown, and so do all targets; what is left of such boxes becomes unknown too.
    Where there is no mask all labels stay: hence ``LARGEST_SIDE``.
    """
    hu = sample.hu.copy()
    hu[:, *hole] = AIR_HU
    hidden = np.zeros(len(hu), bool)
    mask = sample.mask
    if mask is not None:
        before, boxes = _lesion_size(mask), boxes_in(mask)
        mask = mask.copy()
        mask[:, *hole] = NO_LESION
        hidden |= 2 * _lesion_size(mask) < before
        left = boxes_in(mask)
        is_lost = 2 * left.sum((2, 3)) < boxes.sum((2, 3))
        hidden |= is_lost.any(0)
        mask[(left & is_lost[..., None, None]).any(0)] = UNKNOWN
    is_target = np.arange(sample.slice_labels.shape[1]) >= sample.slice_labels.shape[1] - sample.num_targets
    in_doubt = hidden[:, None] & ((sample.slice_labels > 0) | is_target)
    labels = np.where(in_doubt, np.float32(np.nan), sample.slice_labels)
    return replace(sample, hu=hu, slice_labels=labels, mask=mask)


def _lesion_size(mask: UInt8[np.ndarray, "s h w"]) -> Int64[np.ndarray, "s"]:
    """Pixels of lesions in each slice."""
    return ((mask != NO_LESION) & (mask != UNKNOWN)).sum((1, 2))
