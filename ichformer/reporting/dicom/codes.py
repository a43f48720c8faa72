"""Coded concepts of the objects: of the standard where its context groups have one, and else of our own scheme.

A subtype is coded by a code of our own, ``99ICHFORMER``, and by the anatomy where it lies: a wrong code would be a
wrong report, and the context groups of PS3.16 have no codes for all subtypes.
"""

from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

SCHEME = "99ICHFORMER"
"""Designator of our own codes; PS3.16, section 8.2 leaves those that begin with 99 to everybody."""

SCHEME_NAME = "Codes of ichformer for what has no code in the context groups of DICOM"

RESEARCH_ONLY = "Research use only. Not for diagnosis."
"""What every object says."""

_LONGEST_MEANING = 64

FINDINGS = {
    "any": codes.SCT.IntracranialHemorrhage,
    "epidural": Code("epidural", SCHEME, "Epidural haemorrhage"),
    "intraparenchymal": Code("intraparenchymal", SCHEME, "Intraparenchymal haemorrhage"),
    "intraventricular": Code("intraventricular", SCHEME, "Intraventricular haemorrhage"),
    "subarachnoid": Code("subarachnoid", SCHEME, "Subarachnoid haemorrhage"),
    "subdural": Code("subdural", SCHEME, "Subdural haemorrhage"),
}

SITES = {
    "intraparenchymal": codes.SCT.Brain,
    "intraventricular": codes.SCT.BrainVentricle,
    "subarachnoid": codes.SCT.SubarachnoidSpace,
}
"""Where a label's finding lies, as closely as the context groups say it; ``ANYWHERE`` for others."""

ANYWHERE = codes.SCT.Intracranial

SIDES = {"left": codes.SCT.Left, "right": codes.SCT.Right, "both": codes.SCT.Bilateral}

ML = Code("ml", "UCUM", "milliliter")


def own_code(value: str, meaning: str) -> Code:
    """A code of our own; its meaning is cut to what DICOM holds, and its value never, as it tells labels apart."""
    return Code(value, SCHEME, meaning[:_LONGEST_MEANING])


def finding(label: str) -> Code:
    """What a label says; one that the package does not know has a code with its name."""
    return FINDINGS.get(label) or own_code(label, label)
