"""Studies that come by STOW-RS (PS3.18, section 10.5): what C-STORE takes, over HTTP."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, BinaryIO

from pydicom.filereader import read_file_meta_info
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ichformer.ct.io.dicom.dicom_file import quiet_pydicom
from ichformer.serving.audit_log import AuditLog
from ichformer.serving.bounded import is_allowed
from ichformer.serving.folder import NodeFolder
from ichformer.serving.intake import STATUS, Intake, Taken
from ichformer.serving.settings import LimitSettings, NodeSettings
from ichformer.serving.web_server import Tls, WebServer

_OK, _SOME, _NONE, _TOO_LARGE, _NOT_THAT, _FORBIDDEN, _BROKEN, _SLOW = 200, 202, 409, 413, 415, 403, 400, 408
_JSON = "application/dicom+json"


class _RefusedError(Exception):
    """A request that is not read on, with the code of the answer and the reason for the log."""

    def __init__(self, code: int, reason: str):
        super().__init__(reason)
        self.code, self.reason = code, reason


class _Parts:
    """The parts of a body as files, one after the other; nothing of them is held in memory."""

    def __init__(self, folder: Path, boundary: bytes, limits: LimitSettings):
        self._folder, self._limits = folder, limits
        self._file: BinaryIO | None = None
        self._bytes = self._all_bytes = 0
        self.whole: list[Path] = []
        self._parser = MultipartParser(
            boundary,
            {"on_part_begin": self._begin, "on_part_data": self._data, "on_part_end": self._end},
        )

    def write(self, chunk: bytes) -> None:
        """Take the next bytes of the body."""
        self._all_bytes += len(chunk)
        if self._all_bytes > self._limits.study_mb * 1e6:
            raise _RefusedError(_TOO_LARGE, "request_too_large")
        self._parser.write(chunk)

    def close(self) -> None:
        """Delete what did not come whole, and what was not handed on."""
        if self._file is not None:
            self._file.close()
            Path(self._file.name).unlink(missing_ok=True)
        for file in self.whole:
            file.unlink(missing_ok=True)

    def _begin(self) -> None:
        self._file = (self._folder / f"{uuid.uuid4().hex}.dcm").open("wb")
        self._bytes = 0

    def _data(self, data: bytes, start: int, end: int) -> None:
        assert self._file is not None
        self._bytes += end - start
        if self._bytes > self._limits.instance_mb * 1e6:
            raise _RefusedError(_TOO_LARGE, "instance_too_large")
        self._file.write(data[start:end])

    def _end(self) -> None:
        assert self._file is not None
        self._file.close()
        self.whole.append(Path(self._file.name))
        self._file = None


def stow_server(
    settings: NodeSettings, intake: Intake, folder: NodeFolder, log: AuditLog, released: Callable[[set[str]], None]
) -> WebServer:
    """A server for STOW-RS on the port that the settings name.

    Args:
      settings: of the node.
      intake, folder, log: of the node.
      released: is told the studies of a request that came whole.

    Raises:
      InputError: the address or port cannot be had, or the files for TLS cannot be read.
    """
    listen = settings.listen
    made = stow_application(settings, intake, folder, log, released)
    tls = Tls(certificate=listen.tls_certificate, key=listen.tls_key, clients=listen.tls_clients)
    return WebServer(made, host=listen.host, port=listen.stow_port or 0, tls=tls if listen.tls_certificate else None)


def stow_application(
    settings: NodeSettings, intake: Intake, folder: NodeFolder, log: AuditLog, released: Callable[[set[str]], None]
) -> Starlette:
    """The ASGI application: POST to /studies, as ``stow_server`` serves it."""

    async def store(request: Request) -> Response:
        """Takes the instances of one request (DICOM PS3.18, 10.5)."""
        address = request.client.host if request.client else ""
        found: list[tuple[dict[str, str], Taken]] = []
        try:
            parts = _Parts(folder.temporary, _boundary(request, address, settings), settings.limits)
            try:
                async for chunk in _chunks(request, settings.limits.silence_s):
                    parts.write(chunk)
                    while parts.whole:
                        found.append(await run_in_threadpool(_take, intake, parts.whole.pop(0)))
            finally:
                parts.close()
        except _RefusedError as refused:
            code, reason = refused.code, refused.reason
        except FormParserError:
            code, reason = _BROKEN, "not_multipart"
        except ClientDisconnect:
            code, reason = _BROKEN, "cut_short"
        else:
            taken = sum(one.is_taken for _, one in found)
            code, reason = (_OK if taken == len(found) else _SOME) if taken else _NONE, ""
        studies = {one.study for _, one in found if one.is_taken}
        if not reason and studies:
            released(studies)
        log.say(
            "refused" if reason or code == _NONE else "received",
            by="stow",
            address=address,
            reason=reason or None,
            studies=sorted(studies),
            taken=sum(one.is_taken for _, one in found),
            not_taken=sum(not one.is_taken for _, one in found),
        )
        return JSONResponse(_answer(found), status_code=code, media_type=_JSON, headers={"Connection": "close"})

    return Starlette(routes=[Route("/studies", store, methods=["POST"])])


def _boundary(request: Request, address: str, settings: NodeSettings) -> bytes:
    """What stands between the parts of a request that may be read."""
    if not is_allowed(address, settings.listen.allowed_addresses):
        raise _RefusedError(_FORBIDDEN, "address")
    if request.headers.get("content-encoding", "identity") != "identity":  # a small body can become a very large one
        raise _RefusedError(_NOT_THAT, "content_encoding")
    kind, options = parse_options_header(request.headers.get("content-type"))
    boundary = options.get(b"boundary", b"")
    if kind != b"multipart/related" or options.get(b"type") != b"application/dicom" or not 0 < len(boundary) <= 70:
        raise _RefusedError(_NOT_THAT, "content_type")
    return boundary


async def _chunks(request: Request, silence_s: float) -> AsyncIterator[bytes]:
    """The body as it comes; an error where the sender falls silent."""
    stream = request.stream().__aiter__()
    while True:
        try:
            yield await asyncio.wait_for(anext(stream), silence_s)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise _RefusedError(_SLOW, "too_slow") from None


def _take(intake: Intake, file: Path) -> tuple[dict[str, str], Taken]:
    """What came of a file, and the UIDs by which the answer names it."""
    uids = {"00081150": "", "00081155": ""}
    try:
        with quiet_pydicom():
            meta = read_file_meta_info(file)
        uids = {"00081150": str(meta.MediaStorageSOPClassUID), "00081155": str(meta.MediaStorageSOPInstanceUID)}
    except Exception:  # bytes of a stranger end pydicom in any way; the intake says that they are no image
        pass
    return uids, intake.take(file, sop_uid=None, is_first=False)


def _answer(found: list[tuple[dict[str, str], Taken]]) -> dict[str, Any]:
    """The Store Instances Response (PS3.18, table I.2-1)."""
    stored, failed = [], []
    for uids, taken in found:
        item: dict[str, Any] = {tag: {"vr": "UI", "Value": [uid]} if uid else {"vr": "UI"} for tag, uid in uids.items()}
        if taken.is_taken:
            stored.append(item)
        else:
            failed.append(item | {"00081197": {"vr": "US", "Value": [STATUS[taken.what]]}})
    lists = (("00081199", stored), ("00081198", failed))
    return {tag: {"vr": "SQ", "Value": items} for tag, items in lists if items}
