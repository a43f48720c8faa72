"""The scan that every corruption takes and returns."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64, Real, UInt8

from ichformer.ct.volume import AIR_HU, Volume

MAX_HU = 3071
"""The highest value that 12-bit CT holds; a scan that goes further keeps its own maximum."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Scan:
    """A volume that corruptions change, with the labels and steps that have to stay in step with it.

    Attributes:
      volume: the scan.
      mask: uint8 [S,H,W] labels on its grid, where there is one.
      weights: [S,N] how much of each of the N slices of the scan as it was is in each slice of ``volume``:
        ``ct.spacing.labels_of_slabs`` makes the labels of its slices from the old ones.
    """

    volume: Volume
    mask: UInt8[np.ndarray, "s h w"] | None
    weights: Float64[np.ndarray, "s n"]

    def with_hu(self, hu: Real[np.ndarray, "s h w"]) -> "Scan":
        """The same scan with other values, rounded and kept between -1024 HU and what the scan may hold."""
        highest = max(MAX_HU, int(self.volume.hu.max()))
        stored = np.clip(np.rint(hu), AIR_HU, highest).astype(np.int16)
        return replace(self, volume=replace(self.volume, hu=stored))


def start(volume: Volume, mask: UInt8[np.ndarray, "s h w"] | None = None) -> Scan:
    """A scan as it is before any corruption."""
    return Scan(volume=volume, mask=mask, weights=np.eye(len(volume.hu)))
