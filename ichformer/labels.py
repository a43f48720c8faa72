"""The label set of a store and of a run: which labels and quantities its scans have, in one order."""

import re
from dataclasses import dataclass

from ichformer import LABELS
from ichformer.errors import InputError, one_line

_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")

MAX_COLUMNS = 100
"""Of a label set."""

MAX_TARGET = 1e9
"""Largest size of a quantity, positive or negative: with its unit in its name it is never near that."""

RESERVED = frozenset(
    (
        *("cohort", "site", "patient", "patient_source", "patient_key", "study", "series", "slice", "file", "path"),
        *("split", "origin", "slice_labels", "mask", "boxes", "line", "order", "weight", "not_scored"),
        *("n_slices", "height", "width", "has_mask", "boxed_labels", "pixels", "shard", "bytes", "sha256"),
    )
)
"""Columns of the tables in which labels stand."""

RESERVED_PREFIXES = ("group_", "score_", "pred_", "feature_")
"""Of columns of the same tables: subgroups, scores of labels, predictions of targets, and features."""


@dataclass(frozen=True, kw_only=True)
class LabelSet:
    """The labels and the regression targets of scans, in the order of the last axis of labels, logits and scores.

    Example:
      >>> found = LabelSet(names=("bleed", "fracture"), targets=("volume_ml",))
      >>> found.columns
      ('bleed', 'fracture', 'volume_ml')
      >>> LabelSet().is_default
      True

    Attributes:
      names: labels that are yes or no: 1, 0 or NaN (unknown). The six of RSNA 2019 by default.
      targets: quantities, with the unit in the name (``volume_ml``, ``shift_mm``, ``age_years``): a number or NaN.

    Raises:
      InputError: no name or more than ``MAX_COLUMNS``, one that occurs twice or is ``RESERVED``, or one that is no
        lower-case word of letters, digits and "_".
    """

    names: tuple[str, ...] = LABELS
    targets: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """InputError for names that cannot be columns of a table."""
        if not self.columns:
            raise InputError("names no label and no target", where="label set", fix="name at least one")
        if len(self.columns) > MAX_COLUMNS:
            raise InputError(f"names {len(self.columns):,} columns", where="label set", fix=f"name up to {MAX_COLUMNS}")
        for name in self.columns:
            if not _NAME.fullmatch(name):
                raise InputError(
                    f"{one_line(name)!r} cannot name a label",
                    where="label set",
                    fix="use lower-case letters, digits and _, at most 40, beginning with a letter",
                )
            if name in RESERVED or name.startswith(RESERVED_PREFIXES):
                raise InputError(
                    f"{name} is the name of another column of the tables", where="label set", fix="choose another name"
                )
        if len(set(self.columns)) < len(self.columns):
            twice = next(name for name in self.columns if self.columns.count(name) > 1)
            raise InputError(f"names {twice} twice", where="label set", fix="name each once")

    @property
    def columns(self) -> tuple[str, ...]:
        """All names, the labels before the targets."""
        return (*self.names, *self.targets)

    @property
    def main(self) -> str:
        """The label that pictures and benchmarks show first: "any" where it is there, or else the first."""
        return "any" if "any" in self.names else self.columns[0]

    @property
    def is_default(self) -> bool:
        """Whether these are the six labels of RSNA 2019 and nothing else."""
        return self.has_subtypes and not self.targets

    @property
    def has_subtypes(self) -> bool:
        """Whether the labels are the six of RSNA 2019, of which "any" is the maximum of the others.

        In every other set no label implies another one.
        """
        return self.names == LABELS


SIX = LabelSet()
"""The six labels of RSNA 2019, which every store has unless it says otherwise."""
