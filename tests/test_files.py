"""Files appear whole or not at all, and a disk that refuses says which file and what to do."""

import contextlib
import errno
import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from ichformer.errors import InputError, mendable
from ichformer.files import append_bytes, write_bytes


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
        (PermissionError(errno.EACCES, "no", "a/b"), "a/b: Permission denied; get the right to it"),
        # As TensorStore 0.1.80 raises it.
        (
            ValueError("RESOURCE_EXHAUSTED: Error writing: [OS error 28: ENOSPC No space left on device]"),
            "runs/c: No space",
        ),
    ],
)
def test_what_the_system_refuses_is_said_with_its_mend(error, says):
    with pytest.raises(InputError) as raised, mendable(Path("runs/c")):
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
    with pytest.raises(type(error)) as raised, mendable():
        raise error
    assert raised.value is error
