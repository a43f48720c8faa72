"""Reads the fields of a CSV of labels: 0, 1 and numbers, in the spellings that people use."""

import posixpath
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float64

from ichformer.cohorts.folder.columns import LEFT_OUT, all_meanings
from ichformer.cohorts.index import group_columns
from ichformer.cohorts.tables import contradicts, fill_any, read_target
from ichformer.errors import one_line
from ichformer.labels import LabelSet

_VALUES = {
    **dict.fromkeys(("0", "false", "no", "n", "negative", "neg", "absent"), 0.0),
    **dict.fromkeys(("1", "true", "yes", "y", "positive", "pos", "present"), 1.0),
    **dict.fromkeys(("", "?", "<na>", "n/a", "na", "nan", "null", "unknown"), np.nan),
}
_UNKNOWN = [text for text, value in _VALUES.items() if np.isnan(value)]
_NO_PATIENT = {*_UNKNOWN, "none", "anonymous", "anonymised"}
"""What programs and people write where the patient is not known."""


def read_fields(rows: pd.DataFrame, meanings: Sequence[str], problems: list[str], label_set: LabelSet) -> pd.DataFrame:
    """Returns the columns that mean something, by their meaning, without blanks at either end.

    Columns of ``columns.all_meanings`` that are not there are "".
    """
    fields: dict[str, pd.Series] = {}
    for number, meaning in enumerate(meanings):
        # Spreadsheets write ="00012" to keep the zeros of an identifier.
        column = rows.iloc[:, number].str.strip().str.replace(r'^="(.*)"$', r"\1", regex=True).str.strip()
        if meaning != LEFT_OUT:
            fields.setdefault(meaning, column)
        elif not rows.columns[number] and (column != "").any() and not _counts(column):
            problems.append(f"column {number + 1} has no name: name it or take it out")
    names = {**dict.fromkeys(all_meanings(label_set)), **fields}
    table = pd.DataFrame({name: fields.get(name, "") for name in names}, rows.index)
    table["split"] = table["split"].str.lower()
    table["path"] = [_normal_path(text) for text in table["path"]]
    table["patient"] = table["patient"].mask(table["patient"].str.lower().isin(_NO_PATIENT), "")
    for name in group_columns(table):
        unknown = table[name].str.lower().isin(_UNKNOWN)
        table[name] = [one_line(text, max_chars=80) for text in table[name].mask(unknown, "")]
    return table


def _counts(column: pd.Series) -> bool:
    """Whether a column only numbers the rows, as pandas and R write it."""
    return any(column.tolist() == [str(first + row) for row in range(len(column))] for first in (0, 1))


def _normal_path(text: str) -> str:
    return posixpath.normpath(text.replace("\\", "/")) if text else ""


def read_values(
    table: pd.DataFrame, names: Mapping[str, str], problems: list[str], label_set: LabelSet
) -> Float64[np.ndarray, "rows labels"]:
    """Returns the labels and targets of each row, NaN where unknown; "any" is known where it follows from subtypes.

    Args:
      table: the fields by their meaning (``read_fields``).
      names: of each meaning the name of its column.
      problems: fields that are no label and no number are added here, with their lines.
      label_set: which columns are labels and which are targets.
    """
    columns = []
    for name in label_set.columns:
        own = one_line(names.get(name, name), max_chars=40)
        called = name if own == name else f"{own} ({name})"
        columns.append(_values(table[name], called, name in label_set.targets, problems))
    labels = np.stack(columns, axis=1)
    for row in np.flatnonzero(contradicts(labels, label_set)):
        subtype = label_set.names[int((labels[row] == 1).argmax())]
        problems.append(f"line {table.index[row]}: any is 0 where a subtype is 1 ({subtype})")
    return fill_any(labels, label_set)


def as_digits(labels: pd.Series) -> pd.Series:
    """Returns fields of a label with "1" for yes and true, "0" for no and false, and all others as they are."""
    digits = {text: f"{value:g}" for text, value in _VALUES.items() if not np.isnan(value)}
    return labels.map(
        lambda text: digits.get(str(text).strip().lower(), text) if isinstance(text, str | bool) else text
    )


def _values(column: pd.Series, called: str, is_target: bool, problems: list[str]) -> Float64[np.ndarray, " rows"]:
    texts = column.str.lower()
    if is_target:
        values = np.array([read_target(text) for text in texts], np.float64)
        wrong = np.isnan(values) & ~texts.isin(_UNKNOWN).to_numpy()
    else:
        texts = texts.str.replace(r"^([01])[.,]0*$", r"\1", regex=True)
        values, wrong = texts.map(_VALUES).to_numpy(np.float64), ~texts.isin(list(_VALUES)).to_numpy()
    for text, rows in column[wrong].groupby(column[wrong], sort=False):
        more = f" in {len(rows)} lines" * (len(rows) > 1)
        found = f"line {rows.index[0]}: {called} is {one_line(text, max_chars=40)!r}{more}"
        problems.append(f"{found}, which is no number" if is_target else found)
    return values
