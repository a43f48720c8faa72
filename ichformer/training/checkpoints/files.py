"""The files of a checkpoint: what can be said of them without Orbax, and whether they are as they were written.

Orbax keeps no checksum of the arrays, so one bit that a disk flips would change the weights without a word. And its own
JSON of any checkpoint ends the reading of all of them where it is damaged.
"""

import contextlib
import hashlib
import json
import os
import re
import stat
from pathlib import Path
from typing import Annotated, Any

import msgspec

from ichformer.errors import InputError
from ichformer.files.json_files import read_json
from ichformer.files.writing import write_text

BEST_BY = "val_loss"
"""The metric whose smallest value makes a checkpoint the best one."""

CHECKSUMS_NAME = "checksums.json"
"""The file in the folder of a checkpoint with the SHA-256 of all others. Earlier versions wrote none."""

_METADATA_NAME = "_CHECKPOINT_METADATA"
_METRICS_NAME = "metrics/metrics"
_FIX = "restore the checkpoint from a copy, or delete its folder"

_Digest = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]


class _Checksums(msgspec.Struct):
    sha256: dict[str, _Digest]


class _Metrics(msgspec.Struct):
    val_loss: float


class _Metadata(msgspec.Struct):
    """What Orbax 0.12 takes for granted in its own file."""

    item_handlers: dict[str, str] | str | None = None
    metrics: dict[str, Any] | None = None
    performance_metrics: dict[str, float] | None = None
    init_timestamp_nsecs: int | None = None
    commit_timestamp_nsecs: int | None = None
    custom_metadata: dict[str, Any] | None = None


def steps_in(folder: Path) -> list[int]:
    """Steps done in each checkpoint of a folder, ascending; what is still being written has another name."""
    if not folder.is_dir():
        return []
    names = [entry.name for entry in os.scandir(folder) if entry.is_dir()]
    return sorted(int(name) for name in names if re.fullmatch(r"0|[1-9]\d{0,9}", name))


def read_loss(checkpoint: Path) -> float | None:
    """The ``BEST_BY`` of a checkpoint; None where it was not validated.

    Raises:
      InputError: the file is damaged.
    """
    path = checkpoint / _METRICS_NAME
    if not path.exists():
        return None
    # The loss of a model that has diverged is no number.
    return read_json(path, _Metrics, fix=_FIX, allow_nan=True).val_loss


def seal(checkpoint: Path) -> None:
    """Writes ``CHECKSUMS_NAME``; call it once the checkpoint is whole."""
    sums = {name: _sha256(checkpoint / name) for name in _names(checkpoint)}
    write_text(json.dumps({"sha256": sums}, indent=1) + "\n", checkpoint / CHECKSUMS_NAME)


def check_index(checkpoint: Path) -> None:
    """InputError where Orbax could not even list the checkpoint, or would list it with other metrics."""
    path = checkpoint / _METADATA_NAME
    if path.exists():
        read_json(path, _Metadata, fix=_FIX)
    read_loss(checkpoint)
    sums = _read_sums(checkpoint)
    _compare(checkpoint, {name: sums[name] for name in (_METADATA_NAME, _METRICS_NAME) if name in sums})


def damage_in(checkpoint: Path) -> str:
    """What ``check_files`` finds to be damaged, in words; "" for nothing."""
    try:
        check_files(checkpoint)
    except (InputError, OSError) as error:
        return str(error)
    return ""


def check_files(checkpoint: Path) -> None:
    """InputError where a file is missing, is not as it was written, or is no regular file."""
    names, sums = _names(checkpoint), _read_sums(checkpoint)
    # A name could also lead out of the folder.
    if missing := sorted(sums.keys() - set(names)):
        raise InputError("is missing", where=checkpoint / missing[0], fix=_FIX)
    check_index(checkpoint)
    _compare(checkpoint, sums)


def _read_sums(checkpoint: Path) -> dict[str, str]:
    path = checkpoint / CHECKSUMS_NAME
    return read_json(path, _Checksums, fix=_FIX).sha256 if path.exists() else {}


def _compare(checkpoint: Path, sums: dict[str, str]) -> None:
    for name, wanted in sums.items():
        if not (checkpoint / name).is_file():
            raise InputError("is missing", where=checkpoint / name, fix=_FIX)
        if _sha256(checkpoint / name) != wanted:
            raise InputError("is not as it was written", where=checkpoint / name, fix=_FIX)


def _names(checkpoint: Path) -> list[str]:
    """All files but the checksums, by their way from the checkpoint's folder."""
    found = []
    for folder, _, names in os.walk(checkpoint):
        for name in names:
            path = Path(folder) / name
            if not path.exists() or not stat.S_ISREG(path.stat().st_mode):
                raise InputError("is no regular file", where=path, fix=_FIX)
            found.append(path.relative_to(checkpoint).as_posix())
    return sorted(set(found) - {CHECKSUMS_NAME})


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def forget_place(checkpoint: Path) -> None:
    """Remove from a checkpoint the path where it was written, as it holds the user's name; Orbax never reads it."""
    with contextlib.suppress(OSError):  # the disk is full: nothing is lost
        for file in checkpoint.rglob("commit_success.txt"):
            file.write_text("Checkpoint commit was successful\n", encoding="utf-8")


def none_readable(folder: Path, reason: str) -> InputError:
    """The error for a run of which no checkpoint can be read, with the reason of the last one."""
    return InputError(
        f"no checkpoint can be read ({reason})",
        where=folder,
        fix="restore the folder from a copy, or train into a new one",
    )
