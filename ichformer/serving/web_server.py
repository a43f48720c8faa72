"""A web server in a thread of its own, with limits."""

import asyncio
import logging
import ssl
import threading
import time
from dataclasses import dataclass

import uvicorn
from starlette.applications import Starlette

from ichformer.errors import InputError

_START_S = 20.0


@dataclass(frozen=True, kw_only=True)
class Tls:
    """Files (PEM) of a certificate and its key, and of the authorities of clients; "" where these need none."""

    certificate: str
    key: str
    clients: str


class WebServer:
    """The server, in a thread of its own."""

    def __init__(self, made: Starlette, *, host: str, port: int, tls: Tls | None = None):
        """Begin to listen.

        Args:
          made: answers.
          host, port: where; port 0 takes a free one.
          tls: with it, only TLS is spoken.

        Raises:
          InputError: the address or port cannot be had, or the files for TLS cannot be read.
        """
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL + 1)  # the audit log says what fails
        config = uvicorn.Config(
            made,
            host=host,
            port=port,
            log_config=None,
            access_log=False,
            server_header=False,
            limit_concurrency=50,
            timeout_keep_alive=5,
            h11_max_incomplete_event_size=16_384,
            lifespan="off",
            ssl_certfile=tls.certificate if tls else None,
            ssl_keyfile=tls.key if tls else None,
            ssl_ca_certs=tls.clients or None if tls else None,
            ssl_cert_reqs=ssl.CERT_REQUIRED if tls and tls.clients else ssl.CERT_NONE,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._run, name="web", daemon=True)
        self._thread.start()
        until = time.monotonic() + _START_S
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > until:
                raise InputError(
                    "cannot be listened on", where=f"{host}:{port}", fix="name a free port, and files for TLS that fit"
                )
            time.sleep(0.02)

    @property
    def port(self) -> int:
        """On which it listens."""
        return int(self._server.servers[0].sockets[0].getsockname()[1])

    def close(self) -> None:
        """End the server."""
        self._server.should_exit = True
        self._thread.join(timeout=5)

    def _run(self) -> None:
        try:
            asyncio.run(self._server.serve())
        except (SystemExit, OSError):  # the port is taken, or a file for TLS is no such
            return
