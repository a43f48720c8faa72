"""Draws of few labelled patients, for the question how many labels a classifier on frozen features needs."""

import numpy as np
from jaxtyping import Bool


def why_not_drawn(positive: Bool[np.ndarray, " patients"], fraction: float) -> str:
    """Why a share of the patients cannot be drawn with both classes in it; "" where it can.

    Args:
      positive: whether each labelled patient has a positive scan.
      fraction: the share, above 0 and up to 1.
    """
    if not positive.size:
        return "No training scan has the label."
    if positive.all() or not positive.any():
        return f"{'All' if positive.any() else 'None'} of the {positive.size} labelled training patients are positive."
    if _number(positive, fraction) < 2:
        return (
            f"{100 * fraction:g} % of {positive.size} labelled training patients are fewer than two. At least one with "
            "and one without a positive scan are needed."
        )
    return ""


def draw_patients(
    positive: Bool[np.ndarray, " patients"], fraction: float, *, seed: int, number: int
) -> Bool[np.ndarray, " patients"]:
    """Which patients a draw takes: a share of those with a positive scan, the same share of the others, one at least.

    The draw of a larger fraction holds the draw of a smaller one with the same seed and number.

    Args:
      positive: whether each labelled patient has a positive scan.
      fraction: the share, above 0 and up to 1, for which ``why_not_drawn`` has no objection.
      seed: of all draws.
      number: of this draw.
    """
    n_drawn, n_positive = _number(positive, fraction), int(positive.sum())
    drawn_positive = int(np.clip(np.floor(n_drawn * n_positive / positive.size + 0.5), 1, n_drawn - 1))
    rng = np.random.default_rng([seed, number])
    with_positive, without = (rng.permutation(np.flatnonzero(rows)) for rows in (positive, ~positive))
    chosen = np.zeros(positive.size, bool)
    chosen[with_positive[:drawn_positive]] = True
    chosen[without[: n_drawn - drawn_positive]] = True
    return chosen


def _number(positive: Bool[np.ndarray, " patients"], fraction: float) -> int:
    """Patients of a share, halves rounded up."""
    return int(np.floor(positive.size * fraction + 0.5))
