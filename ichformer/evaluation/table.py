"""The table of predictions: what any model, ours or anybody's, is judged from.

One row a slice, and one row a scan with an empty ``slice``. Where no scan rows are there, a scan's label and score are
the maximum over its slices. A column ``weight`` says how much a row counts. Columns named ``group_...`` (``group_sex``,
``group_age``) sort the scans into subgroups. A column ``not_scored`` says why scores of a row are missing: a scan in
which no brain was found has a reason in place of scores, and is in no figure.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Float64, Int64, Shaped

from ichformer import LABELS
from ichformer.cohorts.csv_text import line_of
from ichformer.cohorts.index import GROUP_PREFIX, MAX_GROUPS, group_columns
from ichformer.errors import InputError, one_line

ID_COLUMNS = ("patient", "study", "series", "slice", "site", "split")
"""Columns of text. ``slice`` is empty in rows that are about a whole scan; only ``patient`` may never be empty."""

WEIGHT = "weight"
"""A column of numbers from 0, such as one over the chance that the row was sampled; without it all rows count the same.
Only ratios matter: every figure stays as it is where all weights are doubled."""

NOT_SCORED = "not_scored"
"""A column of text: why a row has no score for some or all labels, "" where it has every score."""

_ROW_ID = ["patient", "study", "series", "slice"]
_SCAN_ID = _ROW_ID[:-1]
LevelName = Literal["slice", "scan"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Level:
    """The rows of one level as arrays; rows without any score are left out.

    Attributes:
      name: "slice" or "scan".
      labels: [n, labels] 0 or 1, NaN where unknown and where there is no score.
      scores: [n, labels] probabilities, NaN where there is no score.
      patients: [n] from 0 to the number of patients - 1: rows of one patient are not independent.
      sites: [n] of each row, "" where unknown.
      weights: [n] above 0; 1 where the table has none.
      groups: [n] of each row, by the column's name without its prefix, "" where unknown.
      derived: whether the scans were made as the maximum over slices.
    """

    name: LevelName
    labels: Float64[np.ndarray, "n labels"]
    scores: Float64[np.ndarray, "n labels"]
    patients: Int64[np.ndarray, " n"]
    sites: Shaped[np.ndarray, " n"]
    weights: Float64[np.ndarray, " n"]
    groups: Mapping[str, Shaped[np.ndarray, " n"]]
    derived: bool

    @property
    def weighted(self) -> bool:
        """Whether rows count differently."""
        return bool((self.weights != self.weights[0]).any())


def score_column(label: str) -> str:
    """Name of the column with the scores of ``label``."""
    return f"score_{label}"


def score_columns(labels: tuple[str, ...] = LABELS) -> list[str]:
    """Names of the columns with scores, in the order of ``labels``."""
    return [score_column(label) for label in labels]


def columns(labels: tuple[str, ...] = LABELS) -> list[str]:
    """The columns of a table of predictions, in order."""
    return [*ID_COLUMNS, *labels, *score_columns(labels)]


def table_columns(table: pd.DataFrame, labels: tuple[str, ...] = LABELS) -> list[str]:
    """The columns of a table that count, in order."""
    optional = [name for name in (WEIGHT, NOT_SCORED) if name in table]
    return [*columns(labels), *optional, *group_columns(table)]


def choose_split(table: pd.DataFrame, split: str | None, *, where: object) -> pd.DataFrame:
    """The rows of a split; all rows where None is named. InputError where there are none."""
    if split is None:
        return table
    rows = table[table["split"] == split]
    if rows.empty:
        found = ", ".join(sorted(map(one_line, set(table["split"]))))
        raise InputError(f"no row of the split {split!r}", where=where, mend=f"it has: {found or '(unnamed)'}")
    return rows.reset_index(drop=True)


def check_columns(table: pd.DataFrame, needed: Sequence[str], *, where: object) -> None:
    """InputError where a column is missing."""
    missing = [name for name in needed if name not in table]
    if missing:
        raise InputError(
            f"no column {', '.join(missing)}",
            where=where,
            mend=f"add it, or name fewer labels; found {', '.join(map(str, table)) or 'none'}",
        )


def check_predictions(table: pd.DataFrame, *, labels: tuple[str, ...] = LABELS, where: object = "predictions") -> None:
    """Refuse a table that would lead to a wrong figure.

    Args:
      table: one row a slice or scan, with the columns that ``columns(labels)`` names.
      labels: the labels to judge; other people's models may have fewer than six.
      where: what to call the table in the error.

    Raises:
      InputError: no rows; a column missing; an id that is no text; an empty patient; a row twice; a patient in two
        splits; a label that is neither 0, 1 nor unknown; "any" of 0 beside a positive subtype; a score outside 0 to 1,
        or missing in a row whose column ``not_scored`` does not say why; a row that is said to be not scored and has
        every score; a weight that is no number from 0, or no row of a level with one above 0; scan rows for only some
        of the scans that have slices; a scan of two sites, in two groups or, where it has no row of its own, of two
        weights; numbers for groups.
    """
    if not labels or len(set(labels)) < len(labels):
        raise InputError(f"found {' '.join(labels) or 'none'}", where="labels", mend="name one or more, each once")
    if reserved := set(labels) & {*ID_COLUMNS, WEIGHT, NOT_SCORED}:
        raise InputError("means something else", where=f"label {min(reserved)}", mend="give the label another name")
    check_columns(table, columns(labels), where=where)
    if table.empty:
        raise InputError("no rows", where=where, mend="give at least one scan or slice")
    groups = group_columns(table)
    for name in (*ID_COLUMNS, *groups, *[NOT_SCORED] * (NOT_SCORED in table)):
        is_text = table[name].map(lambda value: isinstance(value, str))
        if not is_text.all():
            raise InputError("has values that are no text", where=f"{where}, column {name}", mend="use '' for unknown")
    if (table["patient"] == "").any():
        raise InputError("is empty or NA in some rows", where=f"{where}, column patient", mend="name every patient")
    for label in labels:
        _check_values(table, label, where)
    _check_not_scored(table, labels, where)
    _check_any(table, labels, where)
    if WEIGHT in table:
        _check_weights(table, where)
    for name in groups:
        if table[name].nunique() > MAX_GROUPS:
            raise InputError(
                f"has {table[name].nunique()} values",
                where=f"{where}, column {one_line(name)}",
                mend=f"put them into at most {MAX_GROUPS} classes",
            )
    _check_rows(table, where)
    for name in ("site", *groups):
        several = table.groupby(_SCAN_ID)[name].transform("nunique").to_numpy() > 1
        if several.any():
            raise InputError(
                f"two values for {_name(table, several)}", where=f"{where}, column {one_line(name)}", mend="give one"
            )


def _check_values(table: pd.DataFrame, label: str, where: object) -> None:
    for name in (label, score_column(label)):
        if not pd.api.types.is_numeric_dtype(table[name]):
            raise InputError("holds something else than numbers", where=f"{where}, column {name}", mend="give numbers")
    truth, score = (table[name].to_numpy(np.float64) for name in (label, score_column(label)))
    wrong = ~(np.isnan(truth) | (truth == 0) | (truth == 1))
    if wrong.any():
        raise InputError(
            f"label {truth[wrong][0]:g} for {_name(table, wrong)}",
            where=f"{where}, column {label}",
            mend="use 0, 1, or nothing where unknown",
        )
    excused = np.isnan(score) & (reasons_of(table) != "")
    wrong = ~((score >= 0) & (score <= 1)) & ~excused
    if wrong.any():
        raise InputError(
            f"score {score[wrong][0]:g} for {_name(table, wrong)}, {np.sum(wrong)} such in all",
            where=f"{where}, column {score_column(label)}",
            mend=f"give probabilities from 0 to 1, or say in a column {NOT_SCORED} why a row has none",
        )


def _check_not_scored(table: pd.DataFrame, labels: tuple[str, ...], where: object) -> None:
    complete = ~table[score_columns(labels)].isna().to_numpy().any(1)
    wrong = complete & (reasons_of(table) != "")
    if wrong.any():
        raise InputError(
            f"says that {_name(table, wrong)} was not scored, but it has every score; {np.sum(wrong)} such in all",
            where=f"{where}, column {NOT_SCORED}",
            mend="leave the scores of such rows empty, or the reason",
        )


def reasons_of(table: pd.DataFrame) -> Shaped[np.ndarray, " n"]:
    """Why scores of each row are missing; "" where none is."""
    return table[NOT_SCORED].to_numpy(object) if NOT_SCORED in table else np.full(len(table), "", object)


def _check_any(table: pd.DataFrame, labels: tuple[str, ...], where: object) -> None:
    *subtypes, whole = LABELS
    known = [label for label in subtypes if label in labels]
    if whole not in labels or not known:
        return
    positive = (table[known] == 1).to_numpy()
    wrong = (table[whole] == 0).to_numpy() & positive.any(1)
    if wrong.any():
        row = int(wrong.argmax())
        raise InputError(
            f"{whole} is 0 but {known[int(positive[row].argmax())]} is 1 for {_name(table, wrong)}, {np.sum(wrong)} "
            "such in all",
            where=f"{where}{line_of(table, row)}",
            mend=f"correct the labels: a scan with a bleed of any subtype has {whole} = 1",
        )


def _check_weights(table: pd.DataFrame, where: object) -> None:
    column = f"{where}, column {WEIGHT}"
    if not pd.api.types.is_numeric_dtype(table[WEIGHT]):
        raise InputError("holds something else than numbers", where=column, mend="give numbers")
    weights, is_scan = table[WEIGHT].to_numpy(np.float64), (table["slice"] == "").to_numpy()
    wrong = ~((weights >= 0) & np.isfinite(weights))
    if wrong.any():
        raise InputError(
            f"weight {weights[wrong][0]:g} for {_name(table, wrong)}, {np.sum(wrong)} such in all",
            where=column,
            mend="give a number from 0 in every row",
        )
    for level, rows in (("slice", ~is_scan), ("scan", is_scan)):
        if rows.any() and not weights[rows].any():
            raise InputError(f"is 0 in every {level} row", where=column, mend="give weights above 0, or no such column")
    several = table.groupby(_SCAN_ID)[WEIGHT].transform("nunique").to_numpy() > 1
    if several.any() and not is_scan.any():
        raise InputError(
            f"two values for {_name(table, several)}, whose scan has no row of its own",
            where=column,
            mend="give the slices of a scan one weight, or add scan rows",
        )


def _check_rows(table: pd.DataFrame, where: object) -> None:
    twice = table.duplicated(_ROW_ID).to_numpy()
    if twice.any():
        raise InputError(
            f"two rows for {_name(table, twice)}, {np.sum(twice)} such in all",
            where=where,
            mend="keep one row for each patient, study, series and slice",
        )
    splits = table[["patient", "split"]].drop_duplicates()
    shared = splits[splits.duplicated("patient", keep=False)]
    if len(shared):
        patient = shared["patient"].iloc[0]
        found = " and ".join(sorted(shared.loc[shared["patient"] == patient, "split"]))
        raise InputError(
            f"patient {patient} is in the splits {found}, {shared['patient'].nunique()} such in all",
            where=where,
            mend="split by patient",
        )
    is_scan = (table["slice"] == "").to_numpy()
    if is_scan.any():
        scans = pd.MultiIndex.from_frame(table.loc[is_scan, _SCAN_ID])
        alone = ~is_scan & ~pd.MultiIndex.from_frame(table[_SCAN_ID]).isin(scans)
        if alone.any():
            raise InputError(
                f"{_name(table, alone)} has no row for its scan, others have one",
                where=where,
                mend="give a scan row (empty slice) for every scan, or for none",
            )


def _name(table: pd.DataFrame, rows: np.ndarray) -> str:
    first = table.iloc[int(np.flatnonzero(rows)[0])]
    return ", ".join(f"{name} {first[name]}" for name in _ROW_ID if first[name])


def levels(table: pd.DataFrame, *, labels: tuple[str, ...] = LABELS) -> tuple[Level, ...]:
    """The slice level and the scan level of a checked table, each where it has a row with a score."""
    rows_of, derived = rows_of_levels(table, labels)
    scored = {name: rows[rows[score_columns(labels)].notna().any(axis=1)] for name, rows in rows_of.items()}
    return tuple(
        _level(name, rows, labels, derived=derived and name == "scan") for name, rows in scored.items() if len(rows)
    )


def rows_of_levels(table: pd.DataFrame, labels: tuple[str, ...]) -> tuple[dict[LevelName, pd.DataFrame], bool]:
    """The rows that count by level, and whether the scans were made as the maximum over slices."""
    is_scan = table["slice"] == ""
    slices, scans = table[~is_scan], table[is_scan]
    derived = scans.empty
    found: dict[LevelName, pd.DataFrame] = {} if slices.empty else {"slice": slices}
    found["scan"] = _maximum(slices, labels) if derived else scans
    # A row of no weight is no row: neither it nor its patient is counted.
    return {name: rows[rows[WEIGHT] > 0] if WEIGHT in rows else rows for name, rows in found.items()}, derived


def _maximum(slices: pd.DataFrame, labels: tuple[str, ...]) -> pd.DataFrame:
    # A bleed in one slice is a bleed in the scan; "none" is known only where every slice is known.
    numeric = [*labels, *score_columns(labels)]
    scan = slices.groupby(_SCAN_ID, sort=False)
    most = scan[["site", *[WEIGHT] * (WEIGHT in slices), *group_columns(slices)]].first().join(scan[numeric].max())
    unknown = slices[numeric].isna().groupby([slices[name] for name in _SCAN_ID], sort=False).any()
    for label in labels:
        most[label] = most[label].mask(unknown[label] & (most[label] != 1))
        # A slice without a score may be the one that bleeds.
        most[score_column(label)] = most[score_column(label)].mask(unknown[score_column(label)])
    if NOT_SCORED in slices:
        most[NOT_SCORED] = scan[NOT_SCORED].max()  # texts: the last one in the alphabet, "" only where all are
    return most.reset_index()


def _level(name: LevelName, rows: pd.DataFrame, labels: tuple[str, ...], *, derived: bool) -> Level:
    scores = rows[score_columns(labels)].to_numpy(np.float64)
    return Level(
        name=name,
        labels=np.where(np.isnan(scores), np.nan, rows[list(labels)].to_numpy(np.float64)),
        scores=scores,
        patients=pd.factorize(rows["patient"], sort=True)[0].astype(np.int64),
        sites=rows["site"].to_numpy(object),
        weights=rows[WEIGHT].to_numpy(np.float64) if WEIGHT in rows else np.ones(len(rows)),
        groups={name.removeprefix(GROUP_PREFIX): rows[name].to_numpy(object) for name in group_columns(rows)},
        derived=derived,
    )
