"""What was found about a model's explanations on validation: which of them say more than maps that know nothing of it.

The file lies in the folder of the run, beside its thresholds.
"""

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from ichformer.files.json_files import Count, Line, read_of_model

EXPLANATIONS_NAME = "explanations.json"
"""The file in the folder of a run."""

FORMAT = "ichformer explanations 1"
"""First field of the file."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A mean over scans with its 95 % interval over patients; the ends are None where there is no interval."""

    value: float
    low: float | None
    high: float | None

    def __str__(self) -> str:
        ends = "no interval" if self.low is None or self.high is None else f"{self.low:.2f} to {self.high:.2f}"
        return f"{self.value:.2f} ({ends})"


@dataclass(frozen=True, kw_only=True)
class CheckedMethod:
    """What a method's maps were found to be.

    Attributes:
      method: its name.
      level: whose score was explained.
      rows, columns: cells of its maps in a slice.
      gain: the symmetric relevance gain in logits (``flipping.FlippingCurves``), 0 for a random order.
      over_random: by how much the gain is larger than that of noise, scan by scan.
      over_edges: the same for the edges of the picture.
      in_lesion: in how many scans the highest voxel lies in the lesion; None where no scan has a mask.
    """

    method: Line
    level: Literal["scan", "slice"]
    rows: Count
    columns: Count
    gain: Figure
    over_random: Figure
    over_edges: Figure
    in_lesion: Figure | None

    @property
    def is_better(self) -> bool:
        """Whether it is better than both controls: the intervals of both differences lie above 0."""
        return all(one.low is not None and one.low > 0 for one in (self.over_random, self.over_edges))


@dataclass(frozen=True, kw_only=True)
class CheckedExplanations:
    """The methods of a model that were compared with controls.

    Attributes:
      split: on which split of a store.
      label: whose scores were explained.
      n_scans: positive scans that the model finds; others explain nothing.
      n_patients: of how many patients they are.
      methods: what was found.
      model: fingerprint of the model; "" where that is not known.
    """

    split: Line
    label: Line
    n_scans: Count
    n_patients: Count
    methods: tuple[CheckedMethod, ...]
    model: Line = ""

    @property
    def better(self) -> tuple[CheckedMethod, ...]:
        """Those that are better than both controls, the one with the largest gain first."""
        return tuple(sorted((one for one in self.methods if one.is_better), key=lambda one: -one.gain.value))


def checked_values(checked: CheckedExplanations) -> dict[str, Any]:
    """What the file holds, with a sentence that explains it."""
    how = (
        "Voxels of each scan were replaced by the mean of their neighbours in the order of a map and in the opposite "
        "order; gain is the difference of the mean scores on the way, in logits. A method is better than its controls, "
        "noise and the edges of the picture, where the intervals of both differences lie above 0."
    )
    return {"format": FORMAT, "how": how, **asdict(checked)}


def read_checked(path: str | os.PathLike[str], *, model: str = "") -> CheckedExplanations:
    """Read the file.

    Args:
      path: the file.
      model: fingerprint of the model that it is meant for; "" where that is not known.

    Raises:
      InputError: the file is something else, or is of another model.
    """
    fix = "delete it; `ichformer check-explanations` makes it again"
    return read_of_model(Path(path), CheckedExplanations, format_name=FORMAT, model=model, fix=fix)
