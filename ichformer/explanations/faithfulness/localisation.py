"""Whether a map points to where the finding is."""

import numpy as np
from jaxtyping import Bool, Float


def pointing_game(
    maps: Float[np.ndarray, "n h w"], targets: Bool[np.ndarray, "n h w"], *, tolerance_px: float = 0.0
) -> Bool[np.ndarray, "n"]:
    """Whether each map's highest pixel lies in its target, or within ``tolerance_px`` of it.

    The pointing game of Zhang et al. 2018 ("Top-down neural attention by excitation backprop", IJCV), who allowed 15
    pixels. A flat map points nowhere and misses. Of several highest pixels the first in reading order counts.

    Args:
      maps: one map a slice, on the slice's own grid.
      targets: the finding's mask or filled box on the same grid.
      tolerance_px: how far outside the target a hit may lie, in pixels from centre to centre.

    Returns:
      True for a hit, one value a slice; their mean is the score.
    """
    rows, columns = np.indices(maps.shape[1:])
    hits = []
    for values, target in zip(maps, targets, strict=True):
        row, column = np.unravel_index(values.argmax(), values.shape)
        near = np.hypot(rows - row, columns - column) <= tolerance_px
        hits.append(bool(values.max() > values.min() and (target & near).any()))
    return np.asarray(hits, dtype=bool)


def points_into(values: Float[np.ndarray, "*grid"], target: Bool[np.ndarray, "*grid"]) -> bool:
    """Whether the highest value of a whole map lies in the target; a flat map points nowhere.

    >>> points_into(np.array([3.0, 1.0]), np.array([True, False]))
    True
    """
    at = np.unravel_index(values.argmax(), values.shape)
    return bool(target[at] and values.max() > values.min())


def mass_accuracy(values: Float[np.ndarray, "*grid"], target: Bool[np.ndarray, "*grid"]) -> float | None:
    """The part of the map's positive sum that lies in the target; None where nothing of the map is positive.

    Relevance mass accuracy of Arras et al. 2022 ("CLEVR-XAI", Information Fusion 81), equation 2.

    >>> mass_accuracy(np.array([3.0, 1.0, -5.0]), np.array([True, False, True]))
    0.75
    """
    positive = np.maximum(values, 0.0)
    total = float(positive.sum())
    return float(positive[target].sum()) / total if total > 0 else None


def rank_accuracy(values: Float[np.ndarray, "*grid"], target: Bool[np.ndarray, "*grid"]) -> float | None:
    """The part of the K largest values that lies in a target of K cells; None for an empty target.

    Relevance rank accuracy of Arras et al. 2022, equation 3. Of values that equal the K-th largest, those in the target
    count as the mean of all ways to choose among them, so a flat map gets the target's share of the grid.

    >>> rank_accuracy(np.array([3.0, 1.0, 2.0, 0.0]), np.array([True, True, False, False]))
    0.5
    """
    count = int(target.sum())
    if count == 0:
        return None
    threshold = np.partition(values, values.size - count, axis=None)[values.size - count]
    above, equal = values > threshold, values == threshold
    open_places = count - int(above.sum())
    return (int((above & target).sum()) + open_places * float(target[equal].mean())) / count


def best_iou(values: Float[np.ndarray, "*grid"], target: Bool[np.ndarray, "*grid"]) -> tuple[float, float] | None:
    """The largest intersection over union of the target and the cells at or above a threshold, and that threshold.

    None for an empty target. It is the most that the map could give if its threshold were chosen with the truth in
    view.
    """
    total = int(target.sum())
    if total == 0:
        return None
    order = np.argsort(-values, axis=None, kind="stable")
    ranked, hits = values.ravel()[order], np.cumsum(target.ravel()[order])
    sizes = np.arange(1, hits.size + 1)
    ends = np.append(ranked[1:] < ranked[:-1], True)  # equal values come together
    found = np.where(ends, hits / (sizes + total - hits), -1.0)
    best = int(found.argmax())
    return float(found[best]), float(ranked[best])
