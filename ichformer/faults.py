"""Faults of ours while one of many things is worked on: reported in one line, so that the others go on.

A fault is never reported as bad input, as its reader could do nothing about it.
"""

from pathlib import Path

from ichformer.errors import InputError, one_line

_PACKAGE = Path(__file__).parent


class Fault(Exception):  # noqa: N818 - the field's word
    """A fault of ichformer as one line. The command line prints it without a traceback and exits with code 1."""


def explain_failure(error: Exception, *, where: object) -> InputError | Fault:
    """The message for an exception that ended the work on one thing, whatever it is.

    Args:
      error: that was caught.
      where: the thing: a file or a series.

    Returns:
      An ``InputError`` where the memory did not suffice, as that can be fixed. Otherwise a ``Fault`` that names the
      exception's kind, its text and where in ichformer it rose. An ``InputError`` comes back as it is.
    """
    if isinstance(error, InputError | Fault):
        return error
    if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error):  # the latter is XLA's
        what = f"needs more memory than there is ({type(error).__name__})"
        return InputError(what, where=where, fix="use a machine, or a limit, with more memory")
    said = f"{type(error).__name__}{_place(error)}: {one_line(error, max_chars=300)}"
    return Fault(f"{one_line(where, max_chars=400)}: a fault of ichformer ({said}); please report this line")


def _place(error: Exception) -> str:
    """The innermost line of our own that the exception went through."""
    place, trace = "", error.__traceback__
    while trace is not None:
        file = Path(trace.tb_frame.f_code.co_filename)
        if file.is_relative_to(_PACKAGE):
            place = f" in {file.relative_to(_PACKAGE.parent).as_posix()}, line {trace.tb_lineno}"
        trace = trace.tb_next
    return place
