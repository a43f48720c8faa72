"""Records how the patient of each scan is known, and warns where the patient is uncertain.

Splits, leakage and every interval rest on the patient. Where the patient was guessed, nobody may say that two splits
share no patient.
"""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pandas as pd

PATIENT_SOURCES: Mapping[str, str] = {
    "dataset": "known from the description of the data set",
    "folder": "known from the scans' folders",
    "header": "known from the DICOM headers",
    "pattern": "known from a pattern on the scans' paths",
    "table": "known from the table of labels",
    "shared": "taken from a PatientID that may belong to several patients",
    "study": "guessed from StudyInstanceUIDs",
    "guessed": "guessed from file names",
    "unknown": "known in a way that was not recorded",
}
"""The values of the column ``patient_source`` of an index, in words. From "shared" on the patient is uncertain."""

UNCERTAIN = ("shared", "study", "guessed", "unknown")
"""The sources under which two patients can be one person, or one patient several people."""

_NAME_THEM = "name the patients with --patient-from or a column patient in the CSV of labels (--dataset folder)"
_PREPARE_AGAIN = "prepare the store again with this version, which records it"


@dataclass(frozen=True, kw_only=True)
class Patients:
    """The patients of an index.

    Attributes:
      n_scans: rows of the index.
      n_patients: patients; two of the same name from two origins are two.
      scans_by_source: scans by ``patient_source``, in the order of ``PATIENT_SOURCES``, without those of 0 scans.
      shared: how many PatientIDs may belong to several patients, their scans and the studies of these.
    """

    n_scans: int
    n_patients: int
    scans_by_source: dict[str, int]
    shared: tuple[int, int, int]

    @property
    def certain(self) -> bool:
        """Whether the patient of every scan is known for certain."""
        return not set(UNCERTAIN) & self.scans_by_source.keys()

    def known_from(self) -> str:
        """How the patients are known: "patients guessed from file names (3 of 5 scans), known from ..."."""
        said = [
            PATIENT_SOURCES[source]
            + ("" if scans == self.n_scans and source not in UNCERTAIN else f" ({scans} of {self.n_scans} scans)")
            for source, scans in self.scans_by_source.items()
        ]
        # What is uncertain comes first: it is what a reader has to know.
        return f"patients {'; '.join(reversed(said))}" if said else ""

    def warnings(self) -> Iterator[str]:
        """Yields warnings about a split by patient; nothing where every patient is known."""
        n_ids, n_scans, n_studies = self.shared
        if n_ids:
            yield (
                f"{'one PatientID stands' if n_ids == 1 else f'{n_ids} PatientIDs stand'} in {n_scans} scans of "
                f"{n_studies} studies, as anonymisers leave it. Each is taken for one patient and stays in one split, "
                f"but may be several people: {_NAME_THEM}"
            )
        for source in ("study", "guessed", "unknown"):
            if source in self.scans_by_source:
                yield (
                    f"patients {PATIENT_SOURCES[source]} ({self.scans_by_source[source]} of {self.n_scans} scans). "
                    "Scans of one person may lie in two splits, and intervals over patients may be too narrow: "
                    + (_PREPARE_AGAIN if source == "unknown" else _NAME_THEM)
                )


def count_patients(index: pd.DataFrame) -> Patients:
    """Counts the patients of a Study index, of the index of a store, or of the scans that a run has seen."""
    counts = index["patient_source"].value_counts()
    shared = index[index["patient_source"] == "shared"]
    return Patients(
        n_scans=len(index),
        n_patients=_distinct(index, "patient"),
        scans_by_source={source: int(counts[source]) for source in PATIENT_SOURCES if source in counts},
        shared=(_distinct(shared, "patient"), len(shared), _distinct(shared, "study")),
    )


def _distinct(index: pd.DataFrame, column: str) -> int:
    return len(index[["origin", column]].drop_duplicates())


def apart_by_key(trained: pd.DataFrame, evaluated: pd.DataFrame) -> str:
    """Returns why the patients of two sets of scans cannot be compared; "" where they can be.

    A store gives patients pseudonyms by a key (column ``patient_key``, "" for published names). One person has two of
    them under two keys, and another one again where an earlier ichformer named the patients of the same origin.
    """
    one, other = _keys(trained), _keys(evaluated)
    for (origin, key), (other_origin, other_key) in itertools.product(one, other):
        if key != other_key and (origin == other_origin or (key and other_key)):
            said = [f"the key {own}" if own else "no key" for own in (key, other_key)]
            return (
                f"the patients cannot be compared, as training scans were named with {said[0]}, evaluated ones with "
                f"{said[1]}: prepare both with one key (prepare --patient-key)"
            )
    return ""


def _keys(index: pd.DataFrame) -> list[tuple[str, str]]:
    """Returns each origin with each key that its patients are named with."""
    keys = index["patient_key"] if "patient_key" in index else pd.Series("", index=index.index)
    return sorted(set(zip(index["origin"], keys, strict=True)))


def same_nobody(trained: pd.DataFrame, evaluated: pd.DataFrame) -> str:
    """Describes in words whether two sets of scans share patients, after ``leakage.check_leakage`` passed.

    Only where the patient of every scan is known, and named with one key, it says that they share no patient and that
    this was checked.
    """
    sides = {"training": count_patients(trained), "evaluated": count_patients(evaluated)}
    said = [f"{name}: {side.known_from()}" for name, side in sides.items() if not side.certain]
    if apart := apart_by_key(trained, evaluated):
        found = "They share no pixels"
    elif said:
        found = "They share no series, no pixels, and no patient or study of the same name"
    else:
        return "training and evaluated scans share no patient, study, series or pixels, which was checked"
    reasons = "; ".join([*[apart] * bool(apart), *said])
    return f"it is not known whether training and evaluated scans share a patient; {reasons}. {found}"
