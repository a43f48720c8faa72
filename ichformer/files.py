"""Writing files so that a reader finds the whole of one or none."""

import os
from pathlib import Path


def write_text(text: str, path: Path) -> None:
    """The whole file or none of it; its folder has to be there."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
