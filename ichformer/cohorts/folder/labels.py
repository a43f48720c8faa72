"""A CSV of labels, written by people, laid over the scans of a folder."""

import difflib
import itertools
import os
import posixpath
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float64

from ichformer import LABELS
from ichformer.cohorts.csv_text import read_text_table
from ichformer.cohorts.folder.columns import ATTRIBUTES, KEYS, LEFT_OUT, MEANINGS, name_columns
from ichformer.cohorts.index import MAX_GROUPS, SPLITS, group_columns
from ichformer.cohorts.tables import SLICE_COLUMNS, contradicts, fill_any, scan_labels, write_table
from ichformer.errors import InputError, one_line

_VALUES = {
    **dict.fromkeys(("0", "false", "no", "n", "negative", "neg", "absent"), 0.0),
    **dict.fromkeys(("1", "true", "yes", "y", "positive", "pos", "present"), 1.0),
    **dict.fromkeys(("", "?", "<na>", "n/a", "na", "nan", "null", "unknown"), np.nan),
}
_NO_PATIENT = {*(text for text, value in _VALUES.items() if np.isnan(value)), "none", "anonymous", "anonymised"}
"""What programs and people write where the patient is not known."""

_MOST_SHOWN = 700
"""Characters of the problems that one message shows: it has to stay one line."""


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """A scan that can get labels.

    Attributes:
      series: its name in the index.
      keys: for each of ``KEYS`` what a row may call it.
      slices: whatever a row may call a slice -> its name in ``Volume.source``; all its slices.
    """

    series: str
    keys: dict[str, set[str]]
    slices: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Told:
    """What a CSV says.

    Attributes:
      rows: by series what the CSV says of it, by columns of the index; ``patient`` as it stands in the CSV.
      lines: the first line of each series.
      notes: what a user should know about how the CSV was read.
    """

    rows: dict[str, dict[str, object]]
    lines: dict[str, int]
    notes: tuple[str, ...]


def read_labels(path: Path, scans: Sequence[Labelled], *, cache: Path, columns: Mapping[str, str]) -> Told:
    """Labels and whatever else the CSV says of the series that it names.

    A row says which scan it is about by ``path``, ``series`` or both; in a table without these by ``study``, else by
    ``patient``, and then it goes to each of their series. It has any of ``LABELS`` and may have ``ATTRIBUTES`` (origin:
    the set that the scans come from, "hemseg200" say; "folder" otherwise) and ``slice`` (SOPInstanceUID or file name).
    With ``slice`` a row labels that slice, and the scan's labels are the maximum over its slices. ``name_columns`` says
    how columns may be called; what it does not know becomes a subgroup.

    Args:
      path: of the CSV.
      scans: that can get labels.
      cache: where a table of slice labels is written.
      columns: see ``name_columns``.

    Raises:
      InputError: the table cannot be read; or, all in one message with their lines: columns missing or in doubt, values
        that are no label, "any" of 0 beside a positive subtype, rows that match nothing or what another row matches,
        rows of one scan that disagree.
    """
    rows = read_text_table(path).rows
    header = list(rows.columns)
    named = name_columns(header, columns)
    problems, notes = list(named.problems), list(named.notes)
    table = _fields(rows, named.meanings, problems)
    labels = _labels(table, problems)
    for row in np.flatnonzero(~table["split"].isin(["", *SPLITS])):
        found = one_line(table["split"].iloc[row], max_chars=40)
        problems.append(f"line {table.index[row]}: split is {found!r}, not {', '.join(SPLITS)} or nothing")
    keys = _keys(named.meanings)
    by_slice = bool((table["slice"] != "").any())
    rows_of = _rows_by_slice(table, keys, scans, by_slice, path.parent, problems) if keys else {}
    for series, own in rows_of.items():
        problems += _disagreements(table.iloc[sorted(set(own.values()))], series)
    if problems:
        raise _refusal(problems, header, path)

    groups = _groups(table, notes)
    missing = len(scans) - len(rows_of)
    notes += [f"{missing} of {len(scans)} scans have no row in {one_line(path.name)} and so no labels"] * bool(missing)
    scans_of_row = Counter(row for own in rows_of.values() for row in set(own.values()))
    if several := [count for count in scans_of_row.values() if count > 1]:
        notes.append(
            f"{len(several)} rows label more than one scan each (up to {max(several)}), as their {keys[0]} does"
        )
    told: dict[str, dict[str, object]] = {}
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
            by_name = _by_slice(scan, known)
            slice_tables.append(by_name)
            said["slice_labels"] = str((cache / "slice_labels.csv").absolute())
        of_scan = scan_labels(by_name[list(LABELS)].to_numpy(np.float64)) if by_slice else known[""]
        told[scan.series] = said | dict(zip(LABELS, of_scan.tolist(), strict=True))
    if by_slice:
        write_table(pd.concat(slice_tables), cache / "slice_labels.csv")
    lines = {series: int(table.index[min(own.values())]) for series, own in rows_of.items()}
    return Told(rows=told, lines=lines, notes=tuple(notes))


def _fields(rows: pd.DataFrame, meanings: Sequence[str], problems: list[str]) -> pd.DataFrame:
    """The columns that mean something, by their meaning, stripped; "" for those of ``MEANINGS`` that are not there."""
    fields: dict[str, pd.Series] = {}
    for number, meaning in enumerate(meanings):
        # Spreadsheets write ="00012" to keep the zeros of an identifier.
        column = rows.iloc[:, number].str.strip().str.replace(r'^="(.*)"$', r"\1", regex=True).str.strip()
        if meaning != LEFT_OUT:
            fields.setdefault(meaning, column)
        elif not rows.columns[number] and (column != "").any() and not _counts(column):
            problems.append(f"column {number + 1} has no name: name it or take it out")
    table = pd.DataFrame({name: fields.get(name, "") for name in {**dict.fromkeys(MEANINGS), **fields}}, rows.index)
    table["split"] = table["split"].str.lower()
    table["path"] = [_normal_path(text) for text in table["path"]]
    table["patient"] = table["patient"].mask(table["patient"].str.lower().isin(_NO_PATIENT), "")
    for name in group_columns(table):
        unknown = table[name].str.lower().isin([text for text, value in _VALUES.items() if np.isnan(value)])
        table[name] = [one_line(text, max_chars=80) for text in table[name].mask(unknown, "")]
    return table


def _counts(column: pd.Series) -> bool:
    """Whether a column only numbers the rows, as pandas and R write it."""
    return any(column.tolist() == [str(first + row) for row in range(len(column))] for first in (0, 1))


def _normal_path(text: str) -> str:
    return posixpath.normpath(text.replace("\\", "/")) if text else ""


def _labels(table: pd.DataFrame, problems: list[str]) -> Float64[np.ndarray, "rows labels"]:
    """The six labels of each row, NaN where unknown; "any" is known where the subtypes tell it."""
    found = []
    for name in LABELS:
        texts = table[name].str.lower().str.replace(r"^([01])[.,]0*$", r"\1", regex=True)
        values = texts.map(_VALUES).to_numpy(np.float64)
        for row in np.flatnonzero(~texts.isin(list(_VALUES)).to_numpy()):
            problems.append(f"line {table.index[row]}: {name} is {one_line(table[name].iloc[row], max_chars=40)!r}")
        found.append(values)
    labels = np.stack(found, axis=1)
    for row in np.flatnonzero(contradicts(labels)):
        subtype = LABELS[int((labels[row, :-1] == 1).argmax())]
        problems.append(f"line {table.index[row]}: any is 0 where a subtype is 1 ({subtype})")
    return fill_any(labels)


def _keys(meanings: Sequence[str]) -> tuple[str, ...]:
    """The columns that say which scan a row is about."""
    exact = tuple(key for key in ("path", "series") if key in meanings)
    return exact or tuple(key for key in KEYS if key in meanings)[:1]


def _rows_by_slice(
    table: pd.DataFrame,
    keys: tuple[str, ...],
    scans: Sequence[Labelled],
    by_slice: bool,
    folder: Path,
    problems: list[str],
) -> dict[str, dict[str, int]]:
    """By series and by slice ("" where rows are about scans) the row that is about it.

    A path may also start at the CSV's ``folder``. A scan without a SeriesInstanceUID is known by its path alone.
    """
    called: dict[str, dict[str, set[int]]] = {key: defaultdict(set) for key in keys}
    for number, scan in enumerate(scans):
        for key in keys:
            for name in scan.keys[key] - {""}:
                called[key][name].add(number)
    if keys == ("path", "series"):
        without_uid = {number for number, scan in enumerate(scans) if "" in scan.keys["series"]}
        for value in {value for value in table["series"] if not value.startswith("S-")}:  # S-...: a name of ours
            called["series"][value] |= without_uid
    for value in {value for value in table["path"] if value and "path" in keys and value not in called["path"]}:
        if there := called["path"].get(os.path.abspath(folder / value)):
            called["path"][value] = there
    rows_of: dict[str, dict[str, int]] = defaultdict(dict)
    for row, values in enumerate(table[[*keys, "slice"]].itertuples(index=False, name=None)):
        line, given = f"line {table.index[row]}", dict(zip(keys, values, strict=False))
        found = [called[key].get(value, set()) for key, value in given.items() if value]
        matched = [scans[number] for number in sorted(set.intersection(*found))] if found else []
        if by_slice and matched:
            named, matched = matched[0], [scan for scan in matched if values[-1] in scan.slices]
            if not matched:
                such = f", such as {one_line(next(iter(named.slices)), max_chars=80)!r}" if named.slices else ""
                slice_name = one_line(values[-1], max_chars=80)
                problems.append(f"{line}: its scan has no slice {slice_name!r}; it has {len(named.slices)}{such}")
        elif not matched:
            text = one_line(" ".join(filter(None, values if by_slice else values[:-1])), max_chars=80)
            near = "" if len(problems) > 20 else _near_key(given, called)
            problems.append(f"{line}: matches no series: {text!r}{near}")
        for scan in matched:
            name = scan.slices[values[-1]] if by_slice else ""
            if name in rows_of[scan.series]:
                earlier = table.index[rows_of[scan.series][name]]
                problems.append(f"{line}: labels what an earlier line labels (line {earlier}): keep one of them")
            else:
                rows_of[scan.series][name] = row
    return {series: own for series, own in rows_of.items() if own}


def _near_key(given: Mapping[str, str], called: Mapping[str, Mapping[str, object]]) -> str:
    """ " (is it ...?)" where a scan has nearly that name: without a folder or a suffix, or with lost zeros."""
    for key, value in given.items():
        names = [name for name in called[key] if not name.startswith("/")][:20000]
        near = [name for name in names if _bare(name) == _bare(value)] if value else []
        if not near and key != "patient":  # the like of one patient's name is another patient's
            near = difflib.get_close_matches(value, names[:2000], n=1, cutoff=0.8)
        if near:
            # The one of which most folders are the same, with its suffix.
            nearest = max(sorted(near), key=lambda name: (_same_folders(name, value), len(name)))
            zeros = "? Spreadsheets drop leading zeros" if nearest.lstrip("0") == value else "?"
            return f" (is it {one_line(nearest, max_chars=80)!r}{zeros})"
    return ""


def _same_folders(name: str, other: str) -> int:
    """How many folders above the last part are the same, from the last one up."""
    folders = (reversed(path.split("/")[:-1]) for path in (name, other))
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(*folders, strict=False)))


def _bare(name: str) -> str:
    return re.sub(r"\.(nii|nii\.gz|dcm|zip|png|jpg)$", "", name.rpartition("/")[2].lower()).lstrip("0")


def _disagreements(own: pd.DataFrame, series: str) -> Iterator[str]:
    for name in (*ATTRIBUTES, *group_columns(own)):
        if own[name].nunique() > 1:
            lines = " and ".join(str(own.index[own[name] == value][0]) for value in own[name].unique()[:2])
            several = {"study": "studies"}.get(name, f"{name}s" if name in ATTRIBUTES else f"values of {name}")
            yield f"lines {lines} give one series several {several} ({one_line(series, max_chars=70)})"


def _groups(table: pd.DataFrame, notes: list[str]) -> list[str]:
    """The columns of subgroups that can be kept."""
    kept = []
    for name in group_columns(table):
        n_values = table.loc[table[name] != "", name].nunique()
        if n_values > MAX_GROUPS:
            notes.append(
                f"the column {name} has {n_values} values and was not read: put them into {MAX_GROUPS} or fewer"
            )
        elif n_values:
            kept.append(name)
    return kept


def _by_slice(scan: Labelled, known: Mapping[str, Float64[np.ndarray, "labels"]]) -> pd.DataFrame:
    """The labels of all slices of a scan, with ``SLICE_COLUMNS``."""
    unknown = np.full(len(LABELS), np.nan)
    everywhere = {name: known.get(name, unknown) for name in scan.slices.values()}
    frame = pd.DataFrame(np.stack(list(everywhere.values())), columns=list(LABELS))
    return frame.assign(series=scan.series, slice=list(everywhere), file="")[list(SLICE_COLUMNS)]


def _refusal(problems: Sequence[str], header: Sequence[str], path: Path) -> InputError:
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
    mend = (
        f"the header is: {names}. Labels are 0, 1, yes, no, true, false or nothing. --columns any=COLUMN names a "
        "column, --example-labels writes an example"
    )
    return InputError(what, where=path, mend=mend)
