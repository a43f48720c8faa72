"""Measurements and statements, as all structured reports write them."""

import highdicom as hd
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from ichformer.lesions.measures import LabelMeasures
from ichformer.reporting.dicom.codes import ML, RESEARCH_ONLY, own_code

_LOW, _HIGH = (
    own_code(f"volume_{end}", f"{end.capitalize()} end of the interval of the volume") for end in ("low", "high")
)
_NOTICE = own_code("notice", "What the result may be used for")
_ONLY_RESEARCH = own_code("research_only", RESEARCH_ONLY)


def measured_as(name: Code, value: float, unit: Code) -> hd.sr.Measurement:
    """A number with six digits."""
    return hd.sr.Measurement(name=name, value=float(f"{value:.6g}"), unit=unit)


def volume_as(measures: LabelMeasures) -> list[hd.sr.Measurement]:
    """The volume of a label, and the ends of its interval where it has one."""
    found = [measured_as(codes.SCT.Volume, measures.ml, ML)]
    if measures.interval is not None:
        found += [measured_as(_LOW, measures.interval.low_ml, ML), measured_as(_HIGH, measures.interval.high_ml, ML)]
    return found


def said_as(name: Code, value: Code) -> hd.sr.QualitativeEvaluation:
    """A statement in codes."""
    return hd.sr.QualitativeEvaluation(name=name, value=value)


def research_only() -> hd.sr.QualitativeEvaluation:
    """What every group says."""
    return said_as(_NOTICE, _ONLY_RESEARCH)
