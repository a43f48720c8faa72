"""How much of a map lies in few places."""

import numpy as np
from jaxtyping import Float


def complexity(values: Float[np.ndarray, "*grid"]) -> float | None:
    """The entropy, in nats, of where the map's absolute values lie; None for a map of zeros.

    Bhatt et al. 2020 ("Evaluating and aggregating feature-based model explanations", IJCAI), definition 3. 0 where one
    cell has all, the logarithm of the number of cells where all have as much.
    """
    size = np.abs(values, dtype=np.float64).ravel()
    if not size.any():
        return None
    share = size[size > 0] / size.sum()
    return float(-(share * np.log(share)).sum())


def sparseness(values: Float[np.ndarray, "*grid"]) -> float | None:
    """The Gini index of the map's absolute values, 0 where all are equal and near 1 where few have all; None for zeros.

    Chalasani et al. 2020 ("Concise explanations of neural networks using adversarial training", ICML), section 3.
    """
    size = np.sort(np.abs(values, dtype=np.float64), axis=None)
    if not size.any():
        return None
    places = np.arange(1, size.size + 1)
    return float(((2 * places - size.size - 1) * size).sum() / (size.size * size.sum()))
