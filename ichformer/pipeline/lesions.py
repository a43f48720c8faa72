"""What is known of the lesions of a scan, voxel by voxel: from its mask, its boxes, or its labels."""

import numpy as np
from jaxtyping import UInt8

from ichformer.cohorts.mask_labels import NO_LESION, UNKNOWN, boxes_in, has_mask_labels, label_mask
from ichformer.pipeline.augmentation.sample import Sample
from ichformer.pipeline.store.records import PreparedScan, Store


def known_lesions(scan: PreparedScan, cohort: str) -> UInt8[np.ndarray, "s h w"]:
    """Labels of the voxels as ``Batch.lesions`` has them.

    Without a mask, slices without any of the labels have no lesion, and nothing is known of the others. For boxes see
    ``_known_by_boxes``.
    """
    if scan.mask is not None and not scan.boxed:
        return label_mask(scan.mask, cohort)
    count = len(scan.label_set.names)
    free = (scan.slice_labels[:, :count] == 0).all(1) | (scan.scan_labels[:count] == 0).all()
    values = np.where(free, NO_LESION, UNKNOWN).astype(np.uint8)
    by_labels = np.broadcast_to(values[:, None, None], scan.volume.hu.shape)
    return by_labels if scan.mask is None else _known_by_boxes(scan, by_labels)


def _known_by_boxes(scan: PreparedScan, by_labels: UInt8[np.ndarray, "s h w"]) -> UInt8[np.ndarray, "s h w"]:
    """What boxes tell beyond labels: a slice that has some has no lesion outside of them.

    Nothing is known of a box whose subtype the labels of the slice or the scan rule out, nor of the outside where they
    name a subtype that has no box.
    """
    assert scan.mask is not None
    is_zero = (scan.slice_labels == 0) | (scan.scan_labels == 0)
    ruled_out = is_zero[:, :-1] | is_zero[:, -1:]  # the last is "any"
    boxes = boxes_in(scan.mask)
    contradicted = (boxes & ruled_out.T[..., None, None]).any(0)
    has_box = np.any(boxes, axis=(2, 3)).T
    lacks_box = np.any((scan.slice_labels[:, :-1] == 1) & ~has_box, axis=1)[:, None, None]
    by_boxes = np.where(lacks_box, np.uint8(UNKNOWN), np.uint8(NO_LESION))
    outside = np.where(np.any(has_box, axis=1)[:, None, None], by_boxes, by_labels)
    return np.where(contradicted, np.uint8(UNKNOWN), np.where(scan.mask == NO_LESION, outside, scan.mask))


def lesions_after(run: Sample, changed: Sample) -> UInt8[np.ndarray, "s h w"]:
    """The mask of a run of slices after random changes, behind which padding may follow.

    A slice of which nothing was known stays unknown, also where a change put air. Where a change of somebody else's
    returned no mask, nothing is known.
    """
    if run.mask is None or changed.mask is None:
        return np.full(changed.hu.shape, UNKNOWN, np.uint8)
    unknown = np.zeros(len(changed.hu), bool)
    unknown[: len(run.mask)] = (run.mask == UNKNOWN).all((1, 2))
    return np.where(unknown[:, None, None], np.uint8(UNKNOWN), changed.mask)


def labels_with_lesions(store: Store, split: str) -> tuple[str, ...]:
    """The labels of which lesions are known in the masks and boxes of a split, in the order of the label set.

    A mask that does not tell labels tells of "any", or of the only label that there is; boxes tell labels.
    """
    index = store.index.iloc[store.rows(split)]
    masked = index[index["has_mask"].astype(bool)]
    names = store.label_set.names
    tells = masked["cohort"].map(has_mask_labels).astype(bool)
    positive = masked[list(names)] == 1
    whole = {"any"} if len(names) > 1 else {*names}
    boxed = {label for labels in index["boxed_labels"] for label in labels.split()}
    boxed |= {"any"} if boxed else set()
    return tuple(name for name in names if name in boxed or positive[name][tells | (name in whole)].any())
