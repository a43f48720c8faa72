"""Tables of predictions of an imagined model."""

import numpy as np
import pandas as pd

from ichformer.evaluation.tables.checked import check_table
from ichformer.evaluation.tables.files import predictions_csv
from ichformer.evaluation.tables.table import columns
from ichformer.evaluation.thresholds import thresholds_json


def prediction_table(split="test", *, n_patients=60, n_slices=8, seed=0, prevalence=0.1, strength=2.5):
    """Slices of one scan a patient; labels cluster by patient, scores are calibrated roughly."""
    rng = np.random.default_rng(seed)
    rows = []
    for patient in range(n_patients):
        severity = np.exp(rng.normal())
        subtypes = rng.random((n_slices, 5)) < prevalence * severity
        labels = np.column_stack([subtypes, subtypes.any(axis=1)]).astype(np.float64)
        scores = 1 / (1 + np.exp(2 - strength * labels - rng.normal(size=labels.shape)))
        for i in range(n_slices):
            rows.append([f"{split}{patient}", "", "", str(i), "A", split, *labels[i], *scores[i]])
    return pd.DataFrame(rows, columns=columns())


def with_scan_rows(slices):
    """The same table with explicit scan rows that hold the maximum over slices."""
    numeric = columns()[6:]
    scans = slices.groupby(["patient", "study", "series", "site", "split"], as_index=False, sort=False)[numeric].max()
    return pd.concat([slices, scans.assign(slice="")[columns()]], ignore_index=True)


def write_predictions(table, path, *, labels=None):
    """The table checked and in a file, as an evaluation writes it."""
    path.write_bytes(predictions_csv(check_table(table, labels=labels)))
    return path


def write_thresholds(thresholds, path):
    """The thresholds in a file, as an evaluation writes it."""
    path.write_bytes(thresholds_json(thresholds))
    return path
