"""Finds leakage: patients, pixels or derived sets that are both in training and in test."""

import re
from collections.abc import Iterable

import numpy as np
import pandas as pd

from ichformer.errors import InputError, one_line

DERIVED_FROM = {"bhsd": "rsna2019", "hemseg200": "rsna2019", "mbhseg": "rsna2019", "bhx": "cq500"}
"""Origins whose scans are another's, in lower case without signs. BHSD: its files carry RSNA's identifiers. HemSeg-200:
Song et al., arXiv 2405.14559, section on data. MBH-Seg: the challenge on BHSD. BHX: boxes on CQ500."""

_FIXES = {
    "patient": "split by patient, and leave out of training whoever is in the test set",
    "study": "leave these studies out of training",
    "series": "leave these series out of training",
    "pixels": "the same scans under other names: leave them out of training",
    "origin": "these sets show the same patients under different names: leave one of them out",
}


def leaks(train: pd.DataFrame, test: pd.DataFrame) -> pd.Series:
    """Returns for each row of a training set why it leaks into a test set; "" where it does not.

    ``train[leaks(train, test) == ""]`` is what can be trained on. The reasons, of which the first that holds is given:
    "patient" and "study" of one origin are in both; "series" of any is; "pixels" are, as far as both have that column
    (the index of a store has it); "origin": the test set holds scans of an origin that is related to the
    row's, as BHSD is to RSNA 2019, but has names of its own, so that nobody can say which patients are the same.

    Stores of two keys call one patient by two names, and only pixels tell (``patients.apart_by_key``).

    Args:
      train: Study index, or the index of a store.
      test: the same of what is tested on.
    """
    reasons = pd.Series("", index=train.index, dtype=object)
    for kind in ("patient", "study", "series", "pixels"):
        shared = set().union(*_keys(test, kind))
        is_shared = np.array([bool(keys & shared) for keys in _keys(train, kind)], bool)
        reasons[(reasons == "") & is_shared] = kind
    tested = set(test["origin"])
    related = {origin for origin in set(train["origin"]) if _relatives(origin, tested)}
    reasons[(reasons == "") & train["origin"].isin(related)] = "origin"
    return reasons


def check_leakage(train: pd.DataFrame, test: pd.DataFrame) -> None:
    """Raises InputError if a row of the training set leaks into the test set; see ``leaks``."""
    reasons = leaks(train, test)
    for kind, fix in _FIXES.items():
        leaking = train[reasons == kind]
        if len(leaking):
            first = leaking.iloc[0]
            example = f"{one_line(first['series'])} ({one_line(first['origin'])}, {one_line(first['patient'])})"
            raise InputError(
                f"{len(leaking)} of {len(train)} series are in training and in test, such as {example}",
                where=kind,
                fix=fix,
            )


def _keys(index: pd.DataFrame, kind: str) -> list[set[str]]:
    """Returns the names of each row that must not occur in the other set: its patient, study, series or pixels."""
    if kind == "pixels":
        return [set(said.split()) for said in index["pixels"]] if kind in index else [set()] * len(index)
    if kind == "series":
        return [{name} for name in index["series"]]
    return [{f"{origin}/{name}"} if name else set() for origin, name in zip(index["origin"], index[kind], strict=True)]


def _relatives(origin: str, others: Iterable[str]) -> set[str]:
    """Returns the other origins whose scans come from the same set."""
    return {other for other in others if other != origin and _root(other) == _root(origin)}


def _root(origin: str) -> str:
    name = re.sub(r"[^a-z0-9]", "", origin.lower())
    while name in DERIVED_FROM:
        name = DERIVED_FROM[name]
    return name
