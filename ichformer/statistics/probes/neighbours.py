"""A probe without any fit: the votes of the nearest training scans.

Sources: Wu, Xiong, Yu, Lin, Unsupervised Feature Learning via Non-Parametric Instance Discrimination, CVPR 2018
(weights exp(similarity / 0.07)); Caron et al., Emerging Properties in Self-Supervised Vision Transformers, ICCV 2021
(20 neighbours).
"""

import numpy as np
from jaxtyping import Float64

NEIGHBOURS = 20
"""Training rows that vote on a test row."""

TEMPERATURE = 0.07
"""A neighbour's vote counts exp(similarity / temperature)."""

_AT_ONCE = 1024
"""Test rows whose similarities to all training rows are held at once."""


def knn_probe(
    train: Float64[np.ndarray, "train d"],
    labels: Float64[np.ndarray, " train"],
    test: Float64[np.ndarray, "test d"],
    *,
    neighbours: int = NEIGHBOURS,
    temperature: float = TEMPERATURE,
) -> Float64[np.ndarray, " test"]:
    """The weighted share of positive votes among the nearest training rows of each test row, from 0 to 1.

    Rows are near by the cosine similarity of their features. Of fewer training rows than ``neighbours`` all vote.

    Args:
      train: features of the training rows.
      labels: 0 or 1.
      test: features of the test rows.
      neighbours: how many vote.
      temperature: the lower, the more the nearest ones count.
    """
    reference, count = unit_length(train), min(neighbours, len(train))
    scores = np.empty(len(test))
    for start in range(0, len(test), _AT_ONCE):
        similarity = unit_length(test[start : start + _AT_ONCE]) @ reference.T
        nearest = np.argpartition(-similarity, count - 1, axis=1)[:, :count]
        near = np.take_along_axis(similarity, nearest, axis=1)
        votes = np.exp((near - near.max(axis=1, keepdims=True)) / temperature)
        scores[start : start + _AT_ONCE] = np.sum(votes * labels[nearest], axis=1) / votes.sum(axis=1)
    return np.clip(scores, 0, 1)


def unit_length(features: Float64[np.ndarray, "n d"]) -> Float64[np.ndarray, "n d"]:
    """Each row divided by its length; a row of zeros stays as it is."""
    length = np.linalg.norm(features, axis=1, keepdims=True)
    return features / np.where(length > 0, length, 1)
