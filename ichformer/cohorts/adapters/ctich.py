"""CT-ICH 1.3.1: 75 head CT scans after injury, from Al Hilla, Iraq, with labels and outlines on every slice.

Hssayeni et al., Data 5(1), 2020; https://physionet.org/content/ct-ich/1.3.1/, under the PhysioNet Restricted Health
Data License 1.5.0 (the paper names CC BY 4.0). The tables list 82 patients, 49 to 130; there are no scans of 59 to
65. Faces are blurred and overlaid with noise. Slices are 5 mm thick and lie along the last axis.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float64

from ichformer import LABELS
from ichformer.cohorts.adapters.voxels import nifti_files, slice_table
from ichformer.cohorts.csv_text import line_of
from ichformer.cohorts.index import make_index
from ichformer.cohorts.tables import (
    fill_any,
    find_below,
    parse_labels,
    read_table,
    scan_labels,
    write_left_out,
    write_table,
)
from ichformer.ct.io.nifti import slice_names
from ichformer.errors import InputError, one_line

_CSV = "hemorrhage_diagnosis_raw_ct.csv"
_NO_BLEED = "No_Hemorrhage"


def load(source: Path | str, *, cache: Path | str, labels: Path | str | None = None) -> pd.DataFrame:
    """Returns the Study index; the CSV labels slices, and a scan's labels are the maximum over its slices.

    Masks are 255 where there is blood, of whatever kind. ``ctich_slices.csv`` and, where rows and scan do not fit
    together, ``ctich_left_out.csv`` are written to ``cache``. Rows without a scan and scans without rows are allowed:
    the first are left out, the second unknown.

    Args:
      source: the folder of ``ct_scans/049.nii`` and so on, ``masks`` and ``hemorrhage_diagnosis_raw_ct.csv``.
      cache: where tables are written.
      labels: another CSV in the same form.

    Raises:
      InputError: no scans or CSV, or a row that makes no sense.
    """
    source, cache = Path(source), Path(cache)
    folder = find_below(source, ("ct_scans",))
    scans = {name: path for name, path in (nifti_files(folder) if folder else {}).items() if name.isdecimal()}
    csv = Path(labels) if labels is not None else find_below(source, (_CSV,))
    if folder is None or not scans or csv is None:
        what = _CSV if scans else "ct_scans/049.nii or the like"
        raise InputError(f"holds no {what}", where=source, fix="name the folder of CT-ICH 1.3.1")
    known = _read_labels(csv)
    table_path = cache / "ctich_slices.csv"
    rows, tables, left_out = [], [], {}
    for name, path in scans.items():
        series = f"ctich-{name}"
        try:
            names = slice_names(path)
            by_slice = _labels_of(names, known.get(int(name), {}), where=csv)
        except InputError as error:
            left_out[series] = str(error)
            continue
        tables.append(slice_table(series, names, by_slice))
        mask = folder.parent / "masks" / path.name
        row = {"cohort": "ctich", "origin": "ctich", "patient": series, "patient_source": "dataset", "series": series}
        row |= {
            "path": str(path.absolute()),
            "mask": str(mask.absolute()) if mask.is_file() else "",
            "slice_labels": str(table_path.absolute()),
        }
        rows.append(row | dict(zip(LABELS, scan_labels(by_slice).tolist(), strict=True)))
    write_left_out(left_out, cache / "ctich_left_out.csv")
    if not rows:
        raise InputError(
            f"no scan fits its rows; the first: {next(iter(left_out.values()))}",
            where=source,
            fix="use both of one set",
        )
    write_table(pd.concat(tables), table_path)
    return make_index(rows)


def _read_labels(path: Path) -> dict[int, dict[int, np.ndarray]]:
    """[6] labels by patient and slice, both numbered as the CSV does."""
    subtypes = {label: label.capitalize() for label in LABELS[:-1]}
    table = read_table(path, columns=("PatientNumber", "SliceNumber", *subtypes.values(), _NO_BLEED))
    table = table.rename(columns={said: label for label, said in subtypes.items()}).assign(any="")
    keys = [_numbers(table, name, where=path) for name in ("PatientNumber", "SliceNumber")]
    values = parse_labels(table, where=path)
    no_bleed = parse_labels(table.assign(any=table[_NO_BLEED]), where=path)[:, -1]
    known: dict[int, dict[int, np.ndarray]] = {}
    for row, (patient, number) in enumerate(zip(*keys, strict=True)):
        if patient is None and number is None:
            continue  # rows of nothing but commas
        where = f"{path}{line_of(table, row)}"
        if patient is None or number is None:
            raise InputError("lacks a patient or a slice", where=where, fix="complete the line or take it out")
        if (values[row] == 1).any() and no_bleed[row] == 1:
            raise InputError("says a subtype and No_Hemorrhage", where=where, fix="correct the line or take it out")
        labels = fill_any(np.append(values[row, :-1], 1 - no_bleed[row])[None])[0]
        if not np.array_equal(known.setdefault(patient, {}).setdefault(number, labels), labels, equal_nan=True):
            raise InputError("contradicts an earlier line", where=where, fix="keep one of them")
    return known


def _numbers(table: pd.DataFrame, name: str, *, where: Path) -> list[int | None]:
    texts = table[name].str.strip().str.removesuffix(".0")
    wrong = ~(texts.str.fullmatch(r"[0-9]{1,6}") | (texts == "")).to_numpy()
    if wrong.any():
        row = int(wrong.argmax())
        raise InputError(
            f"{name} is {one_line(table[name].iloc[row])!r}",
            where=f"{where}{line_of(table, row)}",
            fix="write a number",
        )
    return [int(text) if text else None for text in texts]


def _labels_of(names: tuple[str, ...], known: dict[int, np.ndarray], *, where: Path) -> Float64[np.ndarray, "s labels"]:
    """The labels of slices by their names, ``049.nii#1``; SliceNumber counts the slices of the file from 1."""
    numbers = [int(name.rsplit("#", 1)[1]) for name in names]
    if beyond := sorted(set(known) - set(numbers)):
        raise InputError(
            f"SliceNumber {beyond[0]}, but {names[0].rsplit('#', 1)[0]} has {len(names)} slices",
            where=where,
            fix="use both of one set",
        )
    unknown = np.full(len(LABELS), np.nan)
    return np.stack([known.get(number, unknown) for number in numbers])
