"""A tiny enhanced CT, made by pydicom, for tests."""

import pydicom
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from tests.ct.builders import dataset

ENHANCED, LEGACY = "1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.2.2"
PLANE = {
    "PlaneOrientationSequence": {"ImageOrientationPatient": [1, 0, 0, 0, 1, 0]},
    "PixelMeasuresSequence": {"PixelSpacing": [0.5, 0.4], "SliceThickness": 5},
    "PixelValueTransformationSequence": {"RescaleSlope": 1, "RescaleIntercept": -1024, "RescaleType": "HU"},
    "CTReconstructionSequence": {"ConvolutionKernel": "H31s"},
}


def groups(macros: dict[str, dict]) -> Dataset:
    made = Dataset()
    for name, values in macros.items():
        item = Dataset()
        for keyword, value in values.items():
            setattr(item, keyword, value)
        setattr(made, name, Sequence([item]))
    return made


def write_enhanced(path, stored, own, shared=None, sop=ENHANCED, **tags):
    """One object whose frames are ``stored``; ``own`` holds the macros of each frame."""
    flat = dict.fromkeys(keyword for values in PLANE.values() for keyword in values) | {"ImagePositionPatient": None}
    made = dataset(stored[0], SOPClassUID=sop, **(flat | tags))
    made.file_meta.MediaStorageSOPClassUID = sop
    made.NumberOfFrames = len(stored)
    made.SharedFunctionalGroupsSequence = Sequence([groups(shared or {})])
    made.PerFrameFunctionalGroupsSequence = Sequence([groups(macros) for macros in own])
    made.PixelData = stored.tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    pydicom.dcmwrite(path, made)
    return made


def at(z, **more):
    return {"PlanePositionSequence": {"ImagePositionPatient": [-10, -20, z]}} | more
