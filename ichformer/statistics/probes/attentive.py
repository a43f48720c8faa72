"""An attentive probe: one learned query reads the slices of a scan, a linear classifier what it has read.

The features are frozen. The query is a cross-attention with one head and without projections, so that its answer is a
mean of the slices, weighted by the softmax of their products with the query: a query of zeros gives their plain mean.

Source: Chen et al., Context Autoencoder for Self-Supervised Representation Learning, IJCV 2024 ("attentive probing").
Projections are left out, as few patients do not pay for them.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

PENALTIES = 10.0 ** np.arange(1, -3.1, -1)
"""The penalties that are tried, the largest first. They are of the squared weights and query beside the mean loss."""

FOLDS = 5
"""Parts of the training patients, each left out once for each penalty."""

MOST_ITERATIONS = 100
"""Of L-BFGS, for one fit."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ScanSlices:
    """Features of the slices of some scans, one scan after the other.

    Attributes:
      features: of the slices.
      first: the row of the first slice of each scan, ascending from 0.
    """

    features: Float64[np.ndarray, "slices d"]
    first: Int64[np.ndarray, " scans"]

    @property
    def counts(self) -> Int64[np.ndarray, " scans"]:
        """The number of slices of each scan."""
        return np.diff(np.append(self.first, len(self.features)))

    def take(self, scans: Int64[np.ndarray, " some"]) -> "ScanSlices":
        """Some of the scans, in the order that is given."""
        counts = self.counts[scans]
        rows = np.concatenate([np.arange(f, f + c) for f, c in zip(self.first[scans], counts, strict=True)])
        return ScanSlices(features=self.features[rows], first=np.cumsum(counts) - counts)


@dataclass(frozen=True, kw_only=True, eq=False)
class AttentiveProbe:
    """What an attentive probe gives.

    Attributes:
      scores: of the test scans: log odds of the label.
      penalty: that was chosen.
    """

    scores: Float64[np.ndarray, " test"]
    penalty: float


def attentive_probe(
    train: ScanSlices, labels: Float64[np.ndarray, " train"], test: ScanSlices, *, patients: Int64[np.ndarray, " train"]
) -> AttentiveProbe:
    """Fit an attentive probe on training scans and score test scans.

    Features are standardised by the mean and the standard deviation of the training slices. The penalty is the one with
    the smallest cross-entropy of patients who are left out, in up to ``FOLDS`` parts that hold both classes; the
    largest of equals. With a single patient of a class nothing can be left out, and it is 1.

    Args:
      train: the training scans.
      labels: 0 or 1, both of them present.
      test: the test scans.
      patients: number of the patient of each training scan.
    """
    mean, scale = train.features.mean(0), train.features.std(0)
    scale = np.where(scale > 1e-6 * np.abs(mean), scale, np.inf)  # less is rounding of features in float32
    train, test = (ScanSlices(features=(part.features - mean) / scale, first=part.first) for part in (train, test))
    fold = _folds(labels, patients)
    losses = np.zeros(len(PENALTIES))
    for left_out in range(fold.max() + 1):
        inside, outside = np.flatnonzero(fold != left_out), np.flatnonzero(fold == left_out)
        fitted, other = train.take(inside), train.take(outside)
        found = np.zeros(2 * train.features.shape[1] + 1)
        for i, penalty in enumerate(PENALTIES):
            found = fit_query(fitted, labels[inside], penalty=penalty, start=found)
            losses[i] += np.sum(np.logaddexp(0, (1 - 2 * labels[outside]) * _logits(found, other)[0]))
    penalty = float(PENALTIES[int(np.argmin(losses))]) if fold.max() >= 0 else 1.0
    found = fit_query(train, labels, penalty=penalty)
    return AttentiveProbe(scores=_logits(found, test)[0], penalty=penalty)


def fit_query(
    scans: ScanSlices,
    labels: Float64[np.ndarray, " scans"],
    *,
    penalty: float,
    start: Float64[np.ndarray, " parameters"] | None = None,
) -> Float64[np.ndarray, " parameters"]:
    """Query [D], weights [D] and intercept with the smallest penalised cross-entropy, by L-BFGS on all scans at once.

    From a query of zeros the first steps are those of a logistic regression on the mean of each scan's slices.

    Args:
      scans: standardised features.
      labels: 0 or 1.
      penalty: of the squared query and weights.
      start: from where; zeros by default.
    """
    from scipy.optimize import minimize  # only where it is asked for: a training loads no SciPy

    start = np.zeros(2 * scans.features.shape[1] + 1) if start is None else start
    done = minimize(
        loss_and_gradient,
        start,
        args=(scans, labels, penalty),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": MOST_ITERATIONS},
    )
    return np.asarray(done.x, np.float64)


def loss_and_gradient(
    parameters: Float64[np.ndarray, " parameters"],
    scans: ScanSlices,
    labels: Float64[np.ndarray, " scans"],
    penalty: float,
) -> tuple[float, Float64[np.ndarray, " parameters"]]:
    """Mean cross-entropy of the scans and half the penalty of the squares, with the gradient."""
    from scipy.special import expit

    query, weights, _ = _parts(parameters)
    logits, attention, read = _logits(parameters, scans)
    squares = query @ query + weights @ weights
    loss = float(np.mean(np.logaddexp(0, (1 - 2 * labels) * logits)) + penalty * squares / 2)
    of_logits = (expit(logits) - labels) / len(labels)
    # A slice moves the logit by its attention times how far it lies from what the query has read.
    along = scans.features @ weights
    of_scan = np.repeat(np.arange(len(labels)), scans.counts)
    of_products = attention * (along - (read @ weights)[of_scan]) * of_logits[of_scan]
    of_query = scans.features.T @ of_products / np.sqrt(len(query)) + penalty * query
    return loss, np.concatenate([of_query, read.T @ of_logits + penalty * weights, [of_logits.sum()]])


def _logits(
    parameters: Float64[np.ndarray, " parameters"], scans: ScanSlices
) -> tuple[Float64[np.ndarray, " scans"], Float64[np.ndarray, " slices"], Float64[np.ndarray, "scans d"]]:
    """Logits of the scans, attention to each slice, and what is read of each scan."""
    query, weights, intercept = _parts(parameters)
    products = scans.features @ query / np.sqrt(len(query))
    of_scan = np.repeat(np.arange(len(scans.first)), scans.counts)
    raised = np.exp(products - np.maximum.reduceat(products, scans.first)[of_scan])
    attention = raised / np.add.reduceat(raised, scans.first)[of_scan]
    read = np.add.reduceat(attention[:, None] * scans.features, scans.first)
    return read @ weights + intercept, attention, read


def _parts(
    parameters: Float64[np.ndarray, " parameters"],
) -> tuple[Float64[np.ndarray, " d"], Float64[np.ndarray, " d"], float]:
    d = len(parameters) // 2
    return parameters[:d], parameters[d:-1], float(parameters[-1])


def _folds(labels: Float64[np.ndarray, " scans"], patients: Int64[np.ndarray, " scans"]) -> Int64[np.ndarray, " scans"]:
    """The part of each scan, from 0, the same for all scans of a patient; -1 where no part can be left out."""
    names, number = np.unique(patients, return_inverse=True)
    positive = np.bincount(number, labels, len(names)) > 0
    folds = min(FOLDS, int(positive.sum()), int((~positive).sum()))
    part = np.full(len(names), -1)
    for rows in (positive, ~positive) if folds > 1 else ():
        part[rows] = np.arange(rows.sum()) % folds
    return part[number]
