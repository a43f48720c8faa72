"""Debian's Orthanc with DICOMweb as the archive: started by a test, on loopback, and ended by it."""

import json
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
PROGRAM = shutil.which("Orthanc") or "/usr/sbin/Orthanc"


def why_not() -> str:
    """Why there is no Orthanc here; "" where there is one."""
    if not Path(PROGRAM).exists() or not PLUGIN.exists():
        return "there is no Orthanc: apt-get install orthanc orthanc-dicomweb"
    return ""


class Orthanc:
    """An archive in a folder; it may be killed and started again."""

    def __init__(self, folder: Path, *, port: int, dicom_port: int, peers: dict[str, list[object]] | None = None):
        folder.mkdir()
        self.folder, self.url = folder, f"http://127.0.0.1:{port}"
        settings = {
            "Name": "PACS",
            "StorageDirectory": str(folder / "db"),
            "IndexDirectory": str(folder / "db"),
            "HttpPort": port,
            "HttpBindAddresses": ["127.0.0.1"],
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "DicomAet": "PACS",
            "DicomPort": dicom_port,
            "DicomModalities": peers or {},
            "Plugins": [str(PLUGIN)],
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
        }
        (folder / "orthanc.json").write_text(json.dumps(settings))
        self.start()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen([PROGRAM, str(self.folder / "orthanc.json")], stdout=log, stderr=log)
        until = time.monotonic() + 600
        while True:
            try:
                self.ask("/system")
                return
            except (urllib.error.URLError, ConnectionError):
                is_waited_for = self.process.poll() is None and time.monotonic() < until
                assert is_waited_for, (self.folder / "log").read_text()
                time.sleep(0.1)

    def kill(self) -> None:
        """End it as a power failure would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def ask(self, path: str, body: object = None) -> Any:
        """What it answers as JSON, to a GET, or to a POST of a body."""
        data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        with urllib.request.urlopen(urllib.request.Request(self.url + path, data=data), timeout=120) as answer:
            return json.loads(answer.read() or b"null")

    def series(self, study: str) -> list[tuple[str, int]]:
        """Modality and number of instances of each series of a study, by QIDO-RS."""
        found = self.ask(f"/dicom-web/studies/{study}/series?includefield=00201209")
        return [(one["00080060"]["Value"][0], one["00201209"]["Value"][0]) for one in found]
