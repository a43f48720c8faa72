"""Parquet files: read as a table of text, so that they are checked as CSV files are, and written."""

import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pandas as pd

from ichformer.cohorts.csv_text import MAX_BYTES, MAX_FIELD_CHARS, check_size
from ichformer.cohorts.index import GROUP_PREFIX
from ichformer.errors import InputError, one_line
from ichformer.evaluation.tables.checked import scored_labels
from ichformer.evaluation.tables.checks import check_columns
from ichformer.evaluation.tables.table import needed_columns
from ichformer.files.writing import appearing_whole

_ROWS_AT_ONCE = 2**16


def read_parquet(
    path: str | os.PathLike[str], *, labels: tuple[str, ...] | None, wanted: Collection[str]
) -> pd.DataFrame:
    """Read the columns of labels, scores and subgroups of a Parquet file: every value as text, "" where it is missing.

    Other columns are not read, whatever they hold. What a file says of its size is checked before anything is unpacked,
    and what comes out is counted: a few bytes may stand for a long text in a million rows.

    Args:
      path: the file.
      labels: the labels to read; all that have a column of scores where None.
      wanted: names of further columns, which may be missing.

    Raises:
      InputError: pyarrow is missing, the file is no Parquet or damaged, a column is missing or there twice, a column
        that is read holds lists or structures, or it is too large
        (``csv_text.MAX_BYTES``, ``MAX_FIELDS``, ``MAX_FIELD_CHARS``).
    """
    check_parquet(path)
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            every = file.schema_arrow.names
            stripped = [name.strip() for name in every]
            needed = needed_columns(scored_labels(stripped, where=path) if labels is None else labels)
            check_columns(stripped, needed, where=path)
            names = [name for name in every if _is_wanted(name, {*needed, *wanted})]
            _check(file, names, path)
        found: dict[str, list[str]] = {name: [] for name in names}
        n_chars = 0
        with pyarrow.parquet.ParquetFile(path, read_dictionary=names, pre_buffer=False) as file:
            for batch in file.iter_batches(batch_size=_ROWS_AT_ONCE, columns=names):
                for name in names:
                    texts = _texts(batch.column(name), f"{path}, column {one_line(name)}")
                    n_chars += sum(map(len, texts))
                    _check_bytes(n_chars, path)
                    found[name] += texts
                check_size(len(names), len(found[names[0]]), where=path)
    except (OSError, ValueError, KeyError, TypeError, OverflowError, pyarrow.ArrowException) as error:
        raise InputError(
            f"cannot be read as Parquet ({error})", where=path, fix="give a Parquet or a CSV file"
        ) from error
    return pd.DataFrame(found, dtype=str)


def write_parquet(table: pd.DataFrame, path: Path) -> None:
    """Write a table as a Parquet file, whole or not at all; its folder has to be there."""
    with appearing_whole(path) as temporary:
        table.to_parquet(temporary, index=False)


def check_parquet(path: str | os.PathLike[str]) -> None:
    """InputError where pyarrow, which reads and writes Parquet, is missing."""
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError:
        raise InputError(
            "pyarrow, which Parquet needs, is missing", where=path, fix="pip install 'ichformer[parquet]', or take CSV"
        ) from None


def _is_wanted(name: str, wanted: Collection[str]) -> bool:
    return name.strip() in wanted or name.strip().startswith(GROUP_PREFIX)


def _check(file: Any, names: Collection[str], path: object) -> None:
    """InputError for a nested or repeated column, and for more than may be unpacked."""
    import pyarrow

    for name in names:
        kind = file.schema_arrow.field(name).type
        if pyarrow.types.is_nested(kind):
            raise InputError(
                f"holds values of the type {one_line(kind, max_chars=60)}",
                where=f"{path}, column {one_line(name)}",
                fix="give one value a row",
            )
    about = file.metadata
    check_size(len(names), about.num_rows, where=path)
    n_bytes = 0
    for group in map(about.row_group, range(about.num_row_groups)):
        chunks = map(group.column, range(group.num_columns))
        n_bytes += sum(chunk.total_uncompressed_size for chunk in chunks if chunk.path_in_schema in names)
    _check_bytes(n_bytes, path)


def _check_bytes(n_bytes: int, path: object) -> None:
    if n_bytes > MAX_BYTES:
        raise InputError(f"unpacks to more than {MAX_BYTES >> 20} MiB", where=path, fix="take the table apart")


def _texts(column: Any, where: str) -> list[str]:
    import pyarrow

    if not pyarrow.types.is_dictionary(column.type):
        return [_text(value, where) for value in column.to_pylist()]
    texts = [_text(value, where) for value in column.dictionary.to_pylist()]
    return ["" if at is None else texts[at] for at in column.indices.to_pylist()]


def _text(value: object, where: str) -> str:
    if value is None:
        return ""
    if isinstance(value, bytes):
        value = value.decode()  # text that its writer did not call so
    # True is no number; str gives back every bit of a float.
    text = str(int(value)) if isinstance(value, bool) else str(value)
    if len(text) > MAX_FIELD_CHARS:
        raise InputError(
            f"has a field of more than {MAX_FIELD_CHARS:,} characters", where=where, fix="give shorter texts"
        )
    return text
