"""Files appear whole or not at all, and a disk that refuses says which file and what to do."""

import contextlib
import errno
import os
import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from ichformer.errors import InputError, fixable
from ichformer.files.writing import (
    append_bytes,
    check_folder,
    check_utf8,
    path_text,
    shown,
    text_path,
    write_bytes,
    write_text,
)
from ichformer.training.config import DataConfig, TrainConfig
from ichformer.training.trainer import run_training


@contextlib.contextmanager
def files_of_100_bytes() -> Iterator[None]:
    """As far as a process may limit itself, what a full disk does: the first bytes are taken, the others refused.

    No fixture: pytest writes its report before it ends those, and where that goes to a file it would be refused too.
    """
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)


@pytest.mark.parametrize("before", [b"", b"x" * 60])
def test_what_does_not_fit_leaves_the_file_as_it_was(tmp_path, before):
    for write in (write_bytes, append_bytes):
        path = tmp_path / write.__name__
        with files_of_100_bytes():
            write(before, path)
            with pytest.raises(OSError, match="File too large") as refused:
                write(b"y" * 120, path)
        assert refused.value.filename == str(path)
        assert path.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 2


def test_bytes_are_appended(tmp_path):
    append_bytes(b"one", tmp_path / "new")
    append_bytes(b"two", tmp_path / "new")
    assert (tmp_path / "new").read_bytes() == b"onetwo"


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (OSError(errno.ENOSPC, "full", "a/b"), "a/b: No space left on device; make room on the disk"),
        (OSError(errno.EROFS, "read"), "runs/c: Read-only file system; make it writable or name another place"),
        (PermissionError(errno.EACCES, "no", "a/b"), "a/b: Permission denied; get permission for it"),
        # As TensorStore 0.1.80 raises it.
        (
            ValueError("RESOURCE_EXHAUSTED: Error writing: [OS error 28: ENOSPC No space left on device]"),
            "runs/c: No space",
        ),
    ],
)
def test_what_the_system_refuses_is_said_and_what_to_do(error, says):
    with pytest.raises(InputError) as raised, fixable(Path("runs/c")):
        raise error
    assert str(raised.value).startswith(says)
    assert str(raised.value).endswith("then run the same command again")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "error",
    [
        OSError("no number"),
        FileNotFoundError(errno.ENOENT, "gone"),
        ValueError("no such"),
        KeyError(28),
    ],
)
def test_faults_of_ours_stay_what_they_are(error):
    with pytest.raises(type(error)) as raised, fixable():
        raise error
    assert raised.value is error


def test_a_link_stays_and_its_file_is_replaced(tmp_path):
    (tmp_path / "file").write_bytes(b"old")
    for name, to in (("link", "file"), ("new", "not there yet")):
        (tmp_path / name).symlink_to(to)
        write_text("new", tmp_path / name)
        assert (tmp_path / name).is_symlink()
        assert (tmp_path / to).read_text() == "new"


def test_a_device_or_a_folder_is_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "to the pipe").symlink_to("pipe")
    (tmp_path / "folder").mkdir()
    before = sorted(tmp_path.iterdir())
    for name in ("pipe", "to the pipe", "folder"):
        with pytest.raises(InputError, match=f"{name}: is there and is no file"):
            write_bytes(b"", tmp_path / name)
    with pytest.raises(InputError, match="its folder is not there"):
        write_bytes(b"", tmp_path / "nothing" / "file")
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("name", ["x" * 255, "-rf", "\u202egnp", "a\nb\x1b[31m", os.fsdecode(b"b\xe9")])
def test_whatever_a_file_is_called(tmp_path, name):
    write_text(name, tmp_path / name)
    assert (tmp_path / name).read_bytes() == name.encode(errors="backslashreplace")
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert shown(name).isprintable()
    assert text_path(path_text(tmp_path / name)) == tmp_path / name
    path_text(tmp_path / name).encode()


def test_where_no_folder_can_be_made_is_said_before_the_work(tmp_path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "dangling").symlink_to("nothing")
    (tmp_path / "to a folder").symlink_to(tmp_path)
    for place in ("file", "file/deeper", "dangling", "dangling/deeper"):
        says = "is there and is no folder" if "file" in place else "is a link to something that is not there"
        with pytest.raises(InputError, match=says):
            check_folder(tmp_path / place)
    with pytest.raises(InputError, match="/dev/null: is there and is no folder"):
        check_folder(Path("/dev/null/out"))
    for place in ("not/there/yet", "to a folder", "to a folder/new", "."):
        check_folder(tmp_path / place)


def test_a_folder_that_cannot_be_made_for_want_of_rights(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda place, mode: False)  # whoever runs these tests may be allowed all
    with pytest.raises(InputError, match="cannot be written to; get permission for it"):
        check_folder(tmp_path / "new")
    check_folder(tmp_path)  # a finished run is only read


def test_checkpoints_want_a_name_in_utf8(tmp_path):
    check_utf8(tmp_path / "r\xe9n\xe9")
    with pytest.raises(InputError, match=r"not valid UTF-8.*rename it"):
        check_utf8(tmp_path / os.fsdecode(b"b\xe9"))
    with pytest.raises(InputError, match="not valid UTF-8"):
        run_training(TrainConfig(data=DataConfig(store="s")), tmp_path / os.fsdecode(b"b\xe9"))
    assert list(tmp_path.iterdir()) == []
