"""What a probe found, by draw of training patients and by share of them."""

from dataclasses import asdict, dataclass, field
from typing import Any

import pandas as pd

from ichformer.statistics.intervals import Estimate
from ichformer.statistics.probes.collapse import Collapse
from ichformer.statistics.probes.fits import Draw, ProbeMethod, ShareOfPatients, by_share


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
      method: "ridge" or "knn".
      dimensions: features of each scan.
      seed: of the draws.
      train: the scans that probes were fitted on.
      test: the scans that they were evaluated on.
      draws: by share, the smallest first; the last one takes all training patients.
      auroc: of the probe on all training patients, with its 95 % interval over test patients.
      collapse: measures of the training scans' features; None of fewer than two scans.
      predictions: a table of predictions of the test scans by the probe on all training patients, as ``compare`` takes
        it. A score of the ridge regression is mapped to a probability, which leaves the order of scans as it is.
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
        return by_share(self.draws)

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
