"""Parallel projections of slices and their filtered backprojection, on a coarse grid, as one sparse matrix.

Artefacts are made where scanners make them, in the projections, and only their difference is reconstructed: the slices
keep their resolution.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import scipy.fft
import scipy.sparse
from jaxtyping import Float

STEP_MM = 2.0
ANGLES = 144
_X_MM, _Y_MM = np.arange(-101.0, 102.0, STEP_MM), np.arange(-131.0, 122.0, STEP_MM)
BINS = 2 * int(np.ceil(np.hypot(101.0, 131.0) / STEP_MM)) + 3


@dataclass(frozen=True, kw_only=True, eq=False)
class Projector:
    """A parallel beam over half a turn.

    Attributes:
      x_mm, y_mm: columns and rows of the slices it takes, in mm of the stack.
      matrix: line integrals, [ANGLES * bins, rows * columns], in pixels of ``STEP_MM``.
    """

    x_mm: Float[np.ndarray, "columns"]
    y_mm: Float[np.ndarray, "rows"]
    matrix: scipy.sparse.csr_matrix

    def project(self, slices: Float[np.ndarray, "s rows columns"]) -> Float[np.ndarray, "angles bins s"]:
        """Line integrals in (unit of ``slices``) x cm."""
        flat = np.ascontiguousarray(slices.reshape(len(slices), -1).T, np.float32)
        return (self.matrix @ flat).reshape(ANGLES, BINS, -1) * np.float32(STEP_MM / 10)

    def reconstruct(self, projections: Float[np.ndarray, "angles bins s"]) -> Float[np.ndarray, "s rows columns"]:
        """Filtered backprojection with the ramp of Ramachandran and Lakshminarayanan (Kak & Slaney 1988, eq. 3.61)."""
        n = np.arange(BINS)
        kernel = np.where(n % 2 == 1, -1 / (np.pi * np.maximum(n, 1)) ** 2, 0.0)
        kernel[0] = 0.25
        size = scipy.fft.next_fast_len(2 * BINS, real=True)
        both = np.zeros(size, np.float32)
        both[:BINS], both[-BINS + 1 :] = kernel, kernel[:0:-1]
        ramp = scipy.fft.rfft(both)
        # Hann's window: differences between close pictures have most of their noise at the highest frequencies.
        response = (ramp * (0.5 + 0.5 * np.cos(np.pi * np.arange(len(ramp)) / (len(ramp) - 1)))).real.astype(np.float32)
        spectrum = scipy.fft.rfft(projections, size, axis=1) * response[:, None]
        filtered = scipy.fft.irfft(spectrum, size, axis=1)[:, :BINS]
        flat = np.ascontiguousarray(filtered.reshape(ANGLES * BINS, -1), np.float32)
        slices = (self.matrix.T @ flat) * np.float32(np.pi / ANGLES / (STEP_MM / 10))
        return np.ascontiguousarray(slices.T).reshape(-1, len(self.y_mm), len(self.x_mm))


def angles_rad() -> Float[np.ndarray, "angles"]:
    """Angles between the rays' normal and the x axis; never 45 degrees, where diagonals alias with the bins."""
    return (np.arange(ANGLES) + 0.5) * (np.pi / ANGLES)


@lru_cache(maxsize=1)
def projector() -> Projector:
    """The one projector; the first call builds its matrix (25 MB)."""
    y, x = np.meshgrid(_Y_MM, _X_MM, indexing="ij")
    angles = angles_rad()
    bins = (np.cos(angles)[:, None] * x.ravel() + np.sin(angles)[:, None] * y.ravel()) / STEP_MM + (BINS - 1) / 2
    low = np.floor(bins).astype(np.int32)
    share = (bins - low).astype(np.float32)
    rows = low + (np.arange(ANGLES, dtype=np.int32) * BINS)[:, None]
    pixels = np.broadcast_to(np.arange(x.size, dtype=np.int32), rows.shape)
    matrix = scipy.sparse.csr_matrix(
        (
            np.concatenate([1 - share, share], axis=None),
            (np.concatenate([rows, rows + 1], axis=None), np.concatenate([pixels, pixels], axis=None)),
        ),
        shape=(ANGLES * BINS, x.size),
    )
    return Projector(x_mm=_X_MM, y_mm=_Y_MM, matrix=matrix)
