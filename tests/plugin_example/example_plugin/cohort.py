"""A cohort: NIfTI files of a hospital, and a table with a diagnosis for each."""

from pathlib import Path

import pandas as pd

import ichformer as ich


@ich.register_cohort("example_hospital")
def load(source, *, cache, labels=None):
    """The Study index: a row for each line of ``diagnoses.csv``, which has the columns file, patient and bleed."""
    del cache
    if labels is not None:
        raise ich.InputError("the labels lie with the scans", where=labels, fix="leave --labels out")
    table = pd.read_csv(Path(source) / "diagnoses.csv", dtype=str)
    return ich.make_index(
        {
            "cohort": "example_hospital",
            "origin": "example_hospital",
            "patient": row.patient,
            "patient_source": "table",
            "series": row.file,
            "path": str(Path(source).absolute() / row.file),
            "any": float(row.bleed),
        }
        for row in table.itertuples()
    )
