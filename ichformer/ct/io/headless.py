"""What scans without a DICOM header have in common: no UIDs and no text."""

from typing import ClassVar


class Headless:
    """Stands in for the tags that a DICOM series has, so that all scans can be listed alike."""

    uid: ClassVar[str] = ""
    study_uid: ClassVar[str] = ""
    modality: ClassVar[str] = ""
    description: ClassVar[str] = ""
    kernel: ClassVar[str] = ""
