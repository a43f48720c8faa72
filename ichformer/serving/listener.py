"""The DICOM server of a node: C-ECHO and C-STORE of CT, by TLS where that is set."""

import logging
import ssl
import tempfile
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from pathlib import Path
from weakref import WeakKeyDictionary

from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage
from pynetdicom import AE, _config, evt
from pynetdicom.association import Association
from pynetdicom.events import Event

from ichformer.errors import InputError
from ichformer.serving.audit_log import AuditLog
from ichformer.serving.bounded import MAX_PDU_BYTES, BoundedServer, BoundedSocket, drop_partial
from ichformer.serving.intake import STATUS, TRANSFER_SYNTAXES, Intake
from ichformer.serving.settings import NodeSettings

_VERIFICATION = "1.2.840.10008.1.1"
"""C-ECHO."""

_RATE_WINDOW_S = 10.0


class Listener:
    """The server, in threads of its own."""

    def __init__(self, settings: NodeSettings, intake: Intake, log: AuditLog, released: Callable[[set[str]], None]):
        """Begin to listen.

        Args:
          settings: of the node.
          intake: takes what comes.
          log: of the node.
          released: is told the studies of an association that ended in order.

        Raises:
          InputError: the address or port cannot be had, or the files for TLS cannot be read.
        """
        self._settings, self._intake, self._log, self._released = settings, intake, log, released
        self._studies: WeakKeyDictionary[Association, set[str]] = WeakKeyDictionary()
        self._counts: WeakKeyDictionary[Association, Counter[str]] = WeakKeyDictionary()
        self._rates = _Rates(settings.limits.instances_per_s)
        logging.getLogger("pynetdicom").setLevel(logging.CRITICAL + 1)  # it would tell whose images come
        _config.STORE_RECV_CHUNKED_DATASET = True  # to the disk, so that the memory does not hold what comes
        _config.LOG_HANDLER_LEVEL = "none"
        listen = settings.listen
        entity = AE(ae_title=listen.aet)
        for context in (CTImageStorage, EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage):
            entity.add_supported_context(context, list(TRANSFER_SYNTAXES))
        entity.add_supported_context(_VERIFICATION)
        entity.require_called_aet = True
        entity.require_calling_aet = list(listen.allowed_aets)
        entity.maximum_associations = settings.limits.associations
        entity.maximum_pdu_size = MAX_PDU_BYTES
        for name in ("network_timeout", "acse_timeout", "dimse_timeout"):
            setattr(entity, name, settings.limits.silence_s)
        try:
            self._server = entity.make_server(
                (listen.host, listen.port),
                ssl_context=_tls(settings),
                evt_handlers=[
                    (evt.EVT_C_STORE, self._store),
                    (evt.EVT_REJECTED, self._rejected),
                    (evt.EVT_RELEASED, self._ended, [True]),
                    (evt.EVT_ABORTED, self._ended, [False]),
                ],
                server_class=BoundedServer,
                listen=listen,
                limits=settings.limits,
                log=log,
            )
        except (OSError, OverflowError) as error:
            raise InputError(
                f"cannot be listened on ({error})",
                where=f"{listen.host}:{listen.port}",
                fix="name a free port and an address of this machine",
            ) from None
        threading.Thread(target=self._server.serve_forever, name="listener", daemon=True).start()

    @property
    def port(self) -> int:
        """On which it listens."""
        return int(self._server.server_address[1])

    @property
    def open_associations(self) -> int:
        """How many there are."""
        return len(self._server.active_associations)

    def close(self) -> None:
        """Take no new associations, and end those that are open."""
        open_ones = self._server.active_associations
        self._server.shutdown()
        for association in open_ones:
            association.abort()

    def _store(self, event: Event) -> int:
        association, file = event.assoc, Path(event.dataset_path)
        if isinstance(bounded := association.dul.socket, BoundedSocket):
            bounded.begin_message()
        peer, aet = association.requestor.address, association.requestor.ae_title
        self._rates.wait(peer)
        taken = self._intake.take(
            file,
            sop_uid=str(getattr(event.request, "AffectedSOPInstanceUID", None) or ""),
            is_first=aet in self._settings.study.first_aets,
        )
        self._counts.setdefault(association, Counter())[taken.what] += 1
        if taken.is_taken:
            self._studies.setdefault(association, set()).add(taken.study)
        else:
            self._log.say("refused", reason=taken.what, aet=aet, address=peer, bytes=taken.size)
        return STATUS[taken.what]

    def _rejected(self, event: Event) -> None:
        peer = event.assoc.requestor
        self._log.say("refused", reason="association", aet=peer.ae_title, address=peer.address)

    def _ended(self, event: Event, in_order: bool) -> None:
        drop_partial(event.assoc)
        studies = self._studies.pop(event.assoc, set())
        if in_order and studies:
            self._released(studies)
        if (counts := self._counts.pop(event.assoc, None)) is not None:
            peer = event.assoc.requestor
            self._log.say(
                "received",
                aet=peer.ae_title,
                address=peer.address,
                studies=sorted(studies),
                ended="released" if in_order else "cut short",
                **counts,
            )


class _Rates:
    """Lets each address wait that sends more than so many instances in a second, over some seconds."""

    def __init__(self, per_s: int):
        self._most, self._lock = int(per_s * _RATE_WINDOW_S), threading.Lock()
        self._times: dict[str, deque[float]] = {}

    def wait(self, address: str) -> None:
        with self._lock:
            now = time.monotonic()
            self._times = {a: t for a, t in self._times.items() if t and now - t[-1] < _RATE_WINDOW_S}
            times = self._times.setdefault(address, deque(maxlen=self._most))
            wait_s = times[0] + _RATE_WINDOW_S - now if len(times) == self._most else 0.0
            times.append(now + max(wait_s, 0.0))
        if wait_s > 0:
            time.sleep(wait_s)


def receive_into(folder: Path) -> None:
    """Let pynetdicom write what comes into a folder, for the rest of this process."""
    tempfile.tempdir = str(folder)


def _tls(settings: NodeSettings) -> ssl.SSLContext | None:
    listen = settings.listen
    if not listen.tls_certificate:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(listen.tls_certificate, listen.tls_key)
        if listen.tls_clients:
            context.load_verify_locations(listen.tls_clients)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ssl.SSLError) as error:
        raise InputError(
            f"cannot be used ({error})", where="listen.tls_certificate", fix="give PEM files that fit each other"
        ) from None
    return context
