"""A table as people save it: its encoding, its separator, and the line of the file on which each row begins."""

import codecs
import csv
import io
import re
from array import array
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ichformer.errors import InputError

LINE = "line"
"""Name of the index of ``TextTable.rows``: the line of the file, counted from 1, on which a row begins."""

_SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab"}
_BYTE_ORDER_MARKS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
_SAID = re.compile(r"sep=([,;\t])\r?\n?")
"""The first line of files that Excel wrote, or reads, with a separator of its own."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TextTable:
    """A table of text.

    Attributes:
      rows: every field as it stands in the file, so a site called "NA" stays "NA"; the index is ``LINE``. Two columns
        may have one name.
      separator: what stands between the fields.
    """

    rows: pd.DataFrame
    separator: str


def read_text_table(path: Path) -> TextTable:
    """A table with a header, in UTF-8 or UTF-16, separated by commas, semicolons or tabs. Blank lines are skipped.

    The separator is the one that a first line "sep=;" names, or else that of the three that stands most often in the
    header, outside of quotes. Blanks around the names of columns do not belong to them.

    Raises:
      InputError: no such file, another encoding, no rows at all, a quote that never ends, or a row that has more or
        fewer fields than the header.
    """
    text = _decoded(path)
    said = _SAID.match(text)
    separator = said[1] if said else _separator_of(text)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    names: list[str] = []
    rows: list[list[str]] = []
    lines, next_line = array("q"), 1
    try:
        for row in reader:
            line, next_line = next_line, reader.line_num + 1
            if not row or (len(row) == 1 and not row[0].strip()) or (said and line == 1):
                continue
            if not names:
                names = [name.strip() for name in row]
                continue
            if len(row) != len(names):
                raise InputError(
                    f"has not {len(names)} fields, as the header, but {len(row)} (separated by "
                    f"{_SEPARATORS[separator]}s)",
                    where=f"{path} line {line}",
                    mend="give every row a field for each name, and quote fields that hold the separator",
                )
            rows.append(row)
            lines.append(line)
    except csv.Error as error:
        raise InputError(
            f"is no CSV table ({error})", where=f"{path} line {next_line}", mend="save it as a CSV table in UTF-8"
        ) from None
    if not names:
        raise InputError("is no CSV table: it is empty", where=path, mend="save it as a CSV table in UTF-8")
    # As an array of objects: names may stand twice, which a dictionary of columns would hide.
    values = np.empty((len(rows), len(names)), object)
    if rows:
        values[:] = rows
    table = pd.DataFrame(values, columns=names, index=pd.Index(np.array(lines, np.int64), name=LINE), dtype=str)
    return TextTable(rows=table, separator=separator)


def line_of(table: pd.DataFrame, row: int) -> str:
    """Where the row at this position stands, " line 7"; "" for a table that was not read by ``read_text_table``."""
    return f" line {table.index[row]}" if table.index.name == LINE else ""


def _decoded(path: Path) -> str:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise InputError("does not exist", where=path, mend="check the path") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"cannot be read ({reason})", where=path, mend="name a CSV file") from None
    mark = next((mark for mark in _BYTE_ORDER_MARKS if data.startswith(mark)), b"")
    encoding = _BYTE_ORDER_MARKS.get(mark, "utf-8")
    try:
        return data[len(mark) :].decode(encoding)
    except UnicodeDecodeError as error:
        before = re.split(r"\r\n|\r|\n", error.object[: error.start].decode(encoding, "replace"))
        raise InputError(
            f"is no CSV table in UTF-8: byte 0x{error.object[error.start]:02x} cannot be decoded",
            where=f"{path} line {len(before)}",
            mend='save it as "CSV UTF-8"',
        ) from None


def _separator_of(text: str) -> str:
    """The separator that the first line that is not blank holds most often outside of quotes; a comma where none is."""
    header = re.split(r"[\r\n]", text[: 1 << 20].lstrip("\r\n "), maxsplit=1)[0]
    unquoted = "".join(part for number, part in enumerate(header.split('"')) if number % 2 == 0)
    return max(_SEPARATORS, key=unquoted.count)
