"""The phantom cohort, as ``ichformer phantom`` writes it."""

from pathlib import Path

import pandas as pd

from ichformer.cohorts.index import read_index
from ichformer.errors import InputError


def load(source: Path | str, *, cache: Path | str, labels: Path | str | None = None) -> pd.DataFrame:  # noqa: ARG001
    """Returns the Study index of phantoms: the ``studies.csv`` in their folder.

    Args:
      source: the folder.
      cache: not needed.
      labels: not wanted, phantoms come with theirs.
    """
    if labels is not None:
        raise InputError("phantoms have labels of their own", where=labels, fix="leave it out")
    path = Path(source) / "studies.csv"
    if not path.is_file():
        raise InputError(
            "holds no studies.csv", where=source, fix="write phantoms there first: ichformer phantom --out"
        )
    return read_index(path).assign(patient_source="dataset")
