"""RSNA Intracranial Hemorrhage Detection 2019, as it comes from Kaggle: a flat folder of 750,000 files and one CSV.

Flanders et al., Radiology: Artificial Intelligence 2(3), 2020;
https://www.kaggle.com/competitions/rsna-intracranial-hemorrhage-detection, under the rules of that competition. The set
names no sites, and only its training part has labels.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
from jaxtyping import Float64

from ichformer import LABELS
from ichformer.cohorts.index import make_index
from ichformer.cohorts.tables import SLICE_COLUMNS, find_below, read_table, scan_labels, write_table
from ichformer.ct.io.dicom.dicom_file import DicomFile, quiet_pydicom
from ichformer.errors import InputError, one_line
from ichformer.files.writing import path_text, text_path
from ichformer.process.workers import map_processes

_CSV = "stage_2_train.csv"
_FOLDERS = ("stage_2_train", "stage_2_train_images")
_HEADER_COLUMNS = ("file", "slice", "patient", "study", "series")
_TAGS = ("SOPInstanceUID", "PatientID", "StudyInstanceUID", "SeriesInstanceUID")
_CHUNK = 2000


def load(source: Path | str, *, cache: Path | str, labels: Path | str | None = None) -> pd.DataFrame:
    """Returns the Study index of the training part; labels of a series are the maximum over its slices.

    The headers of all files are read once, in parallel, and kept in ``cache`` as ``rsna2019_headers.csv``; later calls
    read those of new files only. Files without labels and labels without files are allowed, so that a part of the set
    can be used: the first are unknown, the second are left out.

    Args:
      source: the folder of ``stage_2_train.csv`` and ``stage_2_train``; it is only read.
      cache: where tables are written.
      labels: another CSV in the same form.

    Raises:
      InputError: CSV or folder not found, rows that contradict each other, a file whose header cannot be read.
    """
    source, cache = Path(source), Path(cache)
    csv = Path(labels) if labels is not None else _find(source, (_CSV,))
    folder = _find(source, _FOLDERS)
    headers = _headers(folder, cache / "rsna2019_headers.csv")
    names, values = _read_labels(csv)
    position = pd.Series(np.arange(len(names)), index=names).reindex(headers["slice"]).to_numpy()
    if np.isnan(position).all():
        raise InputError(
            f"labels none of the {len(headers)} files of {folder.name}", where=csv, fix="use both of one set"
        )
    by_slice = np.full((len(headers), len(LABELS)), np.nan)
    has_label = ~np.isnan(position)
    by_slice[has_label] = values[position[has_label].astype(int)]

    slice_path = cache / "rsna2019_slices.csv"
    table = headers.assign(**dict(zip(LABELS, by_slice.T, strict=True)))
    write_table(table[list(SLICE_COLUMNS)], slice_path)
    rows = []
    for series, of_series in headers.groupby("series").indices.items():
        first = headers.iloc[of_series[0]]
        row = {"cohort": "rsna2019", "origin": "rsna2019", "patient": first["patient"], "patient_source": "header"}
        row |= {
            "study": first["study"],
            "series": series,
            "path": str(folder.absolute()),
            "slice_labels": str(slice_path.absolute()),
        }
        rows.append(row | dict(zip(LABELS, scan_labels(by_slice[of_series]).tolist(), strict=True)))
    return make_index(rows)


def _find(source: Path, names: tuple[str, ...]) -> Path:
    if path := find_below(source, names):
        return path
    raise InputError(
        f"holds no {' or '.join(names)}",
        where=source,
        fix="name the folder into which the Kaggle archive was unpacked",
    )


def _read_labels(path: Path) -> tuple[pd.Index, Float64[np.ndarray, "n labels"]]:
    """Image identifiers and their labels, from rows ``ID_<hex>_<label>,<0 or 1>``. The file repeats some rows."""
    table = read_table(path, columns=("ID", "Label")).drop_duplicates(["ID", "Label"])
    parts = table["ID"].str.rsplit("_", n=1)
    label = parts.str[1].map({name: k for k, name in enumerate(LABELS)}).fillna(-1).astype(int).to_numpy()
    wrong = (label < 0) | ~table["Label"].isin(["0", "1"]).to_numpy()
    twice = table["ID"].duplicated().to_numpy()
    for bad, what in ((wrong, "is no label of 0 or 1"), (twice, "is both 0 and 1")):
        if bad.any():
            row = table[bad].iloc[0]
            raise InputError(
                f"{one_line(row['ID'])},{one_line(row['Label'])} {what}", where=path, fix="download it again"
            )
    image, names = pd.factorize(parts.str[0])
    values = np.full((len(names), len(LABELS)), np.nan)
    values[image, label] = (table["Label"] == "1").to_numpy(np.float64)
    incomplete = np.isnan(values).any(1)
    if incomplete.any():
        name = one_line(names[int(incomplete.argmax())])
        raise InputError(f"{name} has not all of the six labels", where=path, fix="download it again")
    return pd.Index(names), values


def _headers(folder: Path, cached: Path) -> pd.DataFrame:
    """One row per file: its name, and the identifiers in its header. Sorted by file."""
    files = sorted(path_text(entry.name) for entry in os.scandir(folder) if entry.name.endswith(".dcm"))
    if not files:
        raise InputError("holds no .dcm files", where=folder, fix="unpack the Kaggle archive")
    columns = list(_HEADER_COLUMNS)
    known = (
        read_table(cached, columns=columns)[columns] if cached.exists() else pd.DataFrame(columns=columns, dtype=str)
    )
    known = known[known["file"].isin(files)]
    new = sorted(set(files) - set(known["file"]))
    if not new:
        return known.sort_values("file", ignore_index=True)
    rows = list(_read_headers([str(text_path(str(folder / name))) for name in new]))
    for row in rows:
        if not row["series"] or not row["slice"]:
            raise InputError("has no readable header", where=folder / row["file"], fix="download the file again")
    headers = pd.concat([known, pd.DataFrame(rows, columns=columns)]).sort_values("file", ignore_index=True)
    write_table(headers, cached)
    return headers


def _read_headers(files: list[str]) -> Iterator[dict[str, str]]:
    chunks = [files[first : first + _CHUNK] for first in range(0, len(files), _CHUNK)]
    for rows in map_processes(_read_chunk, chunks, desc="headers", unit="file", sizes=list(map(len, chunks))):
        yield from rows


def _read_chunk(files: list[str]) -> list[dict[str, str]]:
    """Identifiers of each file; "" throughout where a header cannot be read."""
    rows = []
    with quiet_pydicom():
        for file in files:
            try:
                with open(file, "rb") as opened, DicomFile(opened) as bounded:
                    dataset = pydicom.dcmread(bounded, specific_tags=list(_TAGS), stop_before_pixels=True, force=True)
                said = [one_line(dataset.get(tag) or "") for tag in _TAGS]
            except Exception:  # pydicom raises whatever its parser stumbles over; the caller names the file
                said = [""] * len(_TAGS)
            rows.append(dict(zip(_HEADER_COLUMNS, [path_text(os.path.basename(file)), *said], strict=True)))
    return rows
