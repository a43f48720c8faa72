"""What an adapter makes of the files of a cohort: its Study index, and what else is to be known of it."""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from ichformer.cohorts.index import check_index
from ichformer.errors import InputError, one_line
from ichformer.labels import SIX, LabelSet


@dataclass(frozen=True, kw_only=True)
class Cohort:
    """The scans of a cohort, as its adapter returns them.

    Example:
      >>> from ichformer.cohorts.index import make_index
      >>> own = LabelSet(names=("bleed", "fracture"), targets=("volume_ml",))
      >>> row = {"cohort": "mine", "origin": "mine", "patient": "1", "series": "1", "path": "/scans/1.nii.gz"}
      >>> cohort = Cohort(index=make_index([{**row, "bleed": 1.0, "volume_ml": 12.5}], label_set=own), label_set=own)
      >>> float(cohort.index["volume_ml"][0])
      12.5

    Attributes:
      index: the Study index; ``make_index`` makes one of rows.
      label_set: its labels and targets.
      notes: what a user should know about how the files were read, in whole sentences.
      warnings: what may be wrong with them, in whole sentences.
    """

    index: pd.DataFrame
    label_set: LabelSet = SIX
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def as_cohort(found: Any, *, where: str) -> Cohort:
    """What an adapter returned, checked: an index alone has the six labels.

    Args:
      found: what it returned.
      where: the cohort's name, for messages.

    Raises:
      InputError: it is neither an index nor a ``Cohort``, or the index does not follow its schema.
    """
    cohort = Cohort(index=found) if isinstance(found, pd.DataFrame) else found
    if not isinstance(cohort, Cohort) or not isinstance(cohort.index, pd.DataFrame):
        raise InputError(
            f"the adapter of this cohort returned {one_line(repr(found), max_chars=80)}",
            where=where,
            fix="let it return ichformer.make_index(...), or an ichformer.Cohort where the labels are not the six",
        )
    check_index(cohort.index, label_set=cohort.label_set, where=f"index of {where}")
    return cohort
