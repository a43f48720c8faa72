"""A bundle at an address, downloaded whole: over HTTPS, with a limit on its size, and its SHA-256 is told."""

import hashlib
import http.client
import urllib.parse
import urllib.request
from pathlib import Path

from ichformer.errors import InputError, one_line
from ichformer.files.bundles import MAX_BYTES
from ichformer.process.said import say_once

_SILENCE_S = 60.0
"""After so long without a byte the server is given up."""

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_FIX = "check the address, or download the bundle yourself and name the file"


def download_bundle(address: str, file: Path, *, max_bytes: int = MAX_BYTES) -> None:
    """Downloads what is at an address into a new file, and tells its size and SHA-256 on standard error.

    Args:
      address: ``https://``; also ``http://`` on this machine.
      file: where to; it is removed again where the download fails.
      max_bytes: more than this is refused.

    Raises:
      InputError: another kind of address, also of one that the server leads on to; no answer; or too large.
    """
    _check(address)
    digest, size = hashlib.sha256(), 0
    opener = urllib.request.build_opener(_CheckedRedirects)
    try:
        with opener.open(address, timeout=_SILENCE_S) as answer, file.open("xb") as out:
            while piece := answer.read(1 << 20):
                size += len(piece)
                if size > max_bytes:
                    raise InputError(f"is larger than {max_bytes:,} bytes", where=address, fix=_FIX)
                digest.update(piece)
                out.write(piece)
            announced = answer.headers.get("Content-Length")
        if announced is not None and announced != str(size):
            raise InputError(f"ended after {size:,} of {one_line(announced)} bytes", where=address, fix="try it again")
    except (OSError, http.client.HTTPException, ValueError) as error:
        file.unlink(missing_ok=True)
        raise InputError(f"cannot be downloaded ({one_line(error)})", where=address, fix=_FIX) from None
    except InputError:
        file.unlink(missing_ok=True)
        raise
    say_once(f"{one_line(address)}: downloaded {size:,} bytes, SHA-256 {digest.hexdigest()}")


class _CheckedRedirects(urllib.request.HTTPRedirectHandler):
    """A server may lead on to another address, but not to one that nobody may name."""

    def redirect_request(self, *given: object) -> urllib.request.Request | None:
        _check(str(given[-1]))
        return super().redirect_request(*given)  # type: ignore[arg-type]


def _check(address: str) -> None:
    parts = urllib.parse.urlsplit(address)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        raise InputError(
            "is no https address, so anybody on the way could exchange the model", where=address, fix="name it as https"
        )
