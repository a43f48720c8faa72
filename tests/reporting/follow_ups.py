"""A follow-up of two small scans, made up: one bleed grows, and one is new."""

import numpy as np

from ichformer import LABELS
from ichformer.ct.geometry.registration import Registration
from ichformer.ct.geometry.rigid import Motion
from ichformer.lesions.follow_up.bleeds import bleeds_of
from ichformer.lesions.follow_up.followed import follow_bleeds
from ichformer.lesions.frozen import FrozenLabel
from ichformer.lesions.grid import Grid
from ichformer.lesions.measures import measure_lesions
from ichformer.lesions.midline import MidlineShift
from ichformer.lesions.volumes import VolumeClass
from ichformer.reporting.follow_up.compared import Compared, ComparedScan
from ichformer.reporting.scan.lesions import LesionReport
from ichformer.reporting.scan.reading import Reading
from tests.lesions.heads import volume

SCAN = volume((6, 32, 32), (5.0, 5.0, 5.0))
FROZEN = {
    label: FrozenLabel(
        label=label,
        threshold=0.5,
        dice=0.8,
        n=40,
        n_positive=20,
        volume_classes=(VolumeClass(up_to_ml=None, n=30, low_factor=0.8, high_factor=1.3),),
    )
    for label in ("subdural", "any")
}


def scan_of(*boxes: tuple[slice, slice, slice], model: dict[str, str]) -> ComparedScan:
    probabilities = np.zeros((*SCAN.hu.shape, len(LABELS)), np.float32)
    for box in boxes:
        for label in FROZEN:
            probabilities[(*box, LABELS.index(label))] = 0.9
    lesions = LesionReport(
        labels=measure_lesions(probabilities, LABELS, Grid.of(SCAN), FROZEN, None),
        shift=MidlineShift(shift_mm=0.0),
        maps={},
        probabilities=probabilities,
        grid=Grid.of(SCAN),
    )
    scores = np.full((6, len(LABELS)), 0.9)
    reading = Reading(volume=SCAN, scan_scores=scores[0], slice_scores=scores, lesions=lesions, model=model)
    return ComparedScan(key="ab12", reading=reading, bleeds=bleeds_of(probabilities, LABELS, FROZEN, SCAN, None))


def compared_of(*, is_good: bool = True, remarks: tuple[str, ...] = (), name: str = "hybrid_nano") -> Compared:
    model = {"Name": name}
    earlier = scan_of(np.s_[1:3, 8:14, 20:26], model=model)
    later = scan_of(np.s_[1:4, 8:16, 20:28], np.s_[4:5, 4:8, 4:8], model=model)
    motion = Motion(matrix=np.eye(4))
    return Compared(
        earlier=earlier,
        later=later,
        hours=20.5,
        registration=Registration(motion=motion, dice=0.98, likeness=0.97 if is_good else 0.3),
        followed=follow_bleeds(earlier.bleeds, later.bleeds, motion) if is_good else None,
        remarks=remarks,
    )
