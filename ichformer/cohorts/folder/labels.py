"""Reads a CSV of labels and assigns its rows to the scans of a folder."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float64

from ichformer import LABELS
from ichformer.cohorts.csv_text import read_text_table
from ichformer.cohorts.folder.columns import ATTRIBUTES, LEFT_OUT, name_columns, numbers_something
from ichformer.cohorts.folder.fields import as_digits, read_fields, read_values
from ichformer.cohorts.folder.matching import Labelled, match_rows, scan_keys
from ichformer.cohorts.index import FEW_VALUES, GROUP_PREFIX, MAX_GROUPS, SPLITS, group_columns, tells_scans_apart
from ichformer.cohorts.tables import SLICE_KEYS, scan_labels, write_table
from ichformer.errors import InputError, one_line
from ichformer.labels import SIX, LabelSet

_MOST_SHOWN = 700
"""Characters of the problems that one message shows: it has to stay one line."""


@dataclass(frozen=True, kw_only=True)
class CsvLabels:
    """What a CSV says of the scans of a folder.

    Attributes:
      rows: by series what the CSV says of it, by columns of the index; ``patient`` as it stands in the CSV.
      lines: the first line of each series.
      notes: what a user should know about how the CSV was read.
      warnings: what may be wrong with it.
    """

    rows: dict[str, dict[str, object]]
    lines: dict[str, int]
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def read_labels(
    path: Path,
    scans: Sequence[Labelled],
    *,
    cache: Path,
    columns: Mapping[str, str],
    label_set: LabelSet = SIX,
) -> CsvLabels:
    """Reads the labels and whatever else a CSV says of the scans of a folder.

    A row says which scan it is about by ``path``, ``series`` or both; in a table without these by ``study``, else by
    ``patient``, and then it goes to each of their series. It has labels and may have ``ATTRIBUTES`` (origin: the set
    that the scans come from, "hemseg200" say; "folder" otherwise) and ``slice`` (SOPInstanceUID or file name).
    ``name_columns`` says how columns may be called; what it does not know becomes a subgroup.

    With ``slice`` a row labels that slice, and the scan's labels are the maximum over its slices. Where the label set
    is not the six alone, a row without a slice says what is known of the scan itself. A scan's target is known from
    such a row only: nobody can say how the values of slices add up to it.

    Args:
      path: of the CSV.
      scans: that can get labels.
      cache: where a table of slice labels is written.
      columns: see ``name_columns``.
      label_set: which columns are labels and which are targets.

    Raises:
      InputError: the table cannot be read; or, all in one message with their lines: columns missing or in doubt, values
        that are no label or no number, "any" of 0 beside a positive subtype, a label of 0 of a scan with a positive
        slice, rows that match nothing or what another row matches, rows of one scan that disagree.
    """
    read = read_text_table(path)
    header = list(read.rows.columns)
    named = name_columns(header, columns, label_set)
    problems, notes = list(named.problems), list(named.notes)
    if problems and not set(named.meanings) - {LEFT_OUT}:
        raise _refusal(problems, header, path, _of_names(label_set))
    if read.blank_rows:
        notes.append(f"blank rows of {one_line(path.name)} that were skipped: {read.blank_rows}")
    table = read_fields(read.rows, named.meanings, problems, label_set)
    n_of_names = len(problems)
    names = dict(zip(named.meanings[::-1], header[::-1], strict=True))  # of two columns the first is read
    labels = read_values(table, names, problems, label_set)
    fixes = _of_names(label_set) * bool(n_of_names) + _of_values(label_set) * (len(problems) > n_of_names)
    for row in np.flatnonzero(~table["split"].isin(["", *SPLITS])):
        found = one_line(table["split"].iloc[row], max_chars=40)
        problems.append(f"line {table.index[row]}: split is {found!r}, not {', '.join(SPLITS)} or nothing")
    keys = scan_keys(named.meanings)
    by_slice = bool((table["slice"] != "").any())
    own_set = not label_set.is_default
    rows_of = match_rows(table, keys, scans, by_slice, path.parent, problems, scan_rows=own_set) if keys else {}
    for series, own in rows_of.items():
        problems += _disagreements(table.iloc[sorted(set(own.values()))], series)
        if by_slice:
            problems += _contradictions(own, labels, table.index, label_set)
    if problems:
        raise _refusal(problems, header, path, fixes)

    asked = {*columns, *(own for own, name in names.items() if name.startswith(GROUP_PREFIX))}
    of_scans = table.iloc[[min(own.values()) for own in rows_of.values()]]
    groups = _groups(of_scans, names, asked, notes)
    if told := named.told(header, groups):
        notes.insert(0, f"columns of {one_line(path.name)}: {told}")
    missing = len(scans) - len(rows_of)
    notes += [f"{missing} of {len(scans)} scans have no row in {one_line(path.name)} and so no labels"] * bool(missing)
    scans_of_row = Counter(row for own in rows_of.values() for row in set(own.values()))
    if several := [count for count in scans_of_row.values() if count > 1]:
        notes.append(
            f"{len(several)} rows label more than one scan each (up to {max(several)}), as their {keys[0]} does"
        )
    of_series: dict[str, dict[str, object]] = {}
    slice_tables = []
    for scan in scans:
        if scan.series not in rows_of:
            continue
        own = rows_of[scan.series]
        first = table.iloc[min(own.values())]
        said: dict[str, object] = {
            name: first[name] for name in (*ATTRIBUTES, *groups) if first[name] and name not in keys
        }
        known = {name: labels[row] for name, row in own.items()}
        if by_slice:
            slice_tables.append(_by_slice(scan, known, label_set))
            said["slice_labels"] = str((cache / "slice_labels.csv").absolute())
            of_scan = _of_scan(slice_tables[-1], known.get(""), label_set)
        else:
            of_scan = known[""]
        of_series[scan.series] = said | dict(zip(label_set.columns, of_scan.tolist(), strict=True))
    if by_slice:
        write_table(pd.concat(slice_tables), cache / "slice_labels.csv")
        for name in label_set.targets:
            if all(pd.isna(row[name]) for row in of_series.values()):
                notes.append(f"{name} is known of slices only: add rows without a slice that say it of the scans")
    lines = {series: int(table.index[min(own.values())]) for series, own in rows_of.items()}
    unasked = [name for name in groups if name not in asked]
    warnings = _unnamed_labels(table[unasked].rename(columns=names), set(names), label_set)
    return CsvLabels(rows=of_series, lines=lines, notes=tuple(notes), warnings=tuple(warnings))


def _disagreements(own: pd.DataFrame, series: str) -> Iterator[str]:
    for name in (*ATTRIBUTES, *group_columns(own)):
        if own[name].nunique() > 1:
            lines = " and ".join(str(own.index[own[name] == value][0]) for value in own[name].unique()[:2])
            several = {"study": "studies"}.get(name, f"{name}s" if name in ATTRIBUTES else f"values of {name}")
            yield f"lines {lines} give one series several {several} ({one_line(series, max_chars=70)})"


def _groups(scans: pd.DataFrame, names: Mapping[str, str], asked: Collection[str], notes: list[str]) -> list[str]:
    """The columns of subgroups that can be kept: those that are asked for, and others that divide the scans into few.

    Args:
      scans: a row of the CSV for each scan.
      names: of each meaning the name of its column.
      asked: subgroups that were named as such.
      notes: what is left out is said here.
    """
    kept = []
    for name in group_columns(scans):
        known = scans.loc[scans[name] != "", name]
        n_values, column = known.nunique(), f"the column {one_line(names[name], max_chars=40)}"
        may_name = numbers_something(names[name]) and n_values > FEW_VALUES
        if n_values > MAX_GROUPS:
            notes.append(f"{column} has {n_values} values and was not read: put them into {MAX_GROUPS} or fewer")
        elif name not in asked and (may_name or tells_scans_apart(known)):
            notes.append(
                f"{column} has {n_values} values in {len(known)} scans and was not read: it may name persons or scans. "
                f"--columns patient=COLUMN if it names patients, {name}=COLUMN if it is a subgroup"
            )
        elif n_values:
            kept.append(name)
    return kept


def _unnamed_labels(subgroups: pd.DataFrame, meanings: Collection[str], label_set: LabelSet) -> Iterator[str]:
    """Subgroups that may be "any" under a name that nobody knows; their columns have the names of the CSV."""
    knows_any = "any" in meanings or set(LABELS[:-1]) <= set(meanings)
    like_labels = [name for name in subgroups if set(as_digits(subgroups[name])) - {""} <= {"0", "1"}]
    if label_set.is_default and not knows_any and like_labels:
        yield (
            f"columns with 0 and 1 that became subgroups: {one_line(', '.join(like_labels))}. No column is any. If one "
            "of them is a label, prepare again with --columns any=COLUMN"
        )


def _contradictions(
    own: Mapping[str, int], labels: Float64[np.ndarray, "rows labels"], lines: pd.Index, label_set: LabelSet
) -> Iterator[str]:
    """Labels that are 0 of a scan, in its own row, and 1 of one of its slices."""
    if "" not in own:
        return
    of_slices = [row for name, row in own.items() if name]
    for number, name in enumerate(label_set.names):
        positive = [row for row in of_slices if labels[row, number] == 1]
        if labels[own[""], number] == 0 and positive:
            yield f"line {lines[own['']]}: {name} is 0 of a scan, and 1 of its slice in line {lines[positive[0]]}"


def _by_slice(scan: Labelled, known: Mapping[str, Float64[np.ndarray, "labels"]], label_set: LabelSet) -> pd.DataFrame:
    """The table of slice labels of a scan, with all its slices."""
    unknown = np.full(len(label_set.columns), np.nan)
    everywhere = {name: known.get(name, unknown) for name in scan.slices.values()}
    values = np.array(list(everywhere.values()), np.float64).reshape(-1, len(unknown))
    frame = pd.DataFrame(values, columns=list(label_set.columns))
    frame = frame.assign(series=scan.series, slice=list(everywhere), file="")
    return frame[[*SLICE_KEYS, *label_set.columns]]


def _of_scan(
    by_slice: pd.DataFrame, stated: Float64[np.ndarray, "labels"] | None, label_set: LabelSet
) -> Float64[np.ndarray, "labels"]:
    """What is known of a scan: what its own row says, else the maximum over its slices, which targets do not have."""
    from_slices = scan_labels(by_slice[list(label_set.names)].to_numpy(np.float64))
    found = np.append(from_slices, np.full(len(label_set.targets), np.nan))
    return found if stated is None else np.where(np.isnan(stated), found, stated)


def _of_names(label_set: LabelSet) -> str:
    """How a column is named."""
    return f"--columns {'any' if label_set.has_subtypes else label_set.columns[0]}=COLUMN names a column. "


def _of_values(label_set: LabelSet) -> str:
    """What may stand in a cell."""
    numbers = "Targets are numbers with a decimal point, or nothing. " * bool(label_set.targets)
    others = f"--columns {GROUP_PREFIX}NAME=COLUMN makes a subgroup of another column. "
    return f"Labels are 0, 1, yes, no, true, false or nothing. {numbers}{others}"


def _refusal(problems: Sequence[str], header: Sequence[str], path: Path, fixes: str) -> InputError:
    """All problems in one line, as many as it holds."""
    shown: list[str] = []
    for problem in dict.fromkeys(problems):
        if shown and sum(map(len, shown)) + len(problem) > _MOST_SHOWN:
            break
        shown.append(problem)
    more = len(set(problems)) - len(shown)
    what = "; ".join([*shown, *[f"and {more} more"] * bool(more)])
    if len(shown) + more > 1:
        what = f"{len(shown) + more} problems: {what}"
    names = one_line(", ".join(header), max_chars=150)
    fix = f"the header is: {names}. {fixes}--example-labels writes an example with the path of every scan"
    return InputError(what, where=path, fix=fix)
