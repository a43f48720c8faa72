"""An instance that came is put in its place and entered in the queue, or refused."""

import contextlib
import hashlib
import os
import shutil
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pydicom
from pydicom.filereader import read_file_meta_info

from ichformer.ct.io.dicom.dicom_file import quiet_pydicom
from ichformer.serving.folder import NodeFolder
from ichformer.serving.names import Names
from ichformer.serving.queue.database import Queue
from ichformer.serving.queue.keeping import is_kept, to_wipe, wipe
from ichformer.serving.queue.receiving import Arrived, Instance, arrive
from ichformer.serving.settings import LimitSettings

_CHUNK_BYTES = 1 << 20
TRANSFER_SYNTAXES = (
    *("1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.2"),  # explicit, implicit, big endian
    *("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70"),  # JPEG
    *("1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81"),  # JPEG-LS
    *("1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91"),  # JPEG 2000
    "1.2.840.10008.1.2.5",  # RLE
)
"""What the reader decodes. A deflated data set is not among them: a small one can become a very large one."""

STATUS = {
    **dict.fromkeys(("new", "known", "other"), 0x0000),
    **dict.fromkeys(("study_full", "node_full", "disk_full"), 0xA700),
    "another": 0xA900,
    "unreadable": 0xC000,
}
"""How C-STORE (PS3.4, table B.2-1) and STOW-RS call what came of an instance; those with 0 are on the disk."""

_TAGS = ("StudyInstanceUID", "SOPInstanceUID", "NumberOfStudyRelatedInstances")
_LONGEST_UID = 256
"""Longer than the standard allows, as files in the world have such; a limit on what is hashed."""


@dataclass(frozen=True, kw_only=True)
class Taken:
    """What came of an instance.

    Attributes:
      what: as the queue says it; or it cannot be read, is not the one that was announced, or the disk is full.
      study: name of its study; "" where that is not known.
      size: of its file, bytes.
    """

    what: Arrived | Literal["unreadable", "another", "disk_full"]
    study: str
    size: int

    @property
    def is_taken(self) -> bool:
        """Whether it is safe on the disk."""
        return STATUS[self.what] == 0


class Intake:
    """Takes instances in, and deletes them when they are no longer needed."""

    def __init__(self, queue: Queue, folder: NodeFolder, names: Names, limits: LimitSettings):
        self._queue, self._folder, self._names, self._limits = queue, folder, names, limits
        # A file comes to its place and into the queue, or leaves both, with nothing between.
        self._lock = threading.Lock()

    def take(self, file: Path, *, sop_uid: str | None, is_first: bool) -> Taken:
        """Take in an instance.

        When this returns that it is taken, it is on the disk and in the queue. The file is moved away or deleted.

        Args:
          file: a DICOM file in ``NodeFolder.temporary``.
          sop_uid: that the sender announced; None where it announced none.
          is_first: whether its study goes before others.
        """
        try:
            return self._take(file, sop_uid=sop_uid, is_first=is_first)
        finally:
            file.unlink(missing_ok=True)

    def _take(self, file: Path, *, sop_uid: str | None, is_first: bool) -> Taken:
        size = file.stat().st_size
        if shutil.disk_usage(self._folder.path).free < self._limits.free_disk_mb * 1e6:
            return Taken(what="disk_full", study="", size=size)
        try:
            with quiet_pydicom():
                if read_file_meta_info(file).TransferSyntaxUID not in TRANSFER_SYNTAXES:
                    return Taken(what="unreadable", study="", size=size)
                header = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=list(_TAGS))
            uids = [str(header[name].value or "") for name in _TAGS[:2]]
        except Exception:  # bytes of a stranger end pydicom in any way
            return Taken(what="unreadable", study="", size=size)
        if not all(0 < len(uid) <= _LONGEST_UID for uid in uids):
            return Taken(what="unreadable", study="", size=size)
        if sop_uid is not None and sop_uid != uids[1]:
            return Taken(what="another", study="", size=size)
        instance = Instance(
            study=self._names.of(uids[0]),
            name=self._names.of(uids[1]),
            digest=_digest(file),
            size=size,
            is_first=is_first,
            expected=_count(header),
        )
        place = self._folder.images(instance.study) / f"{instance.name}.dcm"
        with self._lock:
            is_new = not place.exists()
            if is_new:
                place.parent.mkdir(mode=0o700, exist_ok=True)
                os.replace(file, place)
                _to_disk(place.parent)
            try:
                what = arrive(self._queue, instance, at=time.time(), limits=self._limits)
            except BaseException:
                place.unlink(missing_ok=True) if is_new else None
                raise
            if is_new and what not in ("new", "known"):
                place.unlink()
                with contextlib.suppress(OSError):  # others of the study are there
                    place.parent.rmdir()
        return Taken(what=what, study=instance.study, size=size)

    def delete_ended(self, *, before: float) -> list[str]:
        """Delete images and results of studies that ended before a time; their names."""
        wiped = []
        for study in to_wipe(self._queue, before=before):
            with self._lock:
                if wipe(self._queue, study, before=before):
                    self._folder.wipe(study)
                    wiped.append(study)
        return wiped

    def delete_strays(self) -> None:
        """Delete what a process that was killed left: files of studies that are not kept."""
        with self._lock:
            for study in self._folder.studies():
                if not is_kept(self._queue, study):
                    self._folder.wipe(study)


def _count(header: pydicom.Dataset) -> int | None:
    try:
        count = int(header.get("NumberOfStudyRelatedInstances", 0) or 0)
    except (TypeError, ValueError):
        return None
    return count if count > 0 else None


def _digest(file: Path) -> str:
    """A hash of the file, which is on the disk afterwards."""
    digest = hashlib.sha256()
    with file.open("rb+") as opened:
        while chunk := opened.read(_CHUNK_BYTES):
            digest.update(chunk)
        os.fsync(opened.fileno())
    return digest.hexdigest()


def _to_disk(folder: Path) -> None:
    """Make sure that names in a folder are on the disk."""
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
