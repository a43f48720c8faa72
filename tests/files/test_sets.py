"""Files that belong together are those of one evaluation, whatever fails or is killed."""

import errno
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from ichformer.errors import InputError
from ichformer.files import sets
from ichformer.files.lease import hold
from ichformer.files.sets import write_set

NAMES = ("table.csv", "page.html", "figures.json")


def files(of):
    return {name: f"{of}: {name}".encode() for name in NAMES}


def there(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_a_set_replaces_another_and_leaves_other_files_alone(tmp_path):
    folder = tmp_path / "deep" / "out"
    write_set(files("old"), folder, what="evaluation")
    assert there(folder) == files("old")
    (folder / "notes.txt").write_bytes(b"mine")
    write_set(files("new"), folder, what="evaluation")
    assert there(folder) == files("new") | {"notes.txt": b"mine"}


# What is done to the file system, one call after the other; a process is killed at each of them.
CALLS = (("rename", os), ("replace", os), ("unlink", Path), ("mkdir", Path), ("write_bytes", Path), ("rmdir", Path))
KILLED = """
import os, signal, sys
from pathlib import Path
from tests.files.test_sets import CALLS, files
from ichformer.files import sets
folder, kill_at, count = Path(sys.argv[1]), int(sys.argv[2]), 0
def watched(owner, name):
    original = getattr(owner, name)
    def call(*args, **kwargs):
        global count
        if ".lease" not in str(args[0]):
            count += 1
            if count == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
        return original(*args, **kwargs)
    setattr(owner, name, call)
for name, owner in CALLS:
    watched(owner, name)
sets.write_set(files("new"), folder, what="evaluation")
"""


@pytest.mark.parametrize("kill_at", [1, 3, 5, 6, 7, 8, 9, 10, 11, 12])
def test_whoever_is_killed_leaves_files_of_one_set_and_the_next_begins_clean(tmp_path, kill_at):
    write_set(files("old"), tmp_path, what="evaluation")
    process = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), str(kill_at)], check=False)
    assert process.returncode == -9
    found = {name: data for name, data in there_files(tmp_path).items() if name in NAMES}
    assert set(found.items()) <= set(files("old").items()) or set(found.items()) <= set(files("new").items())
    with hold(tmp_path, what="test"):
        sets._move_in(tmp_path)
    assert {n: d for n, d in there_files(tmp_path).items() if n in NAMES} in (files("old"), files("new"))
    write_set(files("newest"), tmp_path, what="evaluation")
    assert there(tmp_path) == files("newest")


def there_files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize("fails_at", [1, 2, 3])
def test_a_full_disk_leaves_the_old_set(tmp_path, monkeypatch, fails_at):
    write_set(files("old"), tmp_path / "out", what="evaluation")
    original, calls = Path.write_bytes, []

    def full(self, data):
        calls.append(self)
        if ".lease" not in self.name and sum(".lease" not in one.name for one in calls) == fails_at:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return original(self, data)

    for folder in (tmp_path / "out", tmp_path / "new" / "out"):
        calls.clear()
        monkeypatch.setattr(Path, "write_bytes", full)
        with pytest.raises(InputError, match="No space left on device"):
            write_set(files("new"), folder, what="evaluation")
        monkeypatch.undo()
    assert there(tmp_path / "out") == files("old")
    assert not (tmp_path / "new").exists()


def test_what_is_in_the_way_is_named_and_nothing_is_written(tmp_path):
    (tmp_path / "page.html").mkdir()
    with pytest.raises(InputError, match=r"page\.html: is a folder; move it away"):
        write_set(files("new"), tmp_path, what="evaluation")
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


def test_two_at_once_leave_one_set(tmp_path):
    refused = []

    def write(of):
        for _ in range(10):
            try:
                write_set(files(of), tmp_path, what="evaluation")
            except InputError as error:
                refused.append(str(error))

    threads = [threading.Thread(target=write, args=(of,)) for of in ("a", "b", "c")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert there(tmp_path) in (files("a"), files("b"), files("c"))
    assert all("another evaluation" in one and "works there" in one for one in refused)
