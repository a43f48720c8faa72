"""UIDs that are the same whenever they are made from the same things."""

import hashlib
import json
import re

_UID = re.compile(r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))+")
_LONGEST = 64


def uid_of(*said: object) -> str:
    """A UID under 2.25 (PS3.5, annex B.2) whose 128 bits are a hash of ``said``.

    Example:
      >>> uid_of("1.2.3", "report") == uid_of("1.2.3", "report") != uid_of("1.2.3", "segmentation")
      True
    """
    digest = hashlib.sha256(json.dumps([str(one) for one in said]).encode()).digest()
    return f"2.25.{int.from_bytes(digest[:16], 'big')}"


def is_uid(text: str) -> bool:
    """Whether it is a UID by PS3.5, section 9.1.

    Example:
      >>> is_uid("1.2.840.10008.1.2"), is_uid("ID_0a1b"), is_uid("1.02")
      (True, False, False)
    """
    return len(text) <= _LONGEST and _UID.fullmatch(text) is not None
