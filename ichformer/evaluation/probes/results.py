"""What a probe found, by draw of training patients and by share of them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd

from ichformer.evaluation.probes.collapse import Collapse
from ichformer.statistics.intervals import Estimate

ProbeMethod = Literal["ridge", "knn", "attentive"]


@dataclass(frozen=True, kw_only=True)
class Draw:
    """A probe that was fitted on some of the training patients.

    Attributes:
      fraction: share of the labelled training patients.
      number: of the draw of this share, from 1.
      patients: how many it took; 0 where none could be drawn.
      positive_patients: of them, those with a positive scan.
      scans: of these patients, with a known label.
      auroc: of the test scans; None where ``not_scored`` says why.
      penalty: of the squared weights; None for votes of neighbours.
      not_scored: why there is no AUROC, "" where there is one.
    """

    fraction: float
    number: int
    patients: int
    positive_patients: int
    scans: int
    auroc: float | None
    penalty: float | None
    not_scored: str


@dataclass(frozen=True, kw_only=True)
class ShareOfPatients:
    """All draws of one share of the training patients.

    Attributes:
      fraction: the share.
      patients: in each draw.
      draws: how many there are.
      scored: how many of them have an AUROC.
      mean_auroc: mean over the scored ones; None where there is none.
      spread: standard deviation over the scored ones; None of fewer than two.
      not_scored: why the others have none, each reason once.
    """

    fraction: float
    patients: int
    draws: int
    scored: int
    mean_auroc: float | None
    spread: float | None
    not_scored: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Counts:
    """The scans with a known label of a split.

    Attributes:
      split: its name.
      scans: how many there are.
      patients: they belong to.
      positive_patients: of them, those with a positive scan.
      left_out: further scans of the split that cannot be scored, such as those without a brain.
    """

    split: str
    scans: int
    patients: int
    positive_patients: int
    left_out: int


@dataclass(frozen=True, kw_only=True, repr=False)
class ProbeResult:
    """What a simple classifier reads from frozen features.

    Attributes:
      label: that was probed.
      method: "ridge", "knn" or "attentive".
      dimensions: features of each scan.
      seed: of the draws.
      train: the scans that probes were fitted on.
      test: the scans that they were evaluated on.
      draws: by share, the smallest first; the last one takes all training patients.
      auroc: of the probe on all training patients, with its 95 % interval over test patients.
      collapse: measures of the training scans' features; None of fewer than two scans.
      predictions: a table of predictions of the test scans by the probe on all training patients, as ``compare`` takes
        it. Scores that are no shares are mapped to probabilities, which leaves the order of scans as it is.
    """

    label: str
    method: ProbeMethod
    dimensions: int
    seed: int
    train: Counts
    test: Counts
    draws: tuple[Draw, ...]
    auroc: Estimate
    collapse: Collapse | None
    predictions: pd.DataFrame = field(compare=False)

    def __repr__(self) -> str:
        """Two lines: what was probed, and the AUROC on all training patients."""
        value, interval = self.auroc.value, self.auroc.interval
        ends = "" if interval is None else f" ({interval.low:.3f}-{interval.high:.3f})"
        found = "not scored" if value is None else f"{value:.3f}{ends}"
        return (
            f"ProbeResult: {self.method} on {self.dimensions} features, {self.train.patients} training patients\n"
            f"             scan AUROC {self.label} {found}"
        )

    @property
    def shares(self) -> tuple[ShareOfPatients, ...]:
        """The draws by share of the training patients."""
        fractions = dict.fromkeys(draw.fraction for draw in self.draws)
        return tuple(_share([draw for draw in self.draws if draw.fraction == fraction]) for fraction in fractions)

    def to_json(self) -> dict[str, Any]:
        """Plain values, without the predictions."""
        return {
            "label": self.label,
            "method": self.method,
            "dimensions": self.dimensions,
            "seed": self.seed,
            "train": asdict(self.train),
            "test": asdict(self.test),
            "shares": [asdict(share) for share in self.shares],
            "draws": [asdict(draw) for draw in self.draws],
            "auroc": asdict(self.auroc),
            "collapse": None if self.collapse is None else asdict(self.collapse),
        }


def _share(draws: Sequence[Draw]) -> ShareOfPatients:
    scored = [draw.auroc for draw in draws if draw.auroc is not None]
    return ShareOfPatients(
        fraction=draws[0].fraction,
        patients=draws[0].patients,
        draws=len(draws),
        scored=len(scored),
        mean_auroc=float(np.mean(scored)) if scored else None,
        spread=float(np.std(scored, ddof=1)) if len(scored) > 1 else None,
        not_scored=tuple(dict.fromkeys(draw.not_scored for draw in draws if draw.not_scored)),
    )
