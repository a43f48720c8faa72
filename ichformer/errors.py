"""The exceptions that end a command: input that its user can mend, a stop that was asked for. How text is quoted."""


def one_line(text: object, *, max_chars: int = 200) -> str:
    """``text`` as one printable line: control and bidirectional characters escaped, cut at ``max_chars``.

    Header text is hostile: terminal escapes, line feeds and right-to-left marks in it would forge what is printed.
    """
    line = str(text)
    if not line.isprintable():
        line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in line)
    return line if len(line) <= max_chars else line[: max_chars - 3] + "..."


class InputError(Exception):
    """Bad input: the command line prints it as one line, without a traceback, and exits with code 2.

    Args:
      what: what is wrong, with what was found ("Rows is 0", "12 slices lack ImagePositionPatient").
      where: the file, tag, option or column that is meant.
      mend: what to do about it.
    """

    def __init__(self, what: str, *, where: object, mend: str):
        self.what, self.where, self.mend = what, one_line(where, max_chars=400), mend
        super().__init__(one_line(f"{self.where}: {what}; {mend}", max_chars=1200))

    def __reduce__(self) -> tuple:
        # Exceptions with keyword-only arguments do not survive the way back from a worker process by themselves.
        return _rebuild, (self.what, self.where, self.mend)


class Stopped(Exception):  # noqa: N818 - nothing went wrong
    """Whoever runs this process wants it back (SIGTERM): everything is saved, and the same command goes on."""


def _rebuild(what: str, where: str, mend: str) -> InputError:
    return InputError(what, where=where, mend=mend)
