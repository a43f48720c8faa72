"""Every file that a path holds: in a folder, behind its symbolic links, or in an archive; and what was left out."""

import os
from collections import deque
from pathlib import Path
from typing import NamedTuple

from ichformer.ct.io.archives import is_archive, list_archive


class LeftOut(NamedTuple):
    """Something below a path that is not read: where it is, a code of ``SET_ASIDE_CODES``, and why."""

    path: Path
    code: str
    text: str


def list_files(path: Path) -> tuple[list[Path], list[LeftOut]]:
    """The files below a folder or in an archive, sorted by folder and name; ``[path]`` where it is a file.

    Symbolic links are followed. A file that can be reached in several ways is listed once, without a link where that
    is possible. A link to a folder that holds ``path`` is not followed, as it would lead round in a circle.

    Raises:
      InputError: the path does not exist, or is an archive that cannot be read.
    """
    if path.is_dir():
        return _walk(path)
    if path.is_file() and not is_archive(path):
        return [path], []
    files, names_out = list_archive(path)
    return files, [LeftOut(path / f"#{i + 1}", code, text) for i, (_, code, text) in enumerate(names_out)]


def _walk(root: Path) -> tuple[list[Path], list[LeftOut]]:
    """Walk a folder; links come last, so that a file is listed under its own name where it has one."""
    files: list[tuple[Path, str]] = []
    left_out: list[LeftOut] = []
    seen: set[str] = set()
    pending, folder_links, file_links = deque([root]), deque[Path](), deque[Path]()
    while pending or folder_links:
        folder = (pending or folder_links).popleft()
        real = os.path.realpath(folder)
        if folder.is_symlink() and folder != root and _holds(real, root):
            left_out.append(LeftOut(folder, "link_loop", "a symbolic link to a folder that it lies in"))
            continue
        if real in seen:
            continue
        seen.add(real)
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            left_out.append(LeftOut(folder, "unreadable", f"the folder cannot be opened ({error.strerror})"))
            continue
        for entry in entries:
            if entry.is_symlink():
                (folder_links if os.path.isdir(entry.path) else file_links).append(folder / entry.name)
            elif entry.is_dir():
                pending.append(folder / entry.name)
            elif entry.is_file():
                files.append((folder, entry.name))
    linked: set[str] = set()
    for link in file_links:
        real = os.path.realpath(link)
        if not os.path.isfile(real):
            left_out.append(LeftOut(link, "broken_link", "a symbolic link to nothing that can be read"))
        elif os.path.dirname(real) not in seen and real not in linked:
            linked.add(real)
            files.append((link.parent, link.name))
    return [folder / name for folder, name in sorted(files)], left_out


def _holds(real: str, root: Path) -> bool:
    """Whether a folder is ``root`` or lies above it."""
    return f"{os.path.realpath(root)}/".startswith(f"{real.rstrip('/')}/")
