"""What a person should know of the data or the model, in one line on standard error."""

import functools
import sys


@functools.cache
def say_once(text: str) -> None:
    """Prints a line on standard error; a line that this process has printed before is not printed again."""
    print(f"note: {text}", file=sys.stderr)  # noqa: T201
