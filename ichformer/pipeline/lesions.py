"""What is known of the lesions of a scan, voxel by voxel: from its mask, its boxes, or its labels."""

import numpy as np
from jaxtyping import UInt8

from ichformer.cohorts.mask_labels import BOXED, NO_LESION, UNKNOWN, has_mask_labels, label_mask
from ichformer.pipeline.augmentation.sample import Sample
from ichformer.pipeline.store.records import PreparedScan, Store


def known_lesions(scan: PreparedScan, cohort: str) -> UInt8[np.ndarray, "s h w"]:
    """Labels of the voxels as ``Batch.lesions`` has them.

    Without a mask, slices without any of the labels have no lesion, and nothing is known of the others. Where boxes
    are known, a slice that has some has no lesion outside of them, and nothing is known of a box whose label the scan
    has not.
    """
    if scan.mask is not None and not scan.boxed:
        return label_mask(scan.mask, cohort)
    count = len(scan.label_set.names)
    free = (scan.slice_labels[:, :count] == 0).all(1) | (scan.scan_labels[:count] == 0).all()
    values = np.where(free, NO_LESION, UNKNOWN).astype(np.uint8)
    of_labels = np.broadcast_to(values[:, None, None], scan.volume.hu.shape)
    if scan.mask is None:
        return of_labels
    has_box = (scan.mask != NO_LESION).any((1, 2))
    contradicted = np.isin(scan.mask, BOXED + 1 + np.flatnonzero(scan.scan_labels[:count] == 0))
    return np.where(has_box[:, None, None], np.where(contradicted, np.uint8(UNKNOWN), scan.mask), of_labels)


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
    index = index[(index["has_mask"] | index["has_boxes"]).astype(bool)]
    names = store.label_set.names
    tells = index["cohort"].map(has_mask_labels).astype(bool) | index["has_boxes"].astype(bool)
    positive = index[list(names)] == 1
    whole = {"any"} if len(names) > 1 else {*names}
    return tuple(name for name in names if positive[name][tells | (name in whole)].any())
