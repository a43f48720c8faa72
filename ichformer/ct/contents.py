"""Every file that a path holds: in a folder, behind its symbolic links, or in an archive; and what was left out."""

import os
from collections import deque
from pathlib import Path
from typing import NamedTuple

from ichformer.ct.archives import is_archive, list_archive


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
    files: list[tuple[Path, str]] = []
    links: deque[tuple[Path, str]] = deque()
    left_out: list[LeftOut] = []
    folders_seen: set[str] = set()
    linked: set[str] = set()
    pending = deque([root])
    real_root = os.path.realpath(root)
    while pending or links:
        if not pending:  # links come last, so that a file is listed under its own name where it has one
            folder, name = links.popleft()
            real = os.path.realpath(folder / name)
            if os.path.isfile(real):
                if os.path.dirname(real) not in folders_seen and real not in linked:
                    files.append((folder, name))
                    linked.add(real)
            elif not os.path.isdir(real):
                left_out.append(LeftOut(folder / name, "broken_link", "a symbolic link to nothing that can be read"))
            elif f"{real_root}/".startswith(f"{real.rstrip('/')}/"):
                left_out.append(LeftOut(folder / name, "link_loop", "a symbolic link to a folder that it lies in"))
            else:
                pending.append(folder / name)
            continue
        folder = pending.popleft()
        real = os.path.realpath(folder)
        if real in folders_seen:
            continue
        folders_seen.add(real)
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            left_out.append(LeftOut(folder, "unreadable", f"the folder cannot be opened ({error.strerror})"))
            continue
        for entry in entries:
            if entry.is_symlink():
                links.append((folder, entry.name))
            elif entry.is_dir():
                pending.append(folder / entry.name)
            elif entry.is_file():
                files.append((folder, entry.name))
    # A linked file may lie in a folder that a later link led to.
    own = {(folder, name) for folder, name in files if not (folder / name).is_symlink()} if linked else set()
    doubled = linked & {os.path.join(os.path.realpath(folder), name) for folder, name in own}
    kept = [(f, n) for f, n in files if not doubled or (f, n) in own or os.path.realpath(f / n) not in doubled]
    return [folder / name for folder, name in sorted(kept)], left_out
