"""The scores of one scan, as Python users get them."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from ichformer.evaluation.scorable import Reason


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ScanPrediction:
    """The scores of one scan.

    Attributes:
      scan_scores: label -> probability for the whole scan, regression target -> value in its unit. It holds those that
        the run was trained for, and is empty where the scan cannot be scored.
      slice_scores: label or target -> that of each slice of the volume, float32 [S]; likewise.
      not_scored: why the scan cannot be scored; None where it can be.
      thresholds: label -> the frozen threshold of the scan's score; empty where the run has none.
      scan_targets: target -> the predicted quantity of the whole scan, in the unit that its name says; likewise.
      slice_targets: target -> the predicted quantity of each slice, float32 [S]; likewise.
    """

    scan_scores: Mapping[str, float]
    slice_scores: Mapping[str, Float32[np.ndarray, " s"]]
    not_scored: Reason | None
    thresholds: Mapping[str, float]
    scan_targets: Mapping[str, float]
    slice_targets: Mapping[str, Float32[np.ndarray, " s"]]

    def __repr__(self) -> str:
        """One line for the scan, and one for its slices."""
        if self.not_scored is not None:
            return f"ScanPrediction: not scored. {self.not_scored.text}"
        scan = ", ".join(
            f"{label} {value:.3f}" + (f" (threshold {self.thresholds[label]:.3f})" if label in self.thresholds else "")
            for label, value in self.scan_scores.items()
        )
        scan = ", ".join([scan] * bool(scan) + [f"{target} {value:.3g}" for target, value in self.scan_targets.items()])
        highest = ", ".join(f"{label} {values.argmax() + 1}" for label, values in self.slice_scores.items())
        return f"ScanPrediction: {scan or 'no scan scores'}\n        highest slice: {highest or 'no slice scores'}"
