"""The exceptions that end a command (bad input, a stop that was asked for), and how text is quoted in messages."""

import contextlib
import difflib
import errno
import os
import re
from collections.abc import Iterable, Iterator

_REFUSALS = {
    errno.ENOSPC: "make room on the disk",
    errno.EDQUOT: "make room in your quota",
    errno.EFBIG: "raise the limit on the size of a file (ulimit -f)",
    errno.EROFS: "make it writable or name another place",
    errno.EACCES: "get permission for it or name another place",
    errno.EPERM: "get permission for it or name another place",
    errno.ENOTDIR: "name a place inside a folder",
    errno.EISDIR: "name a file",
    errno.ENAMETOOLONG: "name a shorter path",
    errno.EMFILE: "raise the limit on open files (ulimit -n)",
    errno.EIO: "check the disk",
    errno.EAGAIN: "raise the limit on processes and threads (ulimit -u), or end others",
    errno.ENOMEM: "free memory",
    errno.ENFILE: "end programs that hold many files open",
    errno.ELOOP: "name a path whose links do not lead round in a circle",
    errno.EBUSY: "end what uses it",
    errno.ESTALE: "check the network file system",
}
"""What the system refuses, by error number, and what a user can do about it. Other numbers are faults of ours."""


def one_line(text: object, *, max_chars: int = 200) -> str:
    """``text`` as one printable line: control and bidirectional characters escaped, cut at ``max_chars``.

    Header text is hostile: terminal escapes, line feeds and right-to-left marks in it would forge what is printed.
    """
    line = escaped(str(text))
    return line if len(line) <= max_chars else line[: max_chars - 3] + "..."


def escaped(text: str) -> str:
    """``text`` with control characters escaped and never cut, as a path has to be copied from what is printed."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def nearest(wrong: str, known: Iterable[str], *, likeness: float = 0.6) -> str:
    """The one of ``known`` that ``wrong`` is a misspelling of; "" where none is near. Dashes in front do not count.

    >>> nearest("--lerning-rate", ["--learning-rate", "--steps"]), nearest("seed", ["steps", "rate"])
    ('--learning-rate', '')

    Args:
      wrong: what was given.
      known: the right names.
      likeness: how like it has to be, 0 to 1 (``difflib.SequenceMatcher.ratio``).
    """
    bare = {each.lstrip("-"): each for each in known}
    return "".join(bare[near] for near in difflib.get_close_matches(wrong.lstrip("-"), bare, n=1, cutoff=likeness))


class InputError(Exception):
    """Bad input: the command line prints it as one line, without a traceback, and exits with code 2.

    Example:
      >>> import ichformer as ich
      >>> try:
      ...     ich.create_model("swin3dt")
      ... except ich.InputError as error:
      ...     print(error.fix.partition(",")[0])
      perhaps you meant swin3d_t

    Args:
      what: what is wrong, with what was found ("Rows is 0", "12 slices lack ImagePositionPatient").
      where: the file, tag, option or column that is meant.
      fix: what to do about it.
    """

    def __init__(self, what: str, *, where: object, fix: str):
        self.what, self.where, self.fix = what, one_line(where, max_chars=400), fix
        super().__init__(one_line(f"{self.where}: {what}; {fix}", max_chars=1200))

    def __reduce__(self) -> tuple:
        # Exceptions with keyword-only arguments do not survive the way back from a worker process by themselves.
        return _rebuild, (self.what, self.where, self.fix)


@contextlib.contextmanager
def named_as_arguments() -> Iterator[None]:
    """Let an ``InputError`` of the block call settings as Python does: ``data.batch_size`` for --data.batch-size."""
    try:
        yield
    except InputError as error:
        what, where, fix = (_AN_OPTION.sub(_as_argument, text) for text in (error.what, error.where, error.fix))
        raise InputError(what, where=where, fix=fix).with_traceback(error.__traceback__) from error.__cause__


_AN_OPTION = re.compile(r"(?<![\w-])--([a-z][a-z-]*(?:\.[a-z-]*[a-z])?)")


def _as_argument(option: re.Match[str]) -> str:
    return option[1].replace("-", "_")


class Stopped(Exception):  # noqa: N818 - nothing went wrong
    """The process was asked to stop (SIGTERM): everything is saved, and the same command goes on."""


@contextlib.contextmanager
def fixable(where: object = "this machine") -> Iterator[None]:
    """Turn what the system refuses in the block (no room, no right) into an ``InputError``; other errors pass.

    Where the working directory was deleted, nothing relative is found any more, and that is said instead.

    Args:
      where: what was read or written, for an error that does not name its file.
    """
    try:
        yield
    except (OSError, ValueError) as error:
        number = _system_number(error)
        if number == errno.ENOENT and not _has_working_directory():
            raise InputError(
                "the working directory was deleted", where="this shell", fix="change to a folder that is there (cd)"
            ) from error
        if number not in _REFUSALS:
            raise
        named = error.filename if isinstance(error, OSError) else None
        fix = f"{_REFUSALS[number]}, then run the same command again"
        raise InputError(os.strerror(number), where=named or where, fix=fix) from error


def _has_working_directory() -> bool:
    try:
        os.getcwd()
    except OSError:
        return False
    return True


def _system_number(error: Exception) -> int | None:
    if isinstance(error, OSError):
        return error.errno
    # TensorStore raises ValueError with the number in its text, in one of two forms.
    found = re.search(r"\[OS error (\d+)|os_error_code='(\d+)'", str(error))
    return int(found[1] or found[2]) if found else None


def _rebuild(what: str, where: str, fix: str) -> InputError:
    return InputError(what, where=where, fix=fix)
