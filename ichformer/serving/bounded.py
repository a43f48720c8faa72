"""Connections that cannot fill the memory or stay for ever, whatever the peer sends."""

import ipaddress
import socket
import ssl
import time
from pathlib import Path
from socketserver import BaseServer
from typing import Any

from pynetdicom.association import Association
from pynetdicom.transport import AssociationSocket, RequestHandler, ThreadedAssociationServer

from ichformer.serving.audit_log import AuditLog
from ichformer.serving.settings import LimitSettings, ListenSettings

MAX_PDU_BYTES = 1 << 17
"""What we tell peers is the longest data unit; longer ones end the association."""

_LONGEST_REQUEST_BYTES = 1 << 20
"""Of a request for an association, which may offer many presentation contexts."""

_CHUNK_BYTES = 1 << 16
_MESSAGE_FACTOR = 20
"""A whole message may take so many times as long as one unit of it."""


class BoundedSocket(AssociationSocket):
    """A socket that ends the association where a data unit is too long, too slow, or a message too large.

    pynetdicom reads as many bytes as the peer announces, up to 4 GB, and waits for them without end.
    """

    def __init__(self, association: Association, client_socket: socket.socket, limits: LimitSettings, log: AuditLog):
        super().__init__(association, client_socket=client_socket)
        self._limits, self._log = limits, log
        self.begin_message()

    def begin_message(self) -> None:
        """Count and time anew, as a message was received whole."""
        self._bytes, self._until = 0, time.monotonic() + _MESSAGE_FACTOR * self._limits.silence_s

    def recv(self, nr_bytes: int) -> bytearray:
        """So many bytes, or fewer where the connection ends.

        Raises:
          OSError: a limit is reached; pynetdicom ends the association.
        """
        if nr_bytes > max(MAX_PDU_BYTES + 6, _LONGEST_REQUEST_BYTES):
            self._end("data_unit_too_long", nr_bytes)
        if in_memory_bytes(self.assoc) > _LONGEST_REQUEST_BYTES:
            self._end("message_too_large", in_memory_bytes(self.assoc))
        self._bytes += nr_bytes
        if self._bytes > self._limits.instance_mb * 1e6 + _LONGEST_REQUEST_BYTES:
            self._end("instance_too_large", self._bytes)
        until = min(self._until, time.monotonic() + self._limits.silence_s)
        received = bytearray()
        while len(received) < nr_bytes and self.socket is not None:
            left_s = until - time.monotonic()
            if left_s <= 0:
                self._end("too_slow", len(received))
            self.socket.settimeout(left_s)
            try:
                chunk = self.socket.recv(min(_CHUNK_BYTES, nr_bytes - len(received)))
            except TimeoutError:
                self._end("too_slow", len(received))
            if not chunk:
                break
            received += chunk
        return received

    def _end(self, reason: str, size: int) -> None:
        peer = self.assoc.requestor.address_info
        self._log.say("refused", reason=reason, address=getattr(peer, "address", None), bytes=size)
        if self.socket is not None:
            drop_partial(self.assoc)
            self.socket.close()  # pynetdicom takes the error for the peer's, and would leave it open
            self.socket = None
        raise OSError(reason)


class BoundedHandler(RequestHandler):
    """Makes associations over such sockets, for addresses that may connect."""

    server: "BoundedServer"

    def handle(self) -> None:
        """Begin an association, or close the connection."""
        address = self.client_address[0]
        if not is_allowed(address, self.server.listen.allowed_addresses):
            self.server.log.say("refused", reason="address", address=address)
            self.server.shutdown_request(self.request)
            return
        super().handle()

    def _create_association(self) -> Association:
        association = super()._create_association()
        bounded = BoundedSocket(association, self.request, self.server.limits, self.server.log)
        # The plain socket has told the association that the connection stands, and the second one would again.
        association.dul.event_queue.get_nowait()
        association.dul.socket = bounded
        return association


class BoundedServer(ThreadedAssociationServer):
    """A server of such associations, which shakes hands for TLS outside the thread that accepts connections."""

    def __init__(self, *arguments: Any, listen: ListenSettings, limits: LimitSettings, log: AuditLog, **named: Any):
        self.listen, self.limits, self.log = listen, limits, log
        named["request_handler"] = BoundedHandler
        super().__init__(*arguments, **named)

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        """A connection and where it comes from."""
        connection, address = self.socket.accept()  # type: ignore[union-attr]
        connection.settimeout(self.limits.silence_s)
        if self.ssl_context is not None:
            connection = self.ssl_context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return connection, address

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Shake hands, then handle the request."""
        try:
            if isinstance(request, ssl.SSLSocket):
                request.do_handshake()
        except OSError as error:
            self.log.say("refused", reason="tls", address=client_address[0], error=type(error).__name__)
            self.shutdown_request(request)
            return
        super().process_request_thread(request, client_address)

    def shutdown(self) -> None:
        """Take no more connections. (pynetdicom's own also strikes it off a list that it is not on.)"""
        BaseServer.shutdown(self)
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        """A line in the log in place of a traceback."""
        self.log.say("refused", reason="connection", address=client_address[0])


def in_memory_bytes(association: Association) -> int:
    """How much of an unfinished message pynetdicom holds in memory: all but the data sets of C-STORE."""
    message = association.dimse.message
    held = () if message is None else (message.encoded_command_set, message.data_set)
    return sum(one.tell() for one in held if one is not None)


def drop_partial(association: Association) -> None:
    """Delete the file of an image that did not come whole, which pynetdicom leaves."""
    file = getattr(association.dimse.message, "_data_set_file", None)
    if file is not None:
        file.close()
        Path(file.name).unlink(missing_ok=True)


def is_allowed(address: str, allowed: tuple[str, ...]) -> bool:
    """Whether an address is one of some addresses and networks; all are where there are none.

    Example:
      >>> is_allowed("10.0.0.7", ("10.0.0.0/24",)), is_allowed("10.1.0.7", ("10.0.0.0/24",)), is_allowed("::1", ())
      (True, False, True)
    """
    if not allowed:
        return True
    try:
        of = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    of = getattr(of, "ipv4_mapped", None) or of
    return any(of in ipaddress.ip_network(network) for network in allowed)
