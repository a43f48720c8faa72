"""Sends the results that wait in the queue, and sends again what did not arrive."""

import threading
import time
from collections.abc import Sequence
from pathlib import Path

from ichformer.serving.audit_log import AuditLog
from ichformer.serving.destinations.archive import send_by_c_store
from ichformer.serving.destinations.dicomweb import send_by_stow
from ichformer.serving.destinations.hl7_message import send_by_mllp
from ichformer.serving.destinations.results import NotSentError, Results
from ichformer.serving.destinations.webhook import send_by_webhook
from ichformer.serving.folder import NodeFolder
from ichformer.serving.queue.database import Queue
from ichformer.serving.queue.sending import Delivery, next_delivery, not_sent, sent
from ichformer.serving.settings import Destination

TRIES = 12
"""So often results are sent before they are given up: the last time after about two days."""

_FIRST_WAIT_S, _LONGEST_WAIT_S = 5.0, 6 * 3600.0
_IDLE_S = 0.5


class Sender:
    """One thread for each destination, so that one that does not answer holds up no other."""

    def __init__(
        self, queue: Queue, folder: NodeFolder, destinations: Sequence[Destination], log: AuditLog, *, aet: str
    ):
        """Begin to send."""
        self._queue, self._folder, self._log, self._aet = queue, folder, log, aet
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(one,), name="sender", daemon=True) for one in destinations
        ]
        for thread in self._threads:
            thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether all threads run."""
        return all(thread.is_alive() for thread in self._threads)

    def close(self) -> None:
        """Stop; what is being sent is sent to its end first, or again later."""
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=5)

    def _run(self, to: Destination) -> None:
        while not self._stop.is_set():
            delivery = next_delivery(self._queue, at=time.time(), destinations=[to.name])
            if delivery is None:
                self._stop.wait(_IDLE_S)
            else:
                self._send(delivery, to)

    def _send(self, delivery: Delivery, to: Destination) -> None:
        study, began = delivery.of.study, time.monotonic()
        try:
            send(Results(study=study, folder=self._folder.results(delivery.of)), to, aet=self._aet)
        except Exception as error:  # whatever a library makes of what a peer says, the thread goes on
            reason = str(error) if isinstance(error, NotSentError) else f"a fault: {type(error).__name__}"
            tries = delivery.tries + 1
            wait_s = min(_FIRST_WAIT_S * 4**delivery.tries, _LONGEST_WAIT_S)
            again_at = None if tries >= TRIES else time.time() + wait_s
            not_sent(self._queue, delivery, reason, at=time.time(), again_at=again_at)
            said = "given_up" if again_at is None else "not_sent"
            self._log.say(said, study=study, to=to.name, reason=reason, tries=tries)
        else:
            sent(self._queue, delivery, at=time.time())
            self._log.say("sent", study=study, to=to.name, seconds=round(time.monotonic() - began, 2))


def send(results: Results, to: Destination, *, aet: str) -> None:
    """Send results to a destination, unless they are none that it wants.

    Raises:
      NotSentError: they did not arrive.
    """
    if to.raised_only and not any(_concerns(results, one) for one in results.series):
        return
    if to.kind == "dicomweb":
        send_by_stow(results, to)
    elif to.kind == "dicom":
        send_by_c_store(results, to, aet=aet)
    elif to.kind == "webhook":
        send_by_webhook(results, to)
    else:
        send_by_mllp(results, to)


def _concerns(results: Results, series: Path) -> bool:
    """Whether a series is raised, or was not scored: nobody knows of it then."""
    values = results.numbers(series)
    return not values["scored"] or any(values["positive"].values())
