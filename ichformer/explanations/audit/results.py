"""What an audit says: of each cause over all scans, and of each scan which cause moved its score."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64

from ichformer.explanations.audit.effects import ALARM_SHARE, NAMED_SD, CauseFound


@dataclass(frozen=True, kw_only=True)
class ScanFound:
    """What an audit found of one scan.

    Attributes:
      series: as the store calls it.
      label: 1 or 0, None where unknown.
      logit: its score.
      effects: logits that each audited part adds to its score, against the mean over all scans.
      named: the cause that moved its score; "" where none of those that the model leans on did.
    """

    series: str
    label: int | None
    logit: float
    effects: dict[str, float]
    named: str


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """A scan that is in no figure, and why."""

    series: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Audit:
    """Whether a model leans on something that is not blood.

    Attributes:
      label: whose score was audited.
      split: of the store.
      replicates: resamples of patients behind each interval.
      seed: of exchanges and resamples.
      patients: how many.
      logit_sd: standard deviation of the scores over the scans, in logits.
      causes: in the order of ``causes.CAUSES``.
      scans: those that were audited.
      left_out: those that were not.
      scans_in_split: how many the split has; of more than ``MOST_SCANS`` of the workflow some were taken.
    """

    label: str
    split: str
    replicates: int
    seed: int
    patients: int
    logit_sd: float
    causes: tuple[CauseFound, ...]
    scans: tuple[ScanFound, ...]
    left_out: tuple[LeftOut, ...]
    scans_in_split: int

    @property
    def alarms(self) -> tuple[CauseFound, ...]:
        """The causes that the model leans on."""
        return tuple(found for found in self.causes if found.verdict == "leans")

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON; None is "not estimable"."""
        return {"leans": bool(self.alarms), "alarm_share": ALARM_SHARE, "named_sd": NAMED_SD, **asdict(self)}


def name_causes(effects: Mapping[str, Float64[np.ndarray, " n"]], logit_sd: float, n: int) -> list[str]:
    """For each of n scans the cause that moved its score most, "" where none moved it by ``NAMED_SD``.

    Args:
      effects: of the causes that the model leans on, logits of each scan.
      logit_sd: standard deviation of the scores.
      n: how many scans.
    """
    if not effects:
        return [""] * n
    names, sizes = list(effects), np.abs(np.stack(list(effects.values())))
    largest = sizes.argmax(axis=0)
    return [names[at] if size >= NAMED_SD * logit_sd else "" for at, size in zip(largest, sizes.max(0), strict=True)]
