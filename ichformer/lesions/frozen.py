"""What is fixed on validation for a run's lesion map: a threshold for each label, and how far its volumes are off."""

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec

from ichformer.files.json_files import Count, Line, read_of_model
from ichformer.lesions.volumes import VolumeClass

LESIONS_NAME = "lesions.json"
"""The file in the folder of a run."""

FORMAT = "ichformer lesions 1"
"""First field of the file."""

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
"""A probability, or a part of a whole."""


@dataclass(frozen=True, kw_only=True)
class FrozenLabel:
    """The threshold of one label.

    Attributes:
      label: which label.
      threshold: a voxel belongs to a lesion where its probability is at least this.
      dice: the mean Dice of the validation scans at the threshold (``evaluation.lesions.fixing.fix_threshold``).
      n: validation scans on which it was chosen.
      n_positive: how many of them have a lesion.
      volume_classes: for the intervals of volumes (``volumes.fit_volume_classes``).
    """

    label: Line
    threshold: Share
    dice: Share
    n: Count
    n_positive: Count
    volume_classes: tuple[VolumeClass, ...] = ()


@dataclass(frozen=True, kw_only=True)
class FrozenLesions:
    """The thresholds of a model's lesion map, and the split on which they were chosen.

    Attributes:
      split: its name.
      n_patients: how many patients it has.
      labels: those with a threshold.
      model: fingerprint of the model; "" where that is not known.
    """

    split: Line
    n_patients: Count
    labels: tuple[FrozenLabel, ...]
    model: Line = ""

    @property
    def by_label(self) -> dict[str, FrozenLabel]:
        """The labels by their names."""
        return {one.label: one for one in self.labels}


def frozen_values(frozen: FrozenLesions) -> dict[str, Any]:
    """What the file holds, with a sentence that explains it."""
    how = (
        "Chosen on the split named here and frozen; a voxel belongs to a lesion where its probability is at least "
        "threshold."
    )
    return {"format": FORMAT, "how": how, **asdict(frozen)}


def read_frozen_lesions(path: str | os.PathLike[str], *, model: str = "") -> FrozenLesions:
    """Read the file.

    Args:
      path: the file.
      model: fingerprint of the model that it is meant for; "" where that is not known.

    Raises:
      InputError: the file is something else, or is of another model.
    """
    fix = "delete it; `ichformer evaluate` chooses the thresholds of lesions again"
    return read_of_model(Path(path), FrozenLesions, format_name=FORMAT, model=model, fix=fix)
