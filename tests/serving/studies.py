"""Studies for the tests of the node, and a node's parts without a model."""

import logging
import os
import socket
import ssl
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from pynetdicom import AE

from ichformer.serving.audit_log import AuditLog
from ichformer.serving.folder import NodeFolder
from ichformer.serving.intake import Intake
from ichformer.serving.names import Names
from ichformer.serving.queue.database import Queue
from ichformer.serving.settings import LimitSettings
from tests.ct.builders import dataset, head_hu

SLICES, SIDE = 6, 32


def study(number: int = 1, *, slices: int = SLICES, **tags: object) -> list[Dataset]:
    """A small head with UIDs of its own."""
    stored = (head_hu(slices, SIDE) + 1024).astype(np.int16)
    uid = f"1.2.826.0.1.{number}"
    tags = {"PatientName": f"Doe^Jane {number}", "PatientID": f"patient-{number}", "StudyInstanceUID": uid} | tags
    return [
        dataset(
            picture,
            position_mm=(-80.0, -80.0, 5.0 * at),
            series_uid=f"{uid}.1",
            sop_uid=f"{uid}.1.{at + 1}",
            PixelSpacing=[5.0, 5.0],
            InstanceNumber=at + 1,
            FrameOfReferenceUID=f"{uid}.2",
            **tags,
        )
        for at, picture in enumerate(stored)
    ]


class Parts:
    """What lies in a node's folder, and what takes instances in."""

    def __init__(self, folder: Path, **limits: float):
        self.folder = NodeFolder(folder)
        self.folder.make()
        self.queue, self.names = Queue(folder), Names(folder)
        self.limits = LimitSettings(free_disk_mb=0, **limits)
        self.intake = Intake(self.queue, self.folder, self.names, self.limits)
        self.log = AuditLog(self.folder.audit_log)
        for handler in [one for one in self.log._log.handlers if type(one) is logging.StreamHandler]:
            self.log._log.removeHandler(handler)

    def close(self) -> None:
        """Close what is open."""
        self.queue.close()
        self.log.close()

    def take(self, image: Dataset | bytes, **options: object) -> str:
        """What comes of an instance, or of some bytes."""
        file = self.folder.temporary / f"{os.urandom(4).hex()}.dcm"
        file.write_bytes(image) if isinstance(image, bytes) else pydicom.dcmwrite(file, image)
        found = self.intake.take(file, **{"sop_uid": None, "is_first": False} | options)
        assert not file.exists()
        return found.what

    def files(self) -> list[str]:
        """The images that lie there."""
        return sorted(file.name for file in (self.folder.path / "images").rglob("*.dcm"))


def free_port() -> int:
    """A port of this machine on which nobody listens."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def associate(port: int, *, called: str = "ICHFORMER", calling: str = "SCANNER", tls: ssl.SSLContext | None = None):
    """An association with a node, for CT images and C-ECHO, by TLS where a context for it is given."""
    entity = AE(ae_title=calling)
    entity.add_requested_context(CTImageStorage, ExplicitVRLittleEndian)
    entity.add_requested_context("1.2.840.10008.1.1")
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 60
    return entity.associate("127.0.0.1", port, ae_title=called, tls_args=(tls, "127.0.0.1") if tls else None)


def send(port: int, images: list[Dataset], **options: Any) -> list[int | None]:
    """The status of each image, sent over one association; None where the association ended before."""
    association = associate(port, **options)
    if not association.is_established:
        return [None] * len(images)
    found = [association.send_c_store(image).get("Status") if association.is_established else None for image in images]
    association.release()
    return found


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """A certificate for this machine, signed by itself, and its key."""
    files = folder / f"{name}.pem", folder / f"{name}.key"
    subject = ["-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1"]
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject]
    subprocess.run([*made, "-out", str(files[0]), "-keyout", str(files[1])], check=True, capture_output=True)
    return files
