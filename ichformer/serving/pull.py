"""Fetches studies that nobody sends: by QIDO-RS and WADO-RS, or by C-FIND and C-MOVE."""

import datetime
import threading
import uuid
from collections.abc import Callable, Iterator

from pydicom.dataset import Dataset
from pynetdicom import build_context

from ichformer.serving.audit_log import AuditLog
from ichformer.serving.destinations.archive import associated
from ichformer.serving.destinations.dicomweb import client
from ichformer.serving.folder import NodeFolder
from ichformer.serving.intake import Intake
from ichformer.serving.names import Names
from ichformer.serving.queue.database import Queue
from ichformer.serving.settings import PullSettings

_FIND, _MOVE = "1.2.840.10008.5.1.4.1.2.2.1", "1.2.840.10008.5.1.4.1.2.2.2"
"""Study root query and retrieve, PS3.4, annex C."""

_PENDING, _SUCCESS = (0xFF00, 0xFF01), 0x0000
_TIMEOUT_S = 120.0


class Archive:
    """An archive that is asked for CT studies."""

    def __init__(self, of: PullSettings, *, aet: str):
        self.of, self._aet = of, aet

    def studies(self) -> list[str]:
        """StudyInstanceUIDs of the last days."""
        today = datetime.date.today()
        dates = f"{today - datetime.timedelta(days=self.of.days - 1):%Y%m%d}-{today:%Y%m%d}"
        if self.of.kind == "dicomweb":
            answers = client(self.of).search_for_studies(search_filters={"ModalitiesInStudy": "CT", "StudyDate": dates})
            return [str(Dataset.from_json(one).StudyInstanceUID) for one in answers]
        query = Dataset()
        query.QueryRetrieveLevel = "STUDY"
        query.ModalitiesInStudy = "CT"
        query.StudyDate = dates
        query.StudyInstanceUID = ""
        found = [answer for _, answer in self._asked(query, _FIND)]
        # Archives may leave ModalitiesInStudy out of account, which is an optional key.
        return [str(one.StudyInstanceUID) for one in found if one and "CT" in (one.get("ModalitiesInStudy") or "CT")]

    def images(self, study: str) -> Iterator[Dataset]:
        """The CT images of a study, by WADO-RS."""
        asked = client(self.of)
        for series in asked.search_for_series(study, search_filters={"Modality": "CT"}):
            yield from asked.iter_series(study, str(Dataset.from_json(series).SeriesInstanceUID))

    def move(self, study: str) -> None:
        """Let the archive send a study to the node's own server, by C-MOVE.

        Raises:
          OSError: it did not send all of it.
        """
        query = Dataset()
        query.QueryRetrieveLevel = "STUDY"
        query.StudyInstanceUID = study
        for status, _ in self._asked(query, _MOVE, move_to=self._aet):
            if status.Status not in (*_PENDING, _SUCCESS):
                raise OSError(f"C-MOVE ended with {status.Status:04X}")

    def _asked(
        self, query: Dataset, model: str, *, move_to: str | None = None
    ) -> Iterator[tuple[Dataset, Dataset | None]]:
        with associated(self.of, [build_context(model)], aet=self._aet, timeout_s=_TIMEOUT_S) as association:
            if move_to is None:
                answers = association.send_c_find(query, model)
            else:
                answers = association.send_c_move(query, move_to, model)
            for status, answer in answers:
                if "Status" not in status:
                    raise OSError("the association ended")
                yield status, answer


class Puller:
    """Asks an archive again and again, in a thread of its own, and fetches what the node does not know."""

    def __init__(
        self,
        archive: Archive,
        queue: Queue,
        folder: NodeFolder,
        names: Names,
        intake: Intake,
        released: Callable[[set[str]], None],
        log: AuditLog,
    ):
        """Begin to ask.

        Args:
          archive: is asked.
          queue, folder, names, intake, log: of the node.
          released: is told the studies that came whole.
        """
        self._archive, self._queue, self._folder, self._names = archive, queue, folder, names
        self._intake, self._released, self._log = intake, released, log
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="puller", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop."""
        self._stop.set()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                for uid in self._archive.studies():
                    if self._stop.is_set():
                        return
                    self._pull(uid)
            except Exception as error:  # an archive that is away, or that answers nonsense, is asked again
                self._log.say("not_pulled", reason=type(error).__name__)
            self._stop.wait(self._archive.of.every_s)

    def _pull(self, uid: str) -> None:
        study = self._names.of(uid)
        if self._queue.read("SELECT 1 FROM studies WHERE study = ? AND was_released", study):
            return
        if self._archive.of.kind == "dicom":
            self._archive.move(uid)
        else:
            for image in self._archive.images(uid):
                file = self._folder.temporary / f"{uuid.uuid4().hex}.dcm"
                image.save_as(file, enforce_file_format=True)
                taken = self._intake.take(file, sop_uid=None, is_first=False)
                if not taken.is_taken or taken.study != study:
                    raise OSError("an image was not taken, or is of another study")
            self._released({study})
        self._log.say("pulled", study=study)
