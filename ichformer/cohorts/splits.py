"""Splits an index by patient and by site."""

import hashlib
import math
from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from ichformer.cohorts.index import SPLITS
from ichformer.errors import InputError
from ichformer.labels import SIX, LabelSet

FRACTIONS = {"train": 0.7, "val": 0.1, "test": 0.2}


def split_by_patient(
    index: pd.DataFrame, *, seed: int, fractions: Mapping[str, float] = FRACTIONS, label_set: LabelSet = SIX
) -> pd.DataFrame:
    """Returns a copy of the index with ``split`` set, all series of a patient in the same split.

    Patients are dealt out label by label, the rarest first, each to the split that lacks most of that label (iterative
    stratification, Sechidis et al. 2011, with the order of labels fixed). The order of patients is a hash of seed and
    patient, so the order of rows does not matter.

    Args:
      index: Study index.
      seed: another seed, another split.
      fractions: of the patients, by split; they add up to 1.
      label_set: of the index; its labels are divided evenly, its targets do not matter.
    """
    if (
        set(fractions) - set(SPLITS)
        or any(v < 0 for v in fractions.values())
        or not math.isclose(sum(fractions.values()), 1)
    ):
        raise InputError(f"found {dict(fractions)}", where="fractions", fix=f"give {', '.join(SPLITS)}, in all 1")
    names = [name for name in fractions if fractions[name] > 0]
    share = np.array([fractions[name] for name in names])
    dealt = _deal(index, share, seed, label_set)
    return index.assign(split=[names[part] for part in dealt])


def folds_by_patient(
    index: pd.DataFrame, *, folds: int, seed: int, val_fraction: float = 0.15, label_set: LabelSet = SIX
) -> Iterator[pd.DataFrame]:
    """Yields copies of the index in each of which another ``folds``-th of the patients is "test".

    Every series is in the test of one fold; the other patients are divided into "train" and "val". All parts are
    stratified as in ``split_by_patient``. InputError for fewer than two folds, or fewer patients than folds.
    """
    patients = _patients(index).nunique()
    if not 2 <= folds <= patients:
        raise InputError(
            f"{folds} folds of {patients} patients", where="folds", fix="take at least 2, and as many as patients"
        )
    dealt = _deal(index, np.full(folds, 1 / folds), seed, label_set)
    fractions = {"train": 1 - val_fraction, "val": val_fraction}
    for fold in range(folds):
        test = dealt == fold
        rest = split_by_patient(index[~test], seed=seed, fractions=fractions, label_set=label_set)
        split = pd.Series("test", index=index.index)
        split[~test] = rest["split"].to_numpy()
        yield index.assign(split=split)


def hold_out_site(
    index: pd.DataFrame, *, site: str, seed: int, val_fraction: float = 0.15, label_set: LabelSet = SIX
) -> pd.DataFrame:
    """Returns a copy of the index with one site as test, the others as train and val by patient.

    Series of other sites whose patient was also seen at the site get no split: they would leak into the test.
    """
    at_site = (index["site"] == site).to_numpy()
    if not at_site.any() or at_site.all():
        sites = ", ".join(sorted(set(index["site"]) - {""}))
        fix = f"choose one of several; there are: {sites}" if sites else "name the column of the sites: no scan has one"
        raise InputError(f"{site!r} cannot be held out", where="site", fix=fix)
    patients = _patients(index)
    seen = set(patients[at_site])
    elsewhere = np.array([patient not in seen for patient in patients])
    if not elsewhere.any():
        raise InputError("every patient was seen there", where=f"site {site}", fix="hold out another site")
    fractions = {"train": 1 - val_fraction, "val": val_fraction}
    rest = split_by_patient(index[elsewhere], seed=seed, fractions=fractions, label_set=label_set)
    split = pd.Series("", index=index.index)
    split[elsewhere] = rest["split"].to_numpy()
    split[at_site] = "test"
    return index.assign(split=split)


def leave_one_site_out(
    index: pd.DataFrame, *, seed: int, val_fraction: float = 0.15, label_set: LabelSet = SIX
) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yields each site with ``hold_out_site`` of it; series without a site are only trained on."""
    for site in sorted(set(index["site"]) - {""}):
        yield site, hold_out_site(index, site=site, seed=seed, val_fraction=val_fraction, label_set=label_set)


def split_warnings(index: pd.DataFrame, label_set: LabelSet = SIX) -> Iterator[str]:
    """Yields warnings about the splits of an index: empty splits, scans that are in none, labels of one value only."""
    counts = {split: int((index["split"] == split).sum()) for split in SPLITS}
    if empty := [split for split in SPLITS if not counts[split]]:
        n_patients = _patients(index).nunique()
        said = ", ".join(f"{split} {count}" for split, count in counts.items())
        yield (
            f"no scan is in the split {' or '.join(empty)} (scans: {said}). {len(index)} scans are of {n_patients} "
            f"patient{'s' * (n_patients != 1)}, and a patient stays in one split"
        )
    if without := int((index["split"] == "").sum()):
        yield f"{without} of {len(index)} scans are in no split"
    if one_sided := list(_one_sided(index, label_set)):
        yield (
            "labels with one value only, so that they cannot be learnt (train), get no threshold (val) or no figure "
            f"(test): {'; '.join(one_sided)}"
        )


def _one_sided(index: pd.DataFrame, label_set: LabelSet) -> Iterator[str]:
    """Labels of which the known scans of a split have one value only: "any is 1 in train and test"."""
    known = index[index["split"].isin(SPLITS)]
    for name in label_set.names:
        values = known.groupby("split", observed=True)[name].agg(["min", "max"]).dropna()
        for value in (0, 1):
            constant = (values["min"] == value) & (values["max"] == value)
            if splits := [split for split in SPLITS if constant.get(split, False)]:
                yield f"{name} is {value} in all of {' and '.join(splits)}"


def _patients(index: pd.DataFrame) -> pd.Series:
    """A key for each row's patient; numbers that two cohorts happen to share do not make one patient."""
    return index["origin"] + "/" + index["patient"]


def _deal(index: pd.DataFrame, share: np.ndarray, seed: int, label_set: LabelSet) -> np.ndarray:
    """The part of each row, all rows of a patient in the same one; parts get their ``share`` of every label."""
    patients = _patients(index)
    positive = (index[list(label_set.names)] == 1).groupby(patients).any()
    positive = positive.loc[sorted(positive.index, key=lambda patient: _hash(seed, patient))]
    # The last column holds every patient, so those without a positive label are dealt out by number alone.
    member = np.column_stack([positive.to_numpy(bool), np.ones(len(positive), bool)])
    lacking = member.sum(0)[:, None] * share
    part = np.full(len(member), -1)
    for label in np.argsort(member.sum(0), kind="stable"):
        for patient in np.flatnonzero(member[:, label] & (part < 0)):
            best = max(range(len(share)), key=lambda p: (lacking[label, p], lacking[-1, p], share[p]))
            part[patient] = best
            lacking[member[patient], best] -= 1
    chosen = dict(zip(positive.index, part, strict=True))
    return np.array([chosen[patient] for patient in patients])


def _hash(seed: int, patient: str) -> bytes:
    return hashlib.sha256(f"{seed}:{patient}".encode()).digest()
