"""The checks of a table of predictions: everything that would lead to a wrong figure is refused."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pandas as pd

from ichformer import LABELS
from ichformer.cohorts.csv_text import line_of
from ichformer.cohorts.index import MAX_GROUPS, group_columns
from ichformer.cohorts.spelling import one_spelling
from ichformer.errors import InputError, one_line
from ichformer.evaluation.tables.table import (
    ID_COLUMNS,
    NOT_SCORED,
    ROW_ID,
    SCAN_ID,
    WEIGHT,
    columns,
    output_columns,
    predicted_column,
    reasons_of,
    scaled_weights,
    score_column,
    target_names,
)

MAX_TEXT_CHARS = 4096
"""The longest id, site, group or reason: as many characters as a path may have."""

MAX_WEIGHT_RATIO = 1e9
"""The largest weight of a level over the smallest above 0. Sums of weights further apart lose the small ones."""


def check_columns(names: Sequence[str], needed: Sequence[str], *, where: object) -> None:
    """InputError where one of the columns of a table is missing, or two have the same name."""
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise InputError(
            f"names a column twice: {one_line(twice[0])!r}", where=where, fix="give every column its own name"
        )
    there = set(names)
    if missing := [name for name in needed if name not in there]:
        fix = "add it: it names the patient of each row" if missing == ["patient"] else "add it, or name fewer labels"
        raise InputError(
            f"no column {', '.join(map(one_line, missing))}",
            where=where,
            fix=f"{fix}; found {', '.join(map(one_line, names[:50])) or 'none'}",
        )


def check_predictions(table: pd.DataFrame, *, labels: tuple[str, ...], where: object) -> None:
    """Refuse a table that would lead to a wrong figure. ``checked.check_table`` calls this, once for each table.

    Args:
      table: one row a slice or scan, with the columns that ``columns(labels)`` names.
      labels: the labels to evaluate; other people's models may have fewer or others than the six.
      where: what to call the table in the error.

    Raises:
      InputError: no rows; a column missing; an id that is no text; an empty patient; a row twice; a patient in two
        splits or in two spellings; a label that is neither 0, 1 nor unknown; "any" of 0 beside a positive subtype; a
        score outside 0 to 1, or missing in a row whose column ``not_scored`` does not say why; a row that is said to
        be not scored and has every score; a weight that is no number from 0, no row of a level with one above 0, or
        weights further apart than ``MAX_WEIGHT_RATIO``; scan rows for only some of the scans that have slices; a scan
        of two sites, in two groups or, where it has no row of its own, of two weights; numbers for groups; a text
        longer than ``MAX_TEXT_CHARS``.
    """
    targets = target_names(table, labels)
    check_labels(labels, targets)
    check_columns(list(table), columns(labels), where=where)
    if table.empty:
        raise InputError("no rows", where=where, fix="give at least one scan or slice")
    groups = group_columns(table)
    for name in (*ID_COLUMNS, *groups, *[NOT_SCORED] * (NOT_SCORED in table)):
        is_text = table[name].map(lambda value: isinstance(value, str))
        if not is_text.all():
            raise InputError("has values that are no text", where=f"{where}, column {name}", fix="use '' for unknown")
        if (longest := int(table[name].str.len().max())) > MAX_TEXT_CHARS:
            raise InputError(
                f"has a text of {longest:,} characters",
                where=f"{where}, column {one_line(name)}",
                fix=f"give texts of at most {MAX_TEXT_CHARS:,}",
            )
    if (table["patient"] == "").any():
        raise InputError("is empty or NA in some rows", where=f"{where}, column patient", fix="name every patient")
    _check_spelling(table, where)
    for label in labels:
        _check_values(table, label, where)
    for target in targets:
        _check_target(table, target, where)
    _check_not_scored(table, labels, where)
    _check_any(table, labels, where)
    if WEIGHT in table:
        check_weights(table, where=where)
    for name in groups:
        if table[name].nunique() > MAX_GROUPS:
            raise InputError(
                f"has {table[name].nunique()} values",
                where=f"{where}, column {one_line(name)}",
                fix=f"put them into at most {MAX_GROUPS} classes",
            )
    _check_rows(table, where)
    for name in ("site", *groups):
        several = table.groupby(SCAN_ID)[name].transform("nunique").to_numpy() > 1
        if several.any():
            raise InputError(
                f"two values for {_name(table, several)}", where=f"{where}, column {one_line(name)}", fix="give one"
            )


def check_labels(labels: tuple[str, ...], targets: tuple[str, ...] = ()) -> None:
    """InputError for no label and no target, a label named twice, or one whose name is that of another column."""
    if not (labels or targets) or len(set(labels)) < len(labels):
        raise InputError(f"found {' '.join(labels) or 'none'}", where="labels", fix="name one or more, each once")
    if reserved := set(labels) & {*ID_COLUMNS, WEIGHT, NOT_SCORED}:
        raise InputError("means something else", where=f"label {min(reserved)}", fix="give the label another name")


def _check_spelling(table: pd.DataFrame, where: object) -> None:
    """InputError where one patient is spelled in several ways: as several, it would make intervals too narrow."""
    one = one_spelling(table["patient"])
    if several := [(name, other) for name, other in one.items() if name != other]:
        first, second = (repr(one_line(name, max_chars=60)) for name in several[0])
        raise InputError(
            f"spells one patient in several ways, such as {first} and {second}; {len(several)} such in all",
            where=f"{where}, column patient",
            fix="write each patient in one way; give two people names that differ in more than capitals and blanks",
        )


def _check_values(table: pd.DataFrame, label: str, where: object) -> None:
    for name in (label, score_column(label)):
        if not pd.api.types.is_numeric_dtype(table[name]):
            fix = "give 0, 1, yes, no, true, false, or nothing where unknown" if name == label else "give numbers"
            raise InputError("holds something else than numbers", where=f"{where}, column {name}", fix=fix)
    truth, score = (table[name].to_numpy(np.float64) for name in (label, score_column(label)))
    wrong = ~(np.isnan(truth) | (truth == 0) | (truth == 1))
    if wrong.any():
        raise InputError(
            f"label {truth[wrong][0]:g} for {_name(table, wrong)}",
            where=f"{where}, column {label}",
            fix="use 0, 1, or nothing where unknown",
        )
    excused = np.isnan(score) & (reasons_of(table) != "")
    wrong = ~((score >= 0) & (score <= 1)) & ~excused
    if wrong.any():
        raise InputError(
            f"score {score[wrong][0]:g} for {_name(table, wrong)}, {np.sum(wrong)} such in all",
            where=f"{where}, column {score_column(label)}",
            fix=f"give probabilities from 0 to 1, or say in a column {NOT_SCORED} why a row has none",
        )


def _check_target(table: pd.DataFrame, target: str, where: object) -> None:
    for name in (target, predicted_column(target)):
        is_number = pd.api.types.is_numeric_dtype(table[name])
        if not is_number or np.isinf(table[name].to_numpy(np.float64)).any():
            raise InputError(
                "holds something else than finite numbers",
                where=f"{where}, column {one_line(name)}",
                fix="give numbers, or nothing where unknown",
            )


def _check_not_scored(table: pd.DataFrame, labels: tuple[str, ...], where: object) -> None:
    complete = ~table[output_columns(table, labels)].isna().to_numpy().any(1)
    wrong = complete & (reasons_of(table) != "")
    if wrong.any():
        raise InputError(
            f"says that {_name(table, wrong)} was not scored, but it has every score; {np.sum(wrong)} such in all",
            where=f"{where}, column {NOT_SCORED}",
            fix="leave the scores of such rows empty, or the reason",
        )


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
            fix=f"correct the labels: a scan with a bleed of any subtype has {whole} = 1",
        )


def check_weights(table: pd.DataFrame, *, where: object) -> None:
    """InputError where weights are no numbers from 0, are all 0 on a level, or differ too much to be added."""
    column = f"{where}, column {WEIGHT}"
    if not pd.api.types.is_numeric_dtype(table[WEIGHT]):
        raise InputError("holds something else than numbers", where=column, fix="give numbers")
    weights, is_scan = table[WEIGHT].to_numpy(np.float64), (table["slice"] == "").to_numpy()
    wrong = ~((weights >= 0) & np.isfinite(weights))
    if wrong.any():
        raise InputError(
            f"weight {weights[wrong][0]:g} for {_name(table, wrong)}, {np.sum(wrong)} such in all",
            where=column,
            fix="give a number from 0 in every row",
        )
    for level, rows in (("slice", ~is_scan), ("scan", is_scan)):
        if rows.any() and not weights[rows].any():
            raise InputError(f"is 0 in every {level} row", where=column, fix="give weights above 0, or no such column")
        counting = weights[rows & (weights > 0)]
        if counting.size and MAX_WEIGHT_RATIO * scaled_weights(counting).min() < 1:
            raise InputError(
                f"has {level} rows of weights from {counting.min():g} to {counting.max():g}",
                where=column,
                fix=f"give weights that differ by a factor of less than {MAX_WEIGHT_RATIO:g}, and 0 to rows that do "
                "not count",
            )
    several = table.groupby(SCAN_ID)[WEIGHT].transform("nunique").to_numpy() > 1
    if several.any() and not is_scan.any():
        raise InputError(
            f"two values for {_name(table, several)}, whose scan has no row of its own",
            where=column,
            fix="give the slices of a scan one weight, or add scan rows",
        )


def _check_rows(table: pd.DataFrame, where: object) -> None:
    twice = table.duplicated(ROW_ID).to_numpy()
    if twice.any():
        raise InputError(
            f"two rows for {_name(table, twice)}, {np.sum(twice)} such in all",
            where=where,
            fix="keep one row for each patient, study, series and slice, or add the columns that tell them apart",
        )
    splits = table[["patient", "split"]].drop_duplicates()
    shared = splits[splits.duplicated("patient", keep=False)]
    if len(shared):
        patient = shared["patient"].iloc[0]
        found = " and ".join(sorted(shared.loc[shared["patient"] == patient, "split"]))
        raise InputError(
            f"patient {patient} is in the splits {found}, {shared['patient'].nunique()} such in all",
            where=where,
            fix="split by patient",
        )
    is_scan = (table["slice"] == "").to_numpy()
    if is_scan.any():
        scans = pd.MultiIndex.from_frame(table.loc[is_scan, SCAN_ID])
        alone = ~is_scan & ~pd.MultiIndex.from_frame(table[SCAN_ID]).isin(scans)
        if alone.any():
            raise InputError(
                f"{_name(table, alone)} has no row for its scan, others have one",
                where=where,
                fix="give a scan row (empty slice) for every scan, or for none",
            )


def _name(table: pd.DataFrame, rows: np.ndarray) -> str:
    first = table.iloc[int(np.flatnonzero(rows)[0])]
    return ", ".join(f"{name} {first[name]}" for name in ROW_ID if first[name])
