"""Names that stand for UIDs: nobody who reads the queue, a log or the metrics learns whose study it is."""

import hashlib
import hmac
import os
import secrets
from pathlib import Path

from ichformer.errors import InputError
from ichformer.files.writing import appearing_whole, read_bytes

_FILE, _BYTES = "secret.key", 32
DIGITS = 24
"""Of a name."""


class Names:
    """Names for UIDs, keyed with a secret of the node: the same UID has the same name, in this node alone.

    A plain hash would not do: who has a list of UIDs could hash them all.
    """

    def __init__(self, folder: Path):
        """Read the secret of a node's folder, or make it."""
        file = folder / _FILE
        if not file.exists():
            with appearing_whole(file) as temporary:
                temporary.touch(mode=0o600)
                temporary.write_bytes(secrets.token_bytes(_BYTES))
        self._key = read_bytes(file, max_bytes=_BYTES, fix="see who may read the node's folder")
        if len(self._key) != _BYTES or os.stat(file).st_mode & 0o077:
            raise InputError(
                "is damaged, or others may read it", where=file, fix="delete it: known studies are forgotten"
            )

    def of(self, uid: str) -> str:
        """The name of a UID, hexadecimal digits."""
        return hmac.new(self._key, uid.encode(errors="surrogatepass"), hashlib.sha256).hexdigest()[:DIGITS]
