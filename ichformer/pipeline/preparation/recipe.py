"""The recipe by which scans are prepared for a model, the same for stores and for predictions."""

from dataclasses import replace
from functools import partial

import numpy as np
from jaxtyping import Bool, UInt8

from ichformer.cohorts.mask_labels import merge_masks
from ichformer.ct.anatomy.brain import brain_mask, keep_brain
from ichformer.ct.geometry.regrid import frame_head, remove_tilt
from ichformer.ct.geometry.spacing import even_slices, labels_of_slabs
from ichformer.ct.limits import check_grid
from ichformer.ct.volume import AIR_HU, Volume
from ichformer.labels import SIX
from ichformer.pipeline.preparation.config import PrepareConfig
from ichformer.pipeline.store.header import MAX_VOXELS
from ichformer.pipeline.store.records import PreparedScan


def prepare_scan(
    scan: PreparedScan, config: PrepareConfig, brain: Bool[np.ndarray, "s h w"] | None = None
) -> PreparedScan:
    """Prepares a scan for a model: removes the tilt, evens the slices and frames the head, in this order.

    The labels of the slices and the mask stay in step with the volume.

    Args:
      scan: as it was read.
      config: how it is prepared.
      brain: of ``brain_mask`` for the scan's volume, where it is known already. It is of use where the grid stays as it
        is until the head is framed; elsewhere the brain is found anew.
    """
    volume, mask, slice_labels = scan.volume, scan.mask, scan.slice_labels
    if config.remove_tilt:
        volume, mask = remove_tilt(volume, mask)
    if config.slice_spacing_mm is not None:
        volume, weights = even_slices(volume, config.slice_spacing_mm)
        slice_labels = labels_of_slabs(slice_labels, weights, num_targets=len(scan.label_set.targets))
        if mask is not None:
            mask = np.stack([merge_masks(mask[w > 0]) for w in weights]) if scan.boxed else mask[weights.argmax(1)]
    volume, mask = _framed(volume, mask, config, brain if volume.hu is scan.volume.hu else None)
    return replace(scan, volume=volume, mask=mask, slice_labels=slice_labels)


def prepare_volume(volume: Volume, config: PrepareConfig, brain: Bool[np.ndarray, "s h w"] | None = None) -> Volume:
    """Prepares a volume of which nothing else is known with ``prepare_scan``."""
    unknown = np.full((len(volume.hu) + 1, len(SIX.columns)), np.nan, np.float32)
    scan = PreparedScan(volume=volume, slice_labels=unknown[1:], scan_labels=unknown[0])
    return prepare_scan(scan, config, brain).volume


def even_volume(volume: Volume, config: PrepareConfig) -> Volume:
    """Returns the full scan with the slices that a model sees: the volume itself unless they are resampled.

    Preparing it gives what preparing ``volume`` gives.
    """
    if config.slice_spacing_mm is None:
        return volume
    return even_slices(remove_tilt(volume)[0], config.slice_spacing_mm)[0]


def _framed(
    volume: Volume,
    mask: UInt8[np.ndarray, "s h w"] | None,
    config: PrepareConfig,
    brain: Bool[np.ndarray, "s h w"] | None,
) -> tuple[Volume, UInt8[np.ndarray, "s size size"] | None]:
    check_grid(
        (len(volume.hu), config.size, config.size),
        what=f"{len(volume.hu)} slices of {config.size} x {config.size} pixels",
        where=volume.source[0],
        fix="ask for fewer pixels (--size) or for fewer slices (--slice-spacing-mm)",
        voxels=MAX_VOXELS,  # what is more, a record cannot hold
    )
    frame = partial(frame_head, size=config.size, field_of_view_mm=config.field_of_view_mm)
    if config.keep == "head":
        return frame(volume, mask=mask)
    # At full resolution, so that neither bone nor air is blurred into the brain's edge.
    brain_alone = keep_brain(volume, brain_mask(volume) if brain is None else brain)
    framed, mask = frame(volume, mask=mask, kept=brain_alone.hu > AIR_HU)
    return replace(framed, audit=brain_alone.audit), mask
