"""A node from its start to its end: it listens, scores, sends, and shows what it does."""

import contextlib
import threading
import time
from pathlib import Path

from ichformer.errors import InputError
from ichformer.files.lease import hold
from ichformer.files.writing import check_folder
from ichformer.serving.audit_log import AuditLog
from ichformer.serving.folder import NodeFolder
from ichformer.serving.intake import Intake
from ichformer.serving.listener import Listener, receive_into
from ichformer.serving.names import Names
from ichformer.serving.pull import Archive, Puller
from ichformer.serving.queue.database import Queue, is_switched_on, set_switch
from ichformer.serving.queue.keeping import forget
from ichformer.serving.queue.receiving import released
from ichformer.serving.queue.scoring import give_back, give_up, working_since
from ichformer.serving.queue.sending import give_up_others
from ichformer.serving.sender import Sender
from ichformer.serving.settings import NodeSettings
from ichformer.serving.status.values import read_status
from ichformer.serving.status.web import application
from ichformer.serving.stow import stow_server
from ichformer.serving.web_server import WebServer
from ichformer.serving.worker import Worker

_BEAT_S = 0.5
_CLEAN_S = 30.0
_USAGE_ERROR = 2
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_MOST_STARTS, _STARTS_WITHIN_S = 5, 600.0
"""A worker that ends so often in so short a time is not started again at once, but after the time."""


def serve(settings: NodeSettings) -> None:
    """Run a node until it is ended: by a signal, or because it was drained and nothing is left to do.

    Everything that was received and everything that is still to be sent outlives it, and the next one goes on.

    Raises:
      InputError: the folder is in use by another node, a port is not free, or the run cannot be used.
    """
    folder = NodeFolder(Path(settings.out))
    check_folder(folder.path)
    folder.path.mkdir(parents=True, exist_ok=True)
    with hold(folder.path, what="node"):
        folder.make()
        with _Node(settings, folder) as node:
            node.run()


class _Node:
    """All parts of a node, which begin and end together."""

    def __init__(self, settings: NodeSettings, folder: NodeFolder):
        self._settings, self._folder = settings, folder
        self._queue, self._log = Queue(folder.path), AuditLog(folder.audit_log)
        self._names = Names(folder.path)
        self._intake = Intake(self._queue, folder, self._names, settings.limits)
        self._starts: list[float] = []
        self._parts = contextlib.ExitStack()
        self._listening = contextlib.ExitStack()

    def __enter__(self) -> "_Node":
        settings, queue, folder = self._settings, self._queue, self._folder
        try:
            set_switch(queue, "draining", is_on=False)
            self._parts.callback(setattr, threading, "excepthook", threading.excepthook)
            threading.excepthook = self._thread_ended
            self._give_back()
            if count := give_up_others(queue, [one.name for one in settings.send], at=time.time()):
                self._log.say("given_up", deliveries=count, reason="destinations that are no longer set")
            self._intake.delete_strays()
            receive_into(folder.temporary)
            self._start_worker()
            self._parts.callback(lambda: self._worker.kill())  # what it had taken on is given back
            listener = self._listening.enter_context(
                contextlib.closing(Listener(settings, self._intake, self._log, self._released))
            )
            if settings.listen.stow_port is not None:
                stow = stow_server(settings, self._intake, folder, self._log, self._released)
                self._listening.enter_context(contextlib.closing(stow))
            for one in settings.pull:
                archive = Archive(one, aet=settings.listen.aet)
                puller = Puller(archive, queue, folder, self._names, self._intake, self._released, self._log)
                self._listening.enter_context(contextlib.closing(puller))
            sender = Sender(queue, folder, settings.send, self._log, aet=settings.listen.aet)
            self._parts.enter_context(contextlib.closing(sender))
            made = application(
                queue,
                self._log,
                run=Path(settings.run).name,
                aet=settings.listen.aet,
                associations=lambda: listener.open_associations,
                is_ready=lambda: self._worker.is_ready and sender.is_alive,
                hosts=list(_LOOPBACK) if settings.status_host in _LOOPBACK else ["*"],
            )
            web = WebServer(made, host=settings.status_host, port=settings.status_port)
            self._parts.enter_context(contextlib.closing(web))
        except BaseException:
            self.__exit__()
            raise
        self._log.say(
            "started",
            aet=settings.listen.aet,
            dicom=f"{settings.listen.host}:{listener.port}",
            status=f"http://{settings.status_host}:{web.port}/",
            tls=bool(settings.listen.tls_certificate),
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.close()
        self._parts.close()
        self._give_back(was_planned=True)
        self._log.say("ended")
        self._log.close()

    def run(self) -> None:
        """Watch over the parts until nothing is left to do."""
        cleaned = 0.0
        while True:
            self._watch_worker()
            if time.monotonic() - cleaned > _CLEAN_S:
                cleaned = time.monotonic()
                self._clean()
            if is_switched_on(self._queue, "draining"):
                self._listening.close()
                if read_status(self._queue).is_idle:
                    return
            time.sleep(_BEAT_S)

    def _thread_ended(self, ended: threading.ExceptHookArgs) -> None:
        """A line in the log in place of a traceback, which may quote what a peer sent."""
        self._log.say("thread_ended", error=ended.exc_type.__name__)

    def _released(self, studies: set[str]) -> None:
        released(self._queue, studies)

    def _start_worker(self) -> None:
        self._worker = Worker(self._settings)
        self._starts = [*self._starts[1 - _MOST_STARTS :], time.monotonic()]
        self._is_down = False

    def _watch_worker(self) -> None:
        """Start the worker again where it has ended, and end it where it takes too long."""
        for said in self._worker.said():
            self._log.say(**said)
        if self._worker.exit_code is None:
            since = working_since(self._queue)
            minutes = self._settings.study.minutes
            if since is not None and time.time() - since > 60 * minutes:
                self._worker.kill()
                for study in give_up(self._queue, f"too_long: it took more than {minutes:g} min", at=time.time()):
                    self._log.say("given_up", study=study, reason="too_long")
            return
        if self._worker.exit_code == _USAGE_ERROR:
            raise InputError("cannot be used, as the line above says", where=self._settings.run, fix="name another run")
        if not self._is_down:
            self._is_down = True
            self._log.say("worker_ended", code=self._worker.exit_code)
            self._give_back()
        is_often = len(self._starts) == _MOST_STARTS and time.monotonic() - self._starts[0] < _STARTS_WITHIN_S
        if not is_often:
            self._start_worker()

    def _give_back(self, *, was_planned: bool = False) -> None:
        tries = self._settings.study.tries
        for study, is_tried_again in give_back(self._queue, at=time.time(), tries=tries, was_planned=was_planned):
            self._log.say("given_back" if is_tried_again else "given_up", study=study)

    def _clean(self) -> None:
        """Delete what is no longer needed."""
        now = time.time()
        for study in self._intake.delete_ended(before=now - self._settings.keep_s):
            self._log.say("deleted", study=study)
        if count := forget(self._queue, before=now - 86400 * self._settings.remember_days):
            self._log.say("forgotten", studies=count)
