"""Measurements and statements, as all structured reports write them."""

import highdicom as hd
from pydicom.sr.coding import Code

from ichformer.reporting.dicom.codes import RESEARCH_ONLY, own_code

LOW, HIGH = (
    own_code(f"volume_{end}", f"{end.capitalize()} end of the interval of the volume") for end in ("low", "high")
)
_NOTICE = own_code("notice", "What the result may be used for")
_ONLY_RESEARCH = own_code("research_only", RESEARCH_ONLY)


def measured_as(name: Code, value: float, unit: Code) -> hd.sr.Measurement:
    """A number with six digits."""
    return hd.sr.Measurement(name=name, value=float(f"{value:.6g}"), unit=unit)


def said_as(name: Code, value: Code) -> hd.sr.QualitativeEvaluation:
    """A statement in codes."""
    return hd.sr.QualitativeEvaluation(name=name, value=value)


def research_only() -> hd.sr.QualitativeEvaluation:
    """What every group says."""
    return said_as(_NOTICE, _ONLY_RESEARCH)
