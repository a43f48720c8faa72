"""Sets of files: a folder holds all files of one evaluation or all of the next, never some of each.

All files are first written into a folder of their own inside it. Then that folder gets its final name in one step, and
only then do the old files go and the new ones take their places. Whoever is killed before that step leaves the old set
as it was. Whoever is killed after it leaves some of one set, and the next writer moves the others in before it begins.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from ichformer.errors import InputError
from ichformer.files.lease import hold

_BEGUN, _COMPLETE = ".ichformer-unfinished", ".ichformer-finished"


def write_set(files: Mapping[str, bytes], folder: Path, *, what: str) -> None:
    """Write files into a folder: all of them or none, in place of those of the same names.

    One process at a time: the folder is held (``lease.hold``) meanwhile. Other files in it stay as they are.

    Args:
      files: what each holds, by its name; the last one appears last.
      folder: made where it is not there, and taken away again where nothing is written.
      what: the work in one word, for messages to others who want to write there.

    Raises:
      InputError: the folder or a file in it cannot be written, a folder has the name of one of the files, or another
        process writes there.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError("cannot be written: it is a file", where=folder, fix="name a folder")
    with _made(folder), hold(folder, what=what) as lease:
        begun = folder / _BEGUN
        shutil.rmtree(begun, ignore_errors=True)
        try:
            _move_in(folder)
            if in_the_way := [name for name in files if (folder / name).is_dir()]:
                place = folder / in_the_way[0]
                raise InputError("is a folder", where=place, fix="move it away, or name another folder")
            begun.mkdir()
            for number, (name, data) in enumerate(files.items()):
                (begun / f"{number:03d}-{name}").write_bytes(data)
            lease.confirm()
            os.rename(begun, folder / _COMPLETE)
            _move_in(folder)
        except OSError as error:
            raise InputError(
                f"cannot be written ({error.strerror})", where=folder, fix="name a writable place"
            ) from error
        finally:
            shutil.rmtree(begun, ignore_errors=True)


def _move_in(folder: Path) -> None:
    """Move the files of a complete set into place, also where an earlier process was killed while it did so."""
    complete = folder / _COMPLETE
    if not complete.is_dir():
        return
    files = {file: folder / file.name.partition("-")[2] for file in sorted(complete.iterdir())}
    # All old ones go before the first new one comes. The names of those that came already are no longer here.
    for place in files.values():
        place.unlink(missing_ok=True)
    for file, place in files.items():
        os.replace(file, place)
    complete.rmdir()


@contextlib.contextmanager
def _made(folder: Path) -> Iterator[None]:
    """Make the folder for the block; what was made is removed again where it stays empty."""
    new = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        yield
    finally:
        for path in new:
            with contextlib.suppress(OSError):
                path.rmdir()
