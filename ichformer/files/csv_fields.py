"""The one way to write a CSV file, and how a reader takes back what writing did to a field.

A spreadsheet takes a field that begins with ``=``, ``+``, ``-`` or ``@`` for a formula and runs it, and a terminal
obeys control characters. Names of patients, sites and files come from strangers, so both are made harmless, reversibly:

- A control or bidirectional character stands as its code point, ``<U+001B>``, as R prints it.
- A field that would be a formula gets an apostrophe in front, and so does one that already begins with apostrophes and
  then a formula. Numbers are left as they are.

``written_field`` does this and ``read_field`` takes it back: exactly one apostrophe, and no code point of a character
that needs none. A user's own field ``=x`` is read as it stands. A user's own ``'=x`` is read as ``=x``: the two cannot
be told apart, so a reader refuses a column in which both stand (``csv_text.read_text_table``).
"""

import csv
import io
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ichformer.files.writing import write_bytes

FORMULA_SIGNS = "=+-@\uff1d\uff0b\uff0d\uff20"
"""What a formula begins with; the last four are the full-width forms. Tabs and line ends are escaped before.

Source: OWASP, CSV Injection.
"""

_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
_FORMULA = re.compile(rf"'*\s*[{re.escape(FORMULA_SIGNS)}]")
_WRITTEN_FORMULA = re.compile(rf"'+\s*[{re.escape(FORMULA_SIGNS)}]")
_CODE_POINT = re.compile(r"<U\+([0-9A-F]{4,6})>")
_HIDDEN = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Unicode's categories of control, format (bidirectional marks are of it), surrogate and line-separating characters."""

# A spreadsheet whose separator is the semicolon splits the lines of a file with commas there.
_SPLIT_FORMULA = re.compile(rf";(?='*\s*[{re.escape(FORMULA_SIGNS)}])")


def is_number(text: str) -> bool:
    """Whether a field is a plain decimal number: ASCII digits, at most one point, an exponent. Nothing else is one.

    Python's ``float`` takes more: ``1_000``, digits of other scripts, ``inf``. Such a field is a mistake, or it is made
    to be read in two ways.
    """
    return _NUMBER.fullmatch(text) is not None


def written_field(text: str) -> str:
    """A text as a field of a CSV file; ``read_field`` is the inverse."""
    if is_number(text):
        return text
    shown = _CODE_POINT.sub(lambda found: "<U+003C>" * _is_escape(found) + found[0][_is_escape(found) :], text)
    if not shown.isascii() or not shown.isprintable():
        shown = "".join(f"<U+{ord(c):04X}>" if unicodedata.category(c) in _HIDDEN else c for c in shown)
    shown = _SPLIT_FORMULA.sub("<U+003B>", shown)
    return f"'{shown}" if _FORMULA.match(shown) else shown


def read_field(field: str) -> str:
    """The inverse of ``written_field``; a field that it did not change stays as it is."""
    text = field[1:] if _WRITTEN_FORMULA.match(field) else field
    return _CODE_POINT.sub(lambda found: chr(int(found[1], 16)) if _is_escape(found) else found[0], text)


def may_be_changed(text: str) -> bool:
    """False where ``read_field`` would give back every field of a file as it is, so that none has to be checked."""
    return "'" in text or "<U+" in text


def _is_escape(found: re.Match[str]) -> bool:
    """Whether ``written_field`` writes this: the one form of a character that it hides, or of a sign that it needs."""
    number = int(found[1], 16)
    if number > 0x10FFFF or found[1] != f"{number:04X}":
        return False
    return chr(number) in "<;" or unicodedata.category(chr(number)) in _HIDDEN


def write_csv(columns: Mapping[str, Sequence[object]], path: Path, *, float_format: str = "") -> None:
    """Write ``csv_bytes`` into a file, whole or not at all; its folder has to be there."""
    write_bytes(csv_bytes(columns, float_format=float_format), path)


def csv_bytes(columns: Mapping[str, Sequence[object]], *, float_format: str = "") -> bytes:
    """A table as a CSV file in UTF-8.

    Args:
      columns: the values by the name of their column, all of one length. Text is written by ``written_field``; NaN and
        None are empty fields.
      float_format: of floats, such as "g"; by default they can be read back to the bit.
    """
    file = io.StringIO(newline="")
    table = csv.writer(file, lineterminator="\n")
    table.writerow([written_field(name) for name in columns])
    table.writerows(zip(*(_fields(values, float_format) for values in columns.values()), strict=True))
    return file.getvalue().encode()


def _fields(values: Sequence[object], float_format: str) -> Iterable[str]:
    known: dict[str, str] = {}  # few texts are new: names repeat
    for value in values:
        if isinstance(value, str):
            if value not in known:
                known[value] = written_field(value)
            yield known[value]
        elif value is None or value != value:
            yield ""
        elif isinstance(value, float):
            yield format(value, float_format) if float_format else repr(float(value))
        else:
            yield str(value)
