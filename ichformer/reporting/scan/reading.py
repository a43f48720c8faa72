"""What the report of a scan is made from: the series, and everything that a model said about it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ichformer.ct.audit import Note
from ichformer.ct.volume import Volume
from ichformer.evaluation.ood import UNUSUAL
from ichformer.evaluation.scorable import Reason
from ichformer.labels import SIX, LabelSet
from ichformer.reporting.scan.lesions import LesionReport

_FEW_SCANS = 20
"""Of fewer validation scans, one further out than all says little: it happens to more than one scan in 20."""


@dataclass(frozen=True, kw_only=True)
class Familiarity:
    """How a scan's distance from the training compares (``evaluation.ood``).

    Attributes:
      percentile: of the validation scans that are more like the training, in percent.
      scans: of validation.
    """

    percentile: float
    scans: int

    @property
    def is_unusual(self) -> bool:
        """Whether the scan lies outside what the model was trained on."""
        return self.percentile >= UNUSUAL

    def __str__(self) -> str:
        compared = f"{self.percentile:.0f} % of {self.scans} validation scans are more like the training than this one"
        if self.is_unusual and self.scans < _FEW_SCANS:
            return (
                f"This scan is less like the training than {self.percentile:.0f} % of the validation scans. They are "
                f"only {self.scans}, too few to say how unusual that is."
            )
        if self.is_unusual:
            return f"This scan lies outside what the model was trained on: {compared}. Its scores may mean nothing."
        return f"This scan looks like what the model was trained on: {compared}."


class ShownMap(NamedTuple):
    """A map over the slices of a scan, edge to edge.

    Attributes:
      is_of_lesions: whether it holds probabilities of a lesion, and not what raised a score.
      values: in [0, 1].
    """

    is_of_lesions: bool
    values: Float[np.ndarray, "s gh gw"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Reading:
    """One series with what a model said about it.

    Attributes:
      volume: the series as it was read; its slices are what the page shows.
      scan_scores: probability of each label for the scan, in the order of ``label_set``; NaN where none is given.
      slice_scores: the same for each slice of ``volume``.
      label_set: the labels and targets of the model.
      scan_targets: value of each target for the scan, in the target's unit; NaN where none is given.
      slice_targets: the same for each slice; the page does not show them.
      not_scored: why the scan has no score at all; None where it has some.
      remarks: sentences on scores that are doubtful or not given.
      thresholds: label -> probability of the scan that was frozen on validation; may be empty or lack labels.
      slice_thresholds: the same for slices.
      threshold_rule: how the thresholds were fixed, in words; "" where there are none.
      familiarity: None where the run does not know what its training looked like.
      heat_maps: label -> values in [0, 1], one grid a slice of ``volume`` that covers the slice edge to edge.
      heat_map_about: what is to be said of all heat maps: method, level, grid, and how true they were found to be.
      lesions: the lesions that a lesion map shows; None where the model has none.
      notes: what was found in the series and what was done about it, up to what the model saw.
      model: what is to be said about the model, fact -> value.
      identity: what is to be said about the patient, fact -> value; empty unless it was asked for.
    """

    volume: Volume
    scan_scores: Float[np.ndarray, "labels"]
    slice_scores: Float[np.ndarray, "s labels"]
    label_set: LabelSet = SIX
    scan_targets: Float[np.ndarray, "targets"] = field(default_factory=lambda: np.zeros(0))
    slice_targets: Float[np.ndarray, "s targets"] = field(default_factory=lambda: np.zeros((0, 0)))
    not_scored: Reason | None = None
    remarks: tuple[str, ...] = ()
    thresholds: Mapping[str, float] = field(default_factory=dict)
    slice_thresholds: Mapping[str, float] = field(default_factory=dict)
    threshold_rule: str = ""
    familiarity: Familiarity | None = None
    heat_maps: Mapping[str, Float[np.ndarray, "s gh gw"]] = field(default_factory=dict)
    heat_map_about: str = ""
    lesions: LesionReport | None = None
    notes: tuple[Note, ...] = ()
    model: Mapping[str, str] = field(default_factory=dict)
    identity: Mapping[str, str] = field(default_factory=dict)

    @property
    def maps(self) -> dict[str, tuple[ShownMap, ...]]:
        """The maps of each label that the page lays over the slices: its lesion map, then its heat map."""
        of_lesions = {} if self.lesions is None else self.lesions.maps
        labels = dict.fromkeys([*self.heat_maps, *of_lesions])
        return {
            label: tuple(
                ShownMap(is_of_lesions, maps[label])
                for is_of_lesions, maps in ((True, of_lesions), (False, self.heat_maps))
                if label in maps
            )
            for label in labels
        }
