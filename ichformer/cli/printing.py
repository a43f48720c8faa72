"""What a command prints when it is done: text for people, or one JSON object."""

import json
from typing import Any

from ichformer.process.streams import delivered, printable


def print_result(values: Any, text: str, *, as_json: bool) -> None:
    """Prints ``text``, or ``values`` as one JSON object, and makes sure that it was taken."""
    with delivered():
        print(json.dumps(values, allow_nan=False) if as_json else printable(text))
