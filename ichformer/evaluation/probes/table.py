"""The table of features of scans: which columns it has, and its file, CSV or Parquet by the file's name.

It has one row a scan, or one row a slice, with the columns ``ID_COLUMNS``, the labels and the targets of the store,
``not_scored`` and one column for each feature. ``not_scored`` says why a scan is in no figure, "" where it is in them.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float64

from ichformer.errors import InputError
from ichformer.evaluation.tables.parquet import check_parquet, write_parquet
from ichformer.files.csv_fields import write_csv
from ichformer.files.writing import check_folder

FEATURE_PREFIX = "feature_"
"""The name of a column of features begins with it, a number from 0 follows."""

SUFFIXES = (".csv", ".parquet")
"""Of the files that ``write_features`` writes."""


def feature_names(count: int) -> list[str]:
    """The names of the columns of ``count`` features."""
    return [f"{FEATURE_PREFIX}{number:04d}" for number in range(count)]


def features_in(table: pd.DataFrame) -> Float64[np.ndarray, "n d"]:
    """The features of a table, in the order of their columns."""
    return table[[name for name in table if str(name).startswith(FEATURE_PREFIX)]].to_numpy(np.float64)


def check_place(path: Path) -> None:
    """Check that a table of features can be written there, before work begins.

    Raises:
      InputError: the name ends neither in .csv nor in .parquet, pyarrow is missing, or there is no place for the file.
    """
    if path.suffix not in SUFFIXES:
        raise InputError("is no name of a table", where=path, fix="let it end in .parquet or .csv")
    if path.suffix == ".parquet":
        check_parquet(path)
    if path.is_dir():
        raise InputError("is a folder", where=path, fix="name a file")
    check_folder(path.parent)


def write_features(table: pd.DataFrame, path: Path) -> None:
    """Write a table of features, whole or not at all; its folder is made where it is not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        write_parquet(table, path)
    else:
        # As an array: numbers in float32 are then written with the digits that they have.
        write_csv({str(name): list(table[name].to_numpy()) for name in table}, path)
