"""The loss of lesion maps: cross-entropy and Dice of known voxels, and what boxes round lesions tell."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Shaped, UInt8

from ichformer import LABELS
from ichformer.cohorts.mask_labels import NO_LESION, UNKNOWN, UNKNOWN_LABEL, is_boxed

_CROSS_ENTROPY_WEIGHT = 10.0
"""Beside Dice. Lesions fill few places, so that the mean over all of them is small."""

_SMOOTH = 1.0
"""Places that are added to both sides of the quotient of Dice, so that a few of them do not decide it."""


def lesion_loss(
    logits: Float[Array, "b s h w labels"],
    lesions: UInt8[Array, "b s rows columns"],
    slice_mask: Bool[Array, "b s"],
    *,
    names: tuple[str, ...],
    trained: tuple[str, ...],
) -> tuple[Float[Array, "b"], Float[Array, "b"]]:
    """Loss of each scan, and whether anything is known of its lesions (1 or 0).

    The mean cross-entropy over places and labels, and the mean soft Dice loss (Milletari et al. 2016, eq. 3) over all
    slices and labels that have a lesion. A slice counts the same whatever the size of its lesion, so that small ones
    count, and slices without one are left to the cross-entropy.

    In a slice with boxes round lesions of a label, it is known that none lies outside, and that some place inside of
    them has one. There the loss is the cross-entropy of the largest score inside (multiple-instance learning), in place
    of Dice. That a tight box has a place in each of its rows and columns (Kervadec et al., MIDL 2020) is not asked
    for: slices are turned at random, and a turned box has no rows of the grid.

    Args:
      logits: the model's.
      lesions: ``Batch.lesions``.
      slice_mask: False where a slice is padding.
      names: of the last axis of ``logits``.
      trained: the labels that count.
    """
    logits = logits.astype(jnp.float32)
    share, known = lesion_shares(lesions, names, (logits.shape[2], logits.shape[3]))
    counts = jnp.asarray([name in trained for name in names])
    counts = (slice_mask[..., None] & counts[None, None])[:, :, None, None]
    boxed = boxed_places(lesions, names, (logits.shape[2], logits.shape[3])) & counts
    known = jnp.where(boxed, 0.0, known * counts)  # a place that a box covers in part, too
    every, places = (1, 2, 3, 4), (2, 3)
    total = known.sum(every)
    entropy = (optax.sigmoid_binary_cross_entropy(logits, share) * known).sum(every) / jnp.maximum(total, 1e-6)
    scores, truth = jax.nn.sigmoid(logits) * known, share * known
    overlap, size = (scores * truth).sum(places), (jnp.square(scores) + jnp.square(truth)).sum(places)
    has_lesion = (truth.max(places) > 0).astype(jnp.float32)
    dice = (1 - (2 * overlap + _SMOOTH) / (size + _SMOOTH)) * has_lesion
    has_box = boxed.any(places)
    largest = jnp.where(boxed, logits, jnp.finfo(jnp.float32).min).max(places)
    of_slices = jnp.where(has_box, jax.nn.softplus(-largest), dice)
    counted = jnp.maximum(has_lesion, has_box.astype(jnp.float32))
    mean = of_slices.sum((1, 2)) / jnp.maximum(counted.sum((1, 2)), 1)
    return _CROSS_ENTROPY_WEIGHT * entropy + mean, ((total > 0) | has_box.any((1, 2))).astype(jnp.float32)


def boxed_places(
    lesions: UInt8[Array, "b s rows columns"], names: tuple[str, ...], size: tuple[int, int]
) -> Bool[Array, "b s h w labels"]:
    """Which places of a coarser grid lie in a box of each label, at least in part; "any" has the boxes of all."""
    return _area_means(_inside_of_boxes(lesions, names).astype(jnp.float32), size) > 0


def lesion_shares(
    lesions: UInt8[Array, "b s rows columns"], names: tuple[str, ...], size: tuple[int, int]
) -> tuple[Float[Array, "b s h w labels"], Float[Array, "b s h w labels"]]:
    """For each place of a coarser grid and each label: the share of its known voxels with a lesion, and of known ones.

    "any", or the only label, has a lesion where any label has, also an unknown one. Nothing is known inside of boxes
    round lesions of the label.
    """
    values = lesions[..., None]
    own, is_any = _for_each_label(np.arange(1, 1 + len(names), dtype=np.uint8), lesions), _is_any(lesions, names)
    in_boxes = is_boxed(values)
    positive = (values == own) | (is_any & (values != NO_LESION) & ~in_boxes & (values != UNKNOWN))
    in_no_own = (values < UNKNOWN_LABEL) & ~_inside_of_boxes(lesions, names)
    known = in_no_own | (is_any & (values == UNKNOWN_LABEL))
    of_positive, of_known = (_area_means(mask.astype(jnp.float32), size) for mask in (positive, known))
    return of_positive / jnp.maximum(of_known, 1e-6), of_known


def _inside_of_boxes(
    lesions: UInt8[Array, "b s rows columns"], names: tuple[str, ...]
) -> Bool[Array, "b s rows columns labels"]:
    """Which voxels lie in a box of each label."""
    values = lesions[..., None]
    bits = np.array([1 << LABELS.index(name) if name in LABELS[:-1] else 0 for name in names], np.uint8)
    return is_boxed(values) & (((values & _for_each_label(bits, lesions)) > 0) | _is_any(lesions, names))


def _is_any(lesions: UInt8[Array, "b s rows columns"], names: tuple[str, ...]) -> Bool[Array, "1 1 1 1 labels"]:
    """Whether a label is "any" or the only one, with as many axes as places have."""
    return _for_each_label(np.array([name == "any" or len(names) == 1 for name in names]), lesions)


def _for_each_label(values: Shaped[np.ndarray, "labels"], lesions: UInt8[Array, "b s rows columns"]) -> Array:
    return jnp.asarray(values).reshape((1,) * lesions.ndim + (-1,))


def _area_means(x: Float[Array, "b s rows columns labels"], size: tuple[int, int]) -> Float[Array, "b s h w labels"]:
    """Means over the cells of a grid that covers the slice from edge to edge."""
    b, s, rows, columns, labels = x.shape
    h, w = size
    if rows % h == 0 and columns % w == 0:
        return x.reshape(b, s, h, rows // h, w, columns // w, labels).mean((3, 5))
    return jnp.einsum("bsrcl,rh,cw->bshwl", x, _overlaps(rows, h), _overlaps(columns, w))


def _overlaps(fine: int, coarse: int) -> Float[np.ndarray, "fine coarse"]:
    """What share of each coarse cell of an axis lies in each fine one."""
    edges = np.arange(coarse + 1) * fine / coarse
    below = np.arange(fine)[:, None]
    length = np.minimum(edges[1:], below + 1) - np.maximum(edges[:-1], below)
    return (np.maximum(length, 0) * coarse / fine).astype(np.float32)
