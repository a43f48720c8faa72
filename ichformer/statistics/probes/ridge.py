"""A linear probe in closed form: ridge regression on the signs of a label, for all penalties at once.

The penalty is chosen by the squared error of each patient's rows when that patient is left out. It follows from one
singular value decomposition of the features, without another fit.

Source: Golub, Heath, Wahba, Technometrics 1979;21:215-223, for a row that is left out. For several rows of a patient
the residuals are those of the fit on all rows, multiplied by the inverse of the patient's block of I - H, H being the
hat matrix (Cook, Weisberg, Residuals and Influence in Regression, 1982).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

PENALTIES = 10.0 ** np.arange(-4, 6.01, 0.25)
"""The penalties that are tried, for each training row: the features are standardised, so that both grow alike."""


@dataclass(frozen=True, kw_only=True, eq=False)
class RidgeProbe:
    """What a linear probe gives.

    Attributes:
      scores: of the test rows: about 1 where the label is expected, about -1 where it is not.
      penalty: that was chosen: the factor of the squared weights beside the sum of the squared errors.
      penalties: that were tried, ascending.
      errors: the mean squared error of the rows of patients that were left out, for each of ``penalties``.
    """

    scores: Float64[np.ndarray, " test"]
    penalty: float
    penalties: Float64[np.ndarray, " penalties"]
    errors: Float64[np.ndarray, " penalties"]


def ridge_probe(
    train: Float64[np.ndarray, "train d"],
    labels: Float64[np.ndarray, " train"],
    test: Float64[np.ndarray, "test d"],
    *,
    patients: Int64[np.ndarray, " train"] | None = None,
) -> RidgeProbe:
    """Fit a linear probe on training rows and score test rows.

    Features are standardised by the mean and the standard deviation of the training rows; a feature that never changes
    counts for nothing. The intercept is not penalised. Where penalties are equally good, the largest is taken.

    Args:
      train: features of the training rows, of at least two patients.
      labels: 0 or 1, both of them present.
      test: features of the test rows.
      patients: number of the patient of each training row; None where every row is a patient.
    """
    mean, scale = train.mean(0), train.std(0)
    scale = np.where(scale > 1e-6 * np.abs(mean), scale, np.inf)  # less is rounding of features in float32
    signs = 2 * labels - 1
    centre = signs.mean()
    u, singular, directions = np.linalg.svd((train - mean) / scale, full_matrices=False)
    penalties = len(train) * PENALTIES
    kept = singular[:, None] ** 2 / (singular[:, None] ** 2 + penalties)
    along = u.T @ (signs - centre)
    residuals = (signs - centre)[:, None] - u @ (kept * along[:, None])
    patients = np.arange(len(train)) if patients is None else patients
    errors = np.mean(_left_out(u, kept, residuals, patients) ** 2, axis=0)
    best = int(np.flatnonzero(errors <= errors.min() * (1 + 1e-9))[-1])
    weights = directions.T @ (singular / (singular**2 + penalties[best]) * along)
    return RidgeProbe(
        scores=(test - mean) / scale @ weights + centre,
        penalty=float(penalties[best]),
        penalties=penalties,
        errors=errors,
    )


def _left_out(
    u: Float64[np.ndarray, "n k"],
    kept: Float64[np.ndarray, "k penalties"],
    residuals: Float64[np.ndarray, "n penalties"],
    patients: Int64[np.ndarray, " n"],
) -> Float64[np.ndarray, "n penalties"]:
    """The residuals of each row for a fit without its patient; H is 1 / n (the intercept) + U diag(kept) U'."""
    n = len(u)
    found = residuals / (1 - 1 / n - u**2 @ kept)
    _, number, rows = np.unique(patients, return_inverse=True, return_counts=True)
    for patient in np.flatnonzero(rows > 1):
        own = np.flatnonzero(number == patient)
        hat = 1 / n + np.einsum("ik,kp,jk->pij", u[own], kept, u[own], optimize=True)
        blocks = np.eye(own.size) - hat
        found[own] = np.linalg.solve(blocks, residuals[own].T[..., None])[..., 0].T
    return found
