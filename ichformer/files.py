"""Writing files so that a reader finds the whole of one or none."""

import os
from pathlib import Path


def write_text(text: str, path: Path) -> None:
    """The whole file or none of it; its folder has to be there."""
    write_bytes(text.encode(), path)


def write_bytes(data: bytes, path: Path) -> None:
    """``write_text`` of bytes."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
