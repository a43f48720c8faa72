"""Lesions as a segmentation: each label's voxels, and each label's probabilities (PS3.3, A.51)."""

from collections.abc import Mapping

import highdicom as hd
import numpy as np
from jaxtyping import Bool, Float32
from pydicom.sr.codedict import codes

from ichformer.reporting.dicom.codes import ANYWHERE, RESEARCH_ONLY, SITES, finding
from ichformer.reporting.dicom.made import Kind, Made, steady_uids


def segmentation(made: Made, masks: Mapping[str, Bool[np.ndarray, "n rows columns"]]) -> hd.seg.Segmentation:
    """A segment for each label, of which frames without a voxel are left out.

    Args:
      made: what all objects have in common.
      masks: label -> voxels of the source; one of them at least holds something.
    """
    pixels = np.stack([*masks.values()], axis=-1).astype(np.uint8)
    return _segmentation(made, Kind.SEGMENTATION, pixels, [*masks])


def probabilities(made: Made, maps: Mapping[str, Float32[np.ndarray, "n rows columns"]]) -> hd.seg.Segmentation:
    """The probability of each label in steps of 1/255, as a fractional segmentation.

    Args:
      made: what all objects have in common.
      maps: label -> probabilities on the pixels of the source; one of them at least is not 0.
    """
    pixels = np.clip(np.stack([*maps.values()], axis=-1), 0, 1).astype(np.float32)
    return _segmentation(made, Kind.PROBABILITIES, pixels, [*maps])


def _segmentation(made: Made, kind: Kind, pixels: np.ndarray, labels: list[str]) -> hd.seg.Segmentation:
    descriptions = [
        hd.seg.SegmentDescription(
            segment_number=number,
            segment_label=finding(label).meaning,
            segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
            segmented_property_type=codes.SCT.Hemorrhage,
            algorithm_type="AUTOMATIC",
            algorithm_identification=made.algorithm,
            tracking_uid=made.uid("tracking", label),
            tracking_id=label[:64],
            anatomic_regions=[SITES.get(label, ANYWHERE)],
        )
        for number, label in enumerate(labels, 1)
    ]
    is_binary = kind is Kind.SEGMENTATION
    found = hd.seg.Segmentation(
        source_images=made.source.images,
        pixel_array=made.source.as_stored(pixels),
        segmentation_type="BINARY" if is_binary else "FRACTIONAL",
        segment_descriptions=descriptions,
        content_label="BLEEDS" if is_binary else "PROBABILITIES",
        content_description=RESEARCH_ONLY,
        **made.arguments(kind),
    )
    _name_segments_by_frame(found)
    steady_uids(found, made.uid(kind.name))
    return found


def _name_segments_by_frame(found: hd.seg.Segmentation) -> None:
    """Let each frame say whose it is, as readers expect it, highdicom's among them.

    Where all frames are of one segment, it may be said once for all of them (PS3.3, C.7.6.16).
    """
    shared = found.SharedFunctionalGroupsSequence[0]
    if "SegmentIdentificationSequence" in shared:
        for frame in found.PerFrameFunctionalGroupsSequence:
            frame.SegmentIdentificationSequence = shared.SegmentIdentificationSequence
        del shared.SegmentIdentificationSequence
