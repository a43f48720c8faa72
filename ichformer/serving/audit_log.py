"""The audit log of a node: what came, what was done and what was refused. No line tells whose study it was."""

import json
import logging
import logging.handlers
import sys
import time
from pathlib import Path

from ichformer.errors import one_line

_MAX_BYTES, _FILES = 20 << 20, 5


class AuditLog:
    """A log of one JSON object a line, in a file that is changed for a new one at 20 MB, and on standard error.

    Values are numbers, names of studies (``names.Names``), and words that are made printable and cut at 200 characters:
    AE titles, addresses, codes of reasons. Texts of a header must not be handed in.
    """

    def __init__(self, file: Path):
        """Open the log."""
        file.touch(mode=0o600)
        self._log = logging.Logger("ichformer audit", level=logging.INFO)
        for handler in (
            logging.handlers.RotatingFileHandler(file, maxBytes=_MAX_BYTES, backupCount=_FILES, encoding="utf-8"),
            logging.StreamHandler(sys.stderr),
        ):
            self._log.addHandler(handler)

    def say(self, event: str, **values: object) -> None:
        """Write a line.

        Args:
          event: what happened, in one word with underscores.
          values: about it; None is left out.
        """
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        said = {name: _plain(value) for name, value in values.items() if value is not None}
        self._log.info(json.dumps({"at": at, "event": event, **said}))

    def close(self) -> None:
        """Close the file."""
        for handler in [*self._log.handlers]:
            handler.close()
            self._log.removeHandler(handler)


def _plain(value: object) -> object:
    if isinstance(value, bool | int | float):
        return value
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return one_line(value)
