"""All DICOM objects about a scan, as files."""

from collections.abc import Mapping
from dataclasses import replace
from io import BytesIO

import numpy as np
from jaxtyping import Bool, Float32, Int16
from pydicom.dataset import Dataset

from ichformer.lesions.grid import Grid
from ichformer.lesions.measures import predicted_mask
from ichformer.reporting.dicom.codes import finding
from ichformer.reporting.dicom.key_images import captures, key_objects, presentation_state
from ichformer.reporting.dicom.made import Made, quiet_highdicom
from ichformer.reporting.dicom.parametric_map import parametric_map
from ichformer.reporting.dicom.segmentation import probabilities, segmentation
from ichformer.reporting.dicom.source import nearest_slices, on_source
from ichformer.reporting.dicom.structured_report import Reported, structured_report
from ichformer.reporting.scan.reading import Reading

KEY_IMAGES = 5
"""At most so many slices are selected, those with the highest scores."""

_DOCUMENTS = ("SR", "KO")
"""Modalities of objects that have no body part."""


@quiet_highdicom()
def dicom_objects(made: Made, reading: Reading) -> dict[str, Dataset]:
    """The objects about a scan, by the name of their file.

    ``report.dcm`` is always there. ``bleeds.dcm`` and ``probabilities.dcm`` are there where the lesion map shows a
    bleed, ``explanation.dcm`` where a heat map is drawn, and key images where the scan is raised.

    Args:
      made: what all objects have in common.
      reading: what the model said.
    """
    source, main = made.source, reading.label_set.main
    maps, masks = _lesions(made, reading)
    objects: dict[str, Dataset] = {}
    segments = None
    if masks:
        segments = objects["bleeds.dcm"] = segmentation(made, masks)
        objects["probabilities.dcm"] = probabilities(made, maps)
    slices_of = _slices_of(made, reading)
    if reading.heat_maps:
        label, values = next(iter(reading.heat_maps.items()))
        grid = Grid.of(reading.volume, values.shape[1:3])
        objects["explanation.dcm"] = parametric_map(made, on_source(values, grid, source), label=label)
    if key := slices_of.get(main, [])[:KEY_IMAGES]:
        objects["key_images.dcm"] = key_objects(made, key, said=f"Slices with the highest scores of {main}.")
        hu = _pictures(made, reading, key)
        texts = [f"slice {s + 1} of {source.shape[0]}: {finding(main).meaning}" for s in key]
        for number, capture in enumerate(captures(made, key, hu, texts), 1):
            objects[f"key_image_{number}.dcm"] = capture
    if len({(one.RescaleSlope, one.RescaleIntercept) for one in source.slices}) == 1:
        objects["presentation.dcm"] = presentation_state(made)  # it gives all slices one rescaling
    report = Reported(
        made=made,
        reading=reading,
        slices_of=slices_of,
        segments=segments,
        segment_of={label: number for number, label in enumerate(masks, 1)},
        others=[*objects.values()],
    )
    objects = {"report.dcm": structured_report(report), **objects}
    for one in objects.values():
        if one.Modality not in _DOCUMENTS:
            one.BodyPartExamined = "HEAD"  # has no sides, so that an object need not say which
    return objects


@quiet_highdicom()
def as_files(objects: Mapping[str, Dataset]) -> dict[str, bytes]:
    """The bytes of each object's file."""
    files = {}
    for name, made in objects.items():
        file = BytesIO()
        made.save_as(file, enforce_file_format=True)
        files[name] = file.getvalue()
    return files


def _lesions(
    made: Made, reading: Reading
) -> tuple[dict[str, Float32[np.ndarray, "n h w"]], dict[str, Bool[np.ndarray, "n h w"]]]:
    """Probabilities and voxels on the source, of labels with a lesion there."""
    if reading.lesions is None:
        return {}, {}
    report, names, grid = reading.lesions, reading.label_set.names, made.source.grid
    maps: dict[str, Float32[np.ndarray, "n h w"]] = {}
    masks: dict[str, Bool[np.ndarray, "n h w"]] = {}
    for one in report.labels:
        if one.lesions:
            values = on_source(report.probabilities[..., names.index(one.label)], report.grid, made.source)
            mask = predicted_mask(values, one.threshold, grid)
            if mask.any():
                maps[one.label], masks[one.label] = values, mask
    return maps, masks


def _slices_of(made: Made, reading: Reading) -> dict[str, list[int]]:
    """For each raised label the slices of the source whose scores reach the threshold, the highest first.

    Where no slice has a threshold, it is the slice with the highest score.
    """
    found = {}
    rows = nearest_slices(Grid.of(reading.volume), made.source)
    for at, label in enumerate(reading.label_set.names):
        scores, threshold = reading.slice_scores[rows, at], reading.thresholds.get(label)
        if threshold is None or not reading.scan_scores[at] >= threshold or np.isnan(scores).all():
            continue
        order = np.argsort(-np.nan_to_num(scores, nan=-1.0), kind="stable")
        reached = scores[order] >= reading.slice_thresholds.get(label, np.inf)
        found[label] = [int(s) for s in (order[reached] if reached.any() else order[:1])]
    return found


def _pictures(made: Made, reading: Reading, key: list[int]) -> Int16[np.ndarray, "n rows columns"]:
    """HU of some slices in the orientation of the source."""
    wanted = replace(made.source, slices=tuple(made.source.slices[s] for s in key), frames=())
    return np.rint(on_source(reading.volume.hu, Grid.of(reading.volume), wanted)).astype(np.int16)
