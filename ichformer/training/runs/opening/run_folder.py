"""The folder of a run that was named: by its path, as a bundle, by an address, or as the weights that come along.

Bundles and addresses become private folders of this process, which go when it ends. So two processes that open one at
once do not meet, and nothing that is written into the folder reaches a bundle or the cache of a hub.
"""

import atexit
import contextlib
import functools
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ichformer.errors import InputError, one_line
from ichformer.files.bundles import is_bundle, unpack_bundle
from ichformer.files.writing import shown
from ichformer.training.runs.opening.fetching import download_bundle
from ichformer.training.runs.opening.hub import HubAddress, copy_from_hub
from ichformer.training.runs.portable import EXPORTED_NAMES

DEFAULT_RUN = "default"
"""The word that stands for the weights that come with ichformer; a folder of this name has to be given in full."""

_SHIPPED = Path(__file__).parents[3] / "weights"

_ADDRESS = re.compile(r"(hf|https?):/{1,2}([^/].*)", re.IGNORECASE)
"""A ``Path`` keeps one of the two slashes."""


def run_folder(named: str | os.PathLike[str]) -> Path:
    """The folder of the run that is meant; the path itself where it is no bundle, no address and not ``DEFAULT_RUN``.

    A bundle is unpacked once a process for each of its states, and an address is fetched once a process. Nothing is
    fetched unless an address is named.

    Args:
      named: a folder, a bundle, ``https://`` and the address of a bundle, ``hf://OWNER/NAME`` or
        ``hf://OWNER/NAME@REVISION``, or ``DEFAULT_RUN``.

    Raises:
      InputError: a file that is no bundle, or an address that cannot be fetched.
    """
    text, path = os.fspath(named), Path(named)
    if text == DEFAULT_RUN:
        return _SHIPPED
    if (address := _ADDRESS.fullmatch(text)) and not path.exists():
        return _fetched(address[1].lower(), address[2])
    if not path.is_file():
        return path
    if not is_bundle(path):
        fix = f"name the folder of a run, such as {one_line(path.parent)}, or a bundle"
        raise InputError("is a file", where=path, fix=fix)
    state = path.stat()
    return _unpacked(path.absolute(), state.st_mtime_ns, state.st_size, os.getpid())


def folder_beside(named: Path, name: str) -> Path:
    """Where what is found about a run goes by default: into its folder, or beside a bundle.

    Raises:
      InputError: the run was named by an address or as ``DEFAULT_RUN``, where nobody looks for results.
    """
    if named.is_file():
        return named.parent / f"{named.stem}-{name}"
    if named.is_dir():
        return named / name
    raise InputError("is missing", where="--out", fix=f"name a folder, as {shown(named)} is no folder of yours")


@functools.cache
def _unpacked(bundle: Path, *_state: int) -> Path:
    with _private_folder(bundle.stem) as folder:
        unpack_bundle(bundle, folder, known=EXPORTED_NAMES)
        return folder


@functools.cache
def _fetched(kind: str, rest: str) -> Path:
    if kind == "hf":
        address = HubAddress.parse(rest)
        with _private_folder(address.name.rpartition("/")[2]) as folder:
            copy_from_hub(address, folder, names=EXPORTED_NAMES)
            return folder
    with _private_folder(Path(rest).stem) as folder:
        downloaded = folder.parent / "downloaded"
        download_bundle(f"{kind}://{rest}", downloaded)
        unpack_bundle(downloaded, folder, known=EXPORTED_NAMES)
        downloaded.unlink()
        return folder


@contextlib.contextmanager
def _private_folder(name: str) -> Iterator[Path]:
    """A new empty folder that only this user may read; its name is that of the run as far as that is harmless.

    It goes when the process ends, and at once where what fills it fails.
    """
    outer = Path(tempfile.mkdtemp(prefix="ichformer-"))
    atexit.register(_remove, outer, os.getpid())
    folder = outer / (re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-")[:80] or "run")
    folder.mkdir()
    try:
        yield folder
    except BaseException:
        _remove(outer, os.getpid())
        raise


def _remove(folder: Path, process: int) -> None:
    if os.getpid() == process:  # not in a copy of the process, whose parent goes on
        shutil.rmtree(folder, ignore_errors=True)
