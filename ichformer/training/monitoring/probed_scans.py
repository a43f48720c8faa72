"""The labelled scans by which a pretraining is watched: few, and the same ones throughout a run and in every run."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float64, Int64

from ichformer.errors import InputError
from ichformer.pipeline.store.records import Store
from ichformer.statistics.probes.draws import draw_patients, why_not_drawn
from ichformer.statistics.probes.fits import FRACTIONS

FITTED, SCORED = "train", "val"
"""The splits that probes are fitted on and scored on; "test" is for the end."""

_MOST = {FITTED: 200, SCORED: 100}
"""Patients of each split: of 200, 1 % are the two that a probe needs."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ProbedScans:
    """One scan each of some patients of the splits ``FITTED`` and ``SCORED``.

    Attributes:
      label: what is known of each of them: the main label of the store.
      fitted: rows of the store's index, ascending.
      scored: rows of the store's index, ascending.
      fitted_labels: 1 or 0 for each of ``fitted``.
      scored_labels: 1 or 0 for each of ``scored``.
    """

    label: str
    fitted: Int64[np.ndarray, " fitted"]
    scored: Int64[np.ndarray, " scored"]
    fitted_labels: Float64[np.ndarray, " fitted"]
    scored_labels: Float64[np.ndarray, " scored"]

    @property
    def rows(self) -> Int64[np.ndarray, " n"]:
        """The scored ones, then the fitted ones."""
        return np.concatenate([self.scored, self.fitted])

    def __str__(self) -> str:
        """One line: how many scans there are, and which shares of the labels are too small for a probe."""
        positive = self.fitted_labels == 1
        why = {f"{100 * share:g} %": why_not_drawn(positive, share) for share in FRACTIONS}
        reasons = [f"{share} is not scored. {reason}" for share, reason in why.items() if reason]
        fitted = f"fitted on {len(self.fitted)} patients of {FITTED!r}, {positive.sum()} positive"
        scored = f"scored on {len(self.scored)} of {SCORED!r}, {int(self.scored_labels.sum())} positive"
        return " ".join([f"probes of {self.label} are {fitted}, and {scored}.", *reasons])


def choose_scans(store: Store) -> ProbedScans:
    """The first labelled scan of each patient of both splits; of many patients a part with as many positives.

    Raises:
      InputError: a split is not there, or it has no scans with or none without the store's main label.
    """
    label = store.label_set.main
    if label not in store.label_set.names:
        raise InputError(
            f"has no label to probe, only {', '.join(store.label_set.targets)}",
            where=store.path,
            fix="leave out --probe-every",
        )
    fitted, scored = (_of_split(store, label, split) for split in (FITTED, SCORED))
    labels = store.index[label].to_numpy(np.float64)
    return ProbedScans(
        label=label, fitted=fitted, scored=scored, fitted_labels=labels[fitted], scored_labels=labels[scored]
    )


def _of_split(store: Store, label: str, split: str) -> Int64[np.ndarray, " n"]:
    index = store.index
    of_split = pd.DataFrame(index[(index["split"] == split).to_numpy() & index[label].notna().to_numpy()])
    scans = of_split.drop_duplicates(["origin", "patient"])
    positive = (scans[label] == 1).to_numpy(bool)
    if positive.all() or not positive.any():  # also where there is none
        raise InputError(
            f"the split {split!r} has {positive.sum()} patients with and {(~positive).sum()} without {label}",
            where=store.path,
            fix=f"prepare it with labelled scans of both kinds in {split!r}, or leave out --probe-every",
        )
    share = min(1.0, _MOST[split] / len(scans))
    drawn = draw_patients(positive, share, seed=0, number=1)
    return scans.index.to_numpy(np.int64)[drawn]
