"""What a model says of a small scan, made up, for the objects about it."""

import numpy as np

from ichformer import LABELS
from ichformer.evaluation.scorable import NO_BRAIN
from ichformer.lesions.frozen import FrozenLabel
from ichformer.lesions.grid import Grid
from ichformer.lesions.measures import measure_lesions
from ichformer.lesions.midline import MidlineShift
from ichformer.reporting.dicom.made import Made
from ichformer.reporting.scan.lesions import LesionReport
from ichformer.reporting.scan.reading import Familiarity, Reading
from tests.ct.builders import head_hu, write_series
from tests.ct.enhanced import PLANE, at, write_enhanced

SUBDURAL, ANY = LABELS.index("subdural"), LABELS.index("any")
SLICES, SIDE = 6, 32
ORDER = (3, 0, 5, 2, 4, 1)
"""Slices in the order of the frames of the enhanced CT."""


def reading_of(volume, *, bleeds=slice(1, 3), of=(SUBDURAL, ANY), **changes) -> Reading:
    """A subdural bleed in slices 2 and 3, or others, that raises two labels, and is seen as some."""
    probabilities = np.zeros((SLICES, SIDE, SIDE, len(LABELS)), np.float32)
    probabilities[bleeds, 8:14, 20:26, of] = 0.9
    frozen = {
        label: FrozenLabel(label=label, threshold=0.5, dice=0.8, n=40, n_positive=20, volume_classes=())
        for label in ("subdural", "any", "epidural")
    }
    lesions = LesionReport(
        labels=measure_lesions(probabilities, LABELS, Grid.of(volume), frozen, None),
        shift=MidlineShift(shift_mm=2.5),
        maps={},
        probabilities=probabilities,
        grid=Grid.of(volume),
    )
    slice_scores = np.full((SLICES, len(LABELS)), 0.1)
    slice_scores[1:3, (SUBDURAL, ANY)] = [[0.7, 0.8], [0.75, 0.95]]
    values = {
        "volume": volume,
        "scan_scores": slice_scores.max(0),
        "slice_scores": slice_scores,
        "thresholds": {"any": 0.5, "subdural": 0.6, "epidural": 0.4},
        "slice_thresholds": {"any": 0.5},
        "threshold_rule": "specificity>=0.90",
        "familiarity": Familiarity(percentile=40.0, scans=100),
        "heat_maps": {"any": np.linspace(0, 1, SLICES * 16).reshape(SLICES, 4, 4)},
        "lesions": lesions,
        "model": {"Name": "hybrid_nano"},
    }
    return Reading(**values | changes)


def not_scored(volume) -> Reading:
    """No brain was found."""
    none = np.full((SLICES, len(LABELS)), np.nan)
    changes = {"scan_scores": none[0], "slice_scores": none, "lesions": None, "heat_maps": {}}
    return reading_of(volume, not_scored=NO_BRAIN, **changes)


def write_one(folder, is_enhanced: bool) -> None:
    """A scan of these slices, as a file each or as frames of one file, in an order of their own."""
    stored = (head_hu(SLICES, SIDE) + 1024).astype(np.int16)
    tags = {"PatientName": "Doe^Jane", "PatientID": "7", "StudyID": "3", "FrameOfReferenceUID": "1.2.4"}
    if not is_enhanced:
        write_series(folder, stored, PixelSpacing=[5.0, 5.0], **tags)
        return
    plane = PLANE | {"PixelMeasuresSequence": {"PixelSpacing": [5.0, 5.0], "SliceThickness": 5}}
    own = [at(5.0 * s) for s in ORDER]
    write_enhanced(folder / "e.dcm", stored[[*ORDER]], own, plane, **tags)


def made_of(source) -> Made:
    return Made(source=source, made_from="ab12", model="hybrid_nano", fingerprint="c0ffee" * 10)
