"""Which DICOM files show no head CT in HU, by what their headers say."""

import re

from ichformer.ct.io.dicom.headers import MEDIA_DIRECTORY, SECONDARY_CAPTURE, Header

_LOCALIZERS = frozenset({"LOCALIZER", "SCOUT", "SURVIEW", "TOPOGRAM", "SCANOGRAM"})

_MAPS = frozenset({"PERFUSION", "RCBF", "RCBV", "CBF", "CBV", "MTT", "TTP", "TMAX", "PERMEABILITY", "EFF_ATOMIC_NUM"})

_HU_TYPES = re.compile(r"(HU|US|UNSPECIFIED|HO?UN?D?S?FIE?LDS?(UNITS?)?(HU)?|CTNUMBERS?)?")
"""RescaleType (PS3.3 C.11.1.1.2), letters only: Hounsfield, also in words and misspelt, and "unspecified" or nothing,
which older scanners write for the same. HU_MOD, Z_EFF, ED, MGML and others are something else.
"""


def reason_to_set_aside(header: Header) -> tuple[str, str] | None:
    """Code (of ``SET_ASIDE_CODES``) and text of why a file shows no CT slice in HU; None where it may be one."""
    words = set(header.image_type)
    image_type = "\\".join(header.image_type)
    if header.is_directory or header.sop_class == MEDIA_DIRECTORY:
        return "dicomdir", "a DICOMDIR, the index of a disc"
    if header.sop_class.startswith(SECONDARY_CAPTURE) and header.samples == 1:
        return "secondary_capture", f"SOP class Secondary Capture, ImageType {image_type}"
    if header.samples != 1:
        return "colour", f"SamplesPerPixel is {header.samples}, ImageType {image_type}"
    if header.photometric.startswith("PALETTE"):
        return "colour", f"PhotometricInterpretation (0028,0004) is {header.photometric}: numbers of colours, not HU"
    if words & _LOCALIZERS:
        return "localizer", f"ImageType {image_type}"
    if words & _MAPS:
        return "not_hu", f"ImageType {image_type}, RescaleType {header.rescale_type or 'absent'}"
    if not _HU_TYPES.fullmatch(re.sub(r"[^A-Z_]", "", header.rescale_type)):
        return "not_hu", f"RescaleType (0028,1054) is {header.rescale_type!r}, which is not HU; ImageType {image_type}"
    if header.rows < 1 or header.columns < 1:
        return "no_picture", f"modality {header.modality or 'absent'}, Rows {header.rows}, Columns {header.columns}"
    return None
