"""Tables: predictions as CSV and Parquet, a folder's labels, a Study index, labels of slices."""

import csv
import io
import shutil
from pathlib import Path

import numpy as np
import pandas as pd

from experiments.fuzzing.kind import Kind, Source
from experiments.fuzzing.mutations import by_name, special_or_any
from ichformer import LABELS
from ichformer.cohorts.folder.adapter import read_folder
from ichformer.cohorts.index import read_index
from ichformer.cohorts.tables import read_slice_table, write_table
from ichformer.ct.io.dicom.series import find_series
from ichformer.evaluation.tables.checked import check_table
from ichformer.evaluation.tables.files import predictions_csv
from ichformer.evaluation.tables.table import columns
from ichformer.reporting.evaluation.folder import FILES
from ichformer.workflows.evaluate_table import evaluate

_CELLS = (
    *(
        "",
        " ",
        "nan",
        "NA",
        "-nan",
        "inf",
        "-inf",
        "1e308",
        "-1e308",
        "1e-320",
        "1e999",
        "1" + "0" * 5000,
        "0x1",
        "1_0",
    ),
    *(
        "0,5",
        "1.5",
        "-1",
        "2",
        "0.1e",
        "true",
        "None",
        "\u0661",
        "\uff11",
        "=1+1",
        "=cmd|' /C calc'!A0",
        "+1",
        "@SUM(A1)",
    ),
    *(
        "-2+3",
        '"',
        '""',
        "'",
        "a\0b",
        "\0",
        "a,b",
        "a;b",
        "a\tb",
        "a\nb",
        "\r",
        "\x1b[31m",
        "\u202ex",
        "\ufeff",
        "x" * 200_000,
    ),
    *("../../x", "/etc/passwd", "<script>alert(1)</script>", "patient", "scan", "test", "val", "0", "1", "0.5", "P1"),
)


def _rows(data: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(data.decode())))


def _text(rows: list[list[str]], separator: str = ",") -> bytes:
    made = io.StringIO()
    csv.writer(made, delimiter=separator, lineterminator="\n").writerows(rows)
    return made.getvalue().encode()


def csv_cell(rng: np.random.Generator, data: bytearray) -> bytes:
    """A field, a row or a column of something else."""
    rows = _rows(bytes(data))
    value = _CELLS[int(rng.integers(len(_CELLS)))]
    row, column = int(rng.integers(len(rows))), int(rng.integers(len(rows[0])))
    match int(rng.integers(4)):
        case 0:
            rows[row] = [value] * len(rows[row])
        case 1:
            rows = [
                [*cells[:column], value if i else cells[column], *cells[column + 1 :]] for i, cells in enumerate(rows)
            ]
        case _:
            rows[row][column] = value
    return _text(rows)


def csv_raw(rng: np.random.Generator, data: bytearray) -> bytearray:
    """A field put in as it stands, quotes and separators and all."""
    places = [i for i, byte in enumerate(data) if byte in b",\n"]
    at = places[int(rng.integers(len(places)))]
    return data[: at + 1] + _CELLS[int(rng.integers(len(_CELLS)))].encode() + data[at + 1 :]


def csv_shape(rng: np.random.Generator, data: bytearray) -> bytes:
    """Rows and columns that are gone, stand twice or many times, in another order, or are called otherwise."""
    rows = _rows(bytes(data))
    row, column = int(rng.integers(len(rows))), int(rng.integers(len(rows[0])))
    match int(rng.integers(7)):
        case 0:
            del rows[row]
        case 1:
            rows.insert(row, list(rows[int(rng.integers(len(rows)))]))
        case 2:
            rows = [[*cells[:column], *cells[column + 1 :]] for cells in rows]
        case 3:
            rows = [[*cells, cells[column]] for cells in rows]
        case 4:
            rows[0][column] = ("group_x", "weight", "not_scored", "slice", "", "\x1b", rows[0][0])[int(rng.integers(7))]
        case 5:
            rows = rows[: int(rng.integers(3))]
        case _:
            body = [rows[1 + int(i)] for i in rng.permutation(len(rows) - 1)]
            rows = [rows[0], *body]
    return _text(rows)


def csv_encoding(rng: np.random.Generator, data: bytearray) -> bytes:
    """Another separator, encoding or end of line."""
    rows, text = _rows(bytes(data)), bytes(data).decode()
    ways = (
        *(_text(rows, ";"), _text(rows, "\t"), _text(rows, "|"), text.encode("utf-16"), text.encode("utf-8-sig")),
        *(text.replace("\n", "\r").encode(), text.replace("\n", "\r\n").encode(), b"sep=;\n" + _text(rows, ";")),
        *(
            text.encode("utf-32"),
            text.replace("e", "\u00e9").encode("latin-1"),
            b"\n" * 5 + bytes(data),
            b"",
            b"\0" * 99,
        ),
    )
    return ways[int(rng.integers(len(ways)))]


def csv_many(rng: np.random.Generator, data: bytearray) -> bytes:
    """Thousands of sites, of slices, or of columns."""
    rows = _rows(bytes(data))
    head, body = rows[0], rows[1:]
    if rng.random() < 0.3:
        return _text([cells + [f"{cells[0]}{i}" for i in range(2000)] for cells in rows])
    column = int(rng.integers(len(head)))
    many = [list(body[i % len(body)]) for i in range(3000)] if body else []
    for i, cells in enumerate(many):
        cells[0] += str(i)
        cells[column] += str(i)
    return _text([head, *many])


CSV = by_name((csv_cell, csv_raw, csv_shape, csv_encoding, csv_many))


def predictions_of(rng: np.random.Generator, *, split: str, n_patients: int = 24, n_slices: int = 3) -> pd.DataFrame:
    """Slices of one scan a patient, of an imagined model."""
    rows = []
    for patient in range(n_patients):
        subtypes = rng.random((n_slices, 5)) < 0.3
        labels = np.column_stack([subtypes, subtypes.any(axis=1)]).astype(np.float64)
        scores = 1 / (1 + np.exp(2 - 2.5 * labels - rng.normal(size=labels.shape)))
        site = "AB"[patient % 2]
        rows += [[f"P{patient}", "", "", str(i), site, split, *labels[i], *scores[i]] for i in range(n_slices)]
    return pd.DataFrame(rows, columns=columns())


def write_bases(folder: Path, source: Source) -> None:
    """Each table as our own commands write it or as users do."""
    table = predictions_of(np.random.default_rng(0), split="test")
    weighted = table.assign(weight=1.0, not_scored="", group_age=np.where(table["site"] == "A", "old", "young"))
    for name in ("predictions", "weighted", "parquet", "labels", "index", "slices"):
        (folder / name).mkdir()
    for name, rows in (("predictions", table), ("weighted", weighted)):
        (folder / name / "predictions.csv").write_bytes(predictions_csv(check_table(rows)))
    weighted.to_parquet(folder / "parquet" / "predictions.parquet")
    write_table(source.index, folder / "index" / "index.csv")
    shutil.copyfile(source.index["slice_labels"].iloc[0], folder / "slices" / "slices.csv")
    lines = ["path,patient,split,site,age," + ",".join(LABELS)]
    for number, path in enumerate(source.index["path"].iloc[:2]):
        place = folder / "labels" / "scans" / str(number)
        place.mkdir(parents=True)
        for file in find_series(path).series[0].files[4:6]:
            shutil.copyfile(file, place / file.name)
        lines.append(f"scans/{number},P{number},train,A,40," + ",".join("010001"))
    (folder / "labels" / "labels.csv").write_text("\n".join(lines) + "\n")


def break_table(rng: np.random.Generator, folder: Path) -> str:
    """The table; a Parquet file by its bytes."""
    (file,) = [*folder.glob("*.csv"), *folder.glob("*.parquet")]
    name, mutation = special_or_any(rng, CSV, 0.8 if file.suffix == ".csv" else 0.0)
    file.write_bytes(mutation(rng, bytearray(file.read_bytes())))
    return name


def read_table(folder: Path) -> None:
    """As the command that takes such a table reads it; what is evaluated has to be written whole."""
    (file,) = [*folder.glob("*.csv"), *folder.glob("*.parquet")]
    match file.name:
        case "index.csv":
            read_index(file)
        case "slices.csv":
            read_slice_table(file)
        case "labels.csv":
            read_folder(folder / "scans", cache=folder / "cache", labels=file)
        case _:
            evaluate(file, labels=LABELS, replicates=20)
            evaluate(file, out=folder / "out", replicates=20, labels=("any",))  # most of its time goes into plots
            assert {written.name for written in (folder / "out").iterdir()} == set(FILES)


KIND = Kind(name="table", share=0.08, write=write_bases, damage=break_table, read=read_table)
