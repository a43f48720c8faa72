"""From the lesion map of a scan that was read to what its report says of lesions."""

from collections.abc import Collection

import numpy as np
from jaxtyping import Float32

from ichformer.ct.geometry.regrid import affine_of_cells, resample_like
from ichformer.explanations.heat_map import shown_grid
from ichformer.inference.lesions import lay_lesions
from ichformer.labels import LabelSet
from ichformer.lesions.frozen import FrozenLesions
from ichformer.lesions.grid import Grid
from ichformer.lesions.measures import measure_lesions
from ichformer.lesions.midline import Midline, MidlineShift
from ichformer.reporting.scan.lesions import LesionReport
from ichformer.workflows.prediction.read_scan import ReadScan

NO_LESION_THRESHOLDS = (
    "The model has a lesion map, but no threshold was fixed for it on scans with masks, so no lesions are measured."
)
"""What is said of a run that was trained without masks for validation."""

_NO_MIDLINE = Midline(plane=None, shift=MidlineShift(shift_mm=None, reason="it was not searched"))


def report_lesions(
    maps: Float32[np.ndarray, "s gh gw labels"],
    scan: ReadScan,
    frozen: FrozenLesions | None,
    label_set: LabelSet,
    *,
    shown: Collection[str],
) -> LesionReport | None:
    """Measure the lesions of a scan and lay their maps over its slices.

    They are measured on the voxels that the thresholds were fixed on, those of the model's input.

    Args:
      maps: as ``scoring.score_with_lesions`` gives them.
      scan: what was read.
      frozen: the thresholds.
      label_set: of the model.
      shown: labels whose maps are shown whatever they hold; others are shown where they have a lesion.

    Returns:
      None where there are no thresholds.
    """
    if frozen is None:
        return None
    prepared, midline = scan.prepared, scan.midline or _NO_MIDLINE
    on_voxels = lay_lesions(maps, prepared, prepared)
    names = label_set.names
    measures = measure_lesions(on_voxels, names, Grid.of(prepared), frozen.by_label, midline.plane)
    affine = affine_of_cells(prepared.affine, prepared.hu.shape[1:], maps.shape[1:3])
    grid = shown_grid(scan.volume)
    return LesionReport(
        labels=measures,
        shift=midline.shift,
        maps={
            one.label: resample_like(maps[..., names.index(one.label)], affine, grid)
            for one in measures
            if one.lesions or one.label in shown
        },
        probabilities=maps,
        grid=Grid.of(prepared, maps.shape[1:3]),
    )
