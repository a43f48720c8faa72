"""Reads a CSV table as people save it: any usual encoding and separator, with the line of each row."""

import codecs
import csv
import io
import re
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float64

from ichformer.errors import InputError, one_line
from ichformer.files.csv_fields import is_number, may_be_changed, read_field

LINE = "line"
"""Name of the index of ``TextTable.rows``: the line of the file, counted from 1, on which a row begins."""

_SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab"}
_BYTE_ORDER_MARKS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
_ZIP, _OLE = b"PK\x03\x04", b"\xd0\xcf\x11\xe0"
"""What ZIP archives begin with, Excel's .xlsx among them, and what Excel's older .xls begins with."""

_SAID = re.compile(r"sep=([,;\t])\r?\n?")
"""The first line of files that Excel wrote, or reads, with a separator of its own."""

MAX_BYTES = 2**29
"""Of the file of a table."""

MAX_COLUMNS = 4096
"""Of a table."""

MAX_FIELDS = 100_000_000
"""Of a table, rows times columns: RSNA 2019's labels are 9 million, a million rows of predictions 18 million."""

MAX_FIELD_CHARS = 131_072
"""Of one field, as Python's ``csv`` has it."""

_MAX_ROW_CHARS = 2**24
_SMALLER = "take the table apart, or take out what is not needed"


@dataclass(frozen=True, kw_only=True, eq=False)
class TextTable:
    """A table of text.

    Attributes:
      rows: every field as text, so a site called "NA" stays "NA"; the index is ``LINE``. Two columns may have one name.
      separator: what stands between the fields.
      blank_rows: rows without anything in any field, which were skipped.
    """

    rows: pd.DataFrame
    separator: str
    blank_rows: int


def read_text_table(path: Path) -> TextTable:
    """Reads a table with a header, in UTF-8 or UTF-16, separated by commas, semicolons or tabs.

    Blank rows are skipped and counted.

    The separator is the one that a first line "sep=;" names, or else that of the three that stands most often in the
    header, outside of quotes. Blanks around the names of columns do not belong to them.

    Fields stand as they do in the file, but for what ``csv_fields.written_field`` did to them: of a field that begins
    with apostrophes and a formula, such as ``'=x``, one apostrophe is taken away, and ``<U+001B>`` becomes the control
    character that it names. A user's own field ``=x`` stays; a user's own ``'=x`` becomes ``=x``, and a column in which
    both stand is refused, as two names would become one.

    Raises:
      InputError: no such file, another encoding, no rows at all, a quote that never ends, a row that has more or fewer
        fields than the header, more than ``MAX_BYTES``, ``MAX_COLUMNS``, ``MAX_FIELDS`` or ``MAX_FIELD_CHARS``, or two
        fields of a column that would become one.
    """
    text = _decoded(path)
    said = _SAID.match(text)
    separator = said[1] if said else _separator_of(text)
    lines_of_row = _Lines(text)
    reader = csv.reader(lines_of_row, delimiter=separator, strict=True)
    names: list[str] = []
    rows: list[list[str]] = []
    lines, next_line, blank_rows = array("q"), 1, 0
    try:
        for row in reader:
            line, next_line, lines_of_row.n_chars = next_line, reader.line_num + 1, 0
            if said and line == 1:
                continue
            if not any(row) or not any(field.strip() for field in row):
                blank_rows += 1
                continue
            if not names:
                names = [name.strip() for name in row]
                check_size(len(names), 0, where=f"{path} line {line}")
                continue
            if len(row) != len(names):
                raise InputError(
                    f"has not {len(names)} fields, as the header, but {len(row)} (separated by "
                    f"{_SEPARATORS[separator]}s)",
                    where=f"{path} line {line}",
                    fix="give every row a field for each name, and quote fields that hold the separator",
                )
            rows.append(row)
            lines.append(line)
            check_size(len(names), len(rows), where=f"{path} line {line}")
    except csv.Error as error:
        raise InputError(
            f"is no CSV table ({error})", where=f"{path} line {next_line}", fix="save it as a CSV table in UTF-8"
        ) from None
    if not names:
        raise InputError("is no CSV table: it is empty", where=path, fix="save it as a CSV table in UTF-8")
    # As an array of objects: names may stand twice, which a dictionary of columns would hide.
    values = np.empty((len(rows), len(names)), object)
    if rows:
        values[:] = rows
    if may_be_changed(text):
        for column, name in enumerate(names):
            values[:, column] = _read_fields(values[:, column].tolist(), f"{path}, column {one_line(name)}")
        names = [read_field(name) for name in names]
    table = pd.DataFrame(values, columns=names, index=pd.Index(np.array(lines, np.int64), name=LINE), dtype=str)
    return TextTable(rows=table, separator=separator, blank_rows=blank_rows)


class _Lines(Iterator[str]):
    """The lines of a text; a row of too many characters is refused before its fields take memory."""

    def __init__(self, text: str):
        self._lines = io.StringIO(text, newline="")
        self.n_chars = 0

    def __next__(self) -> str:
        line = next(self._lines)
        self.n_chars += len(line)
        if self.n_chars > _MAX_ROW_CHARS:
            raise csv.Error(f"a row of more than {_MAX_ROW_CHARS:,} characters")
        return line


def check_size(n_columns: int, n_rows: int, *, where: object) -> None:
    """Raises InputError for a table of more than ``MAX_COLUMNS`` or ``MAX_FIELDS``."""
    if n_columns > MAX_COLUMNS:
        raise InputError(f"has {n_columns:,} columns, more than {MAX_COLUMNS:,}", where=where, fix=_SMALLER)
    if n_columns * n_rows > MAX_FIELDS:
        raise InputError(f"has more than {MAX_FIELDS:,} fields", where=where, fix=_SMALLER)


def _read_fields(fields: list[str], where: str) -> list[str]:
    read = {field: read_field(field) for field in set(fields)}
    if len(set(read.values())) < len(read):
        first: dict[str, str] = {}
        one, other = next((first[t], f) for f, t in sorted(read.items()) if first.setdefault(t, f) != f)
        raise InputError(
            f"holds {one_line(one, max_chars=80)} and {one_line(other, max_chars=80)}, which are read alike",
            where=where,
            fix="give them names that do not begin with an apostrophe, and no <U+....>",
        )
    return [read[field] for field in fields]


def read_numbers(texts: pd.Series) -> Float64[np.ndarray, " n"]:
    """Converts fields to numbers, to the nearest double; NaN for all but plain decimal numbers (``is_number``)."""
    values = {text: float(text) if is_number(text.strip()) else np.nan for text in set(texts)}
    return np.array([values[text] for text in texts], np.float64) + 0.0  # there is no -0


def line_of(table: pd.DataFrame, row: int) -> str:
    """Returns the line of a row, as " line 7"; "" for a table that was not read by ``read_text_table``."""
    return f" line {table.index[row]}" if table.index.name == LINE else ""


def _decoded(path: Path) -> str:
    try:
        data = bytearray()
        with path.open("rb") as file:
            while len(data) <= MAX_BYTES and (some := file.read(2**24)):
                data += some
    except FileNotFoundError:
        raise InputError("does not exist", where=path, fix="check the path") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"cannot be read ({reason})", where=path, fix="name a CSV file") from None
    if len(data) > MAX_BYTES:
        raise InputError(f"holds more than {MAX_BYTES >> 20} MiB", where=path, fix=_SMALLER)
    if data.startswith((_ZIP, _OLE)):
        kind = "a ZIP archive" if data.startswith(_ZIP) and b"xl/" not in data else "an Excel workbook"
        raise InputError(f"is {kind}, not a CSV table", where=path, fix='save the table as "CSV UTF-8" and name that')
    mark = next((mark for mark in _BYTE_ORDER_MARKS if data.startswith(mark)), b"")
    encoding = _BYTE_ORDER_MARKS.get(mark, "utf-8")
    try:
        return data[len(mark) :].decode(encoding)
    except UnicodeDecodeError as error:
        before = re.split(r"\r\n|\r|\n", error.object[: error.start].decode(encoding, "replace"))
        raise InputError(
            f"is no CSV table in UTF-8: byte 0x{error.object[error.start]:02x} cannot be decoded",
            where=f"{path} line {len(before)}",
            fix='save it as "CSV UTF-8"',
        ) from None


def _separator_of(text: str) -> str:
    """The separator that the first line that is not blank holds most often outside of quotes; a comma where none is."""
    header = re.split(r"[\r\n]", text[: 1 << 20].lstrip("\r\n "), maxsplit=1)[0]
    unquoted = "".join(part for number, part in enumerate(header.split('"')) if number % 2 == 0)
    return max(_SEPARATORS, key=unquoted.count)
