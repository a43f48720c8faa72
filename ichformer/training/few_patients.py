"""What is trained on: one or several stores, or a share of their patients, as if there were no others."""

import dataclasses

import numpy as np
import pandas as pd
from jaxtyping import Float64, Int64

from ichformer.errors import InputError
from ichformer.pipeline.store.mixture import with_more
from ichformer.pipeline.store.records import Store
from ichformer.statistics.probes.draws import draw_patients, why_not_drawn
from ichformer.training.config import DataConfig

_SEED = 0
"""Of all draws. ``DataConfig.draw`` tells one from another, so that runs of several seeds can share their patients."""


def training_scans(store: Store, data: DataConfig) -> Store:
    """The store as a training sees it: with the scans of further stores, and with the drawn patients alone.

    Args:
      store: that of ``data.store``.
      data: says which further stores, which split, which share of its patients and which draw.

    Raises:
      InputError: see ``mixture.with_more`` and ``drawn_part``.
    """
    return drawn_part(with_more(store, data.more, split=data.split), data)


def drawn_part(store: Store, data: DataConfig) -> Store:
    """The store in which of the split that is trained on only the drawn patients are left.

    All that is asked of the split then follows: batches, known labels, statistics, the record of what was seen. The
    scans of the other patients are in no split, the other splits are as they were, and rows keep their numbers.

    Patients are drawn label by label: of those with a scan that is positive for "any" (``LabelSet.main``), of those
    without, and of those of whom it is unknown, the same share. At least one positive and one negative patient are
    left where there are some. The draw of a larger fraction holds that of a smaller one.

    Args:
      store: all prepared scans.
      data: says which split, which share of its patients and which draw.

    Raises:
      InputError: no such split, or a share that is too small for a patient of each class.
    """
    if data.fraction == 1:
        return store
    rows = store.rows(data.split)
    index = store.index.iloc[rows]
    # In the order of the store, which is the same whatever pseudonyms its patients have.
    patients = index.groupby(["origin", "patient"], sort=False).ngroup().to_numpy(np.int64)
    main = store.label_set.main
    labels = index[main] if main in store.label_set.names else pd.Series(np.nan, index=index.index)
    drawn = _drawn(_label_of_patients(labels.to_numpy(np.float64), patients), data)
    split = store.index["split"].to_numpy(copy=True)
    split[rows[~np.isin(patients, drawn)]] = ""
    return dataclasses.replace(store, index=store.index.assign(split=split))


def _drawn(labels: Float64[np.ndarray, " patients"], data: DataConfig) -> Int64[np.ndarray, " drawn"]:
    """The numbers of the patients that are drawn; their labels are 1, 0 or NaN."""
    known, unknown = np.flatnonzero(~np.isnan(labels)), np.flatnonzero(np.isnan(labels))
    positive = labels[known] == 1
    if positive.any() and not positive.all():
        if reason := why_not_drawn(positive, data.fraction):
            raise InputError(reason.rstrip("."), where="--data.fraction", fix="take a larger share")
        drawn = known[draw_patients(positive, data.fraction, seed=_SEED, number=data.draw)]
    else:
        drawn, unknown = known[:0], np.arange(len(labels))
    count = int(np.floor(len(unknown) * data.fraction + 0.5))
    more = np.random.default_rng([_SEED, data.draw]).permutation(unknown)[:count]
    if not len(drawn) + len(more):
        raise InputError(
            f"{100 * data.fraction:g} % of {len(labels)} patients are none",
            where="--data.fraction",
            fix="take a larger share",
        )
    return np.sort(np.concatenate([drawn, more]))


def _label_of_patients(
    labels: Float64[np.ndarray, " scans"], patients: Int64[np.ndarray, " scans"]
) -> Float64[np.ndarray, " patients"]:
    """1 for a patient with a positive scan, 0 for another with a known one, NaN for the rest."""
    positive, known = (np.bincount(patients, scans) > 0 for scans in (labels == 1, ~np.isnan(labels)))
    return np.where(positive, 1.0, np.where(known, 0.0, np.nan))
