"""Random-effects pooling of a figure over several sites, and heterogeneity between them."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float64
from scipy.optimize import minimize_scalar
from scipy.stats import chi2
from scipy.stats import t as student

from ichformer.statistics.intervals import Interval

Sites = Float64[np.ndarray, " sites"]


@dataclass(frozen=True, kw_only=True)
class Pooled:
    """The mean over sites and their heterogeneity.

    Attributes:
      value: mean of the distribution from which the sites come.
      interval: of that mean.
      prediction: of the figure at a new site; None with fewer than three sites.
      tau2: variance between sites.
      i2: share of the variation that lies between sites, 0 to 1.
      q: Cochran's Q.
      q_p_value: of Q.
      weights: of the sites in the mean; their sum is 1.
    """

    value: float
    interval: Interval
    prediction: Interval | None
    tau2: float
    i2: float
    q: float
    q_p_value: float
    weights: tuple[float, ...]


def pool(
    values: Sites, variances: Sites, *, between: Literal["REML", "DL"] = "REML", confidence: float = 0.95
) -> Pooled | None:
    """Pool a figure over sites with random effects and Hartung and Knapp's interval, which suits few sites.

    Their factor is taken as no less than 1, so that few sites which happen to agree give no interval narrower than the
    usual one. Pool AUROCs and rates as log odds and map the result back.

    Sources: DerSimonian, Laird, Controlled Clinical Trials 1986;7:177-188 (DL, Q); Viechtbauer, Journal of Educational
    and Behavioral Statistics 2005;30:261-293 (REML); Hartung, Knapp, Statistics in Medicine 2001;20:3875-3889; Röver et
    al., BMC Medical Research Methodology 2015;15:99 (factor at least 1); Higgins, Thompson, Statistics in Medicine
    2002;21:1539-1558 (I², from the variance between sites); Higgins et al., Journal of the Royal Statistical
    Society A 2009;172:137-159 (prediction).

    Args:
      values: one figure a site.
      variances: their squared standard errors.
      between: how the variance between sites is found.
      confidence: of the intervals.

    Returns:
      None with fewer than two sites.

    Raises:
      ValueError: a value is not finite, or a variance not above 0. Leave such sites out, and say so.
    """
    if not (np.isfinite(values).all() and np.isfinite(variances).all() and (variances > 0).all()):
        raise ValueError("values must be finite and variances above 0")
    sites = values.size
    if sites < 2:
        return None
    q = float(np.sum((values - _mean(values, 1 / variances)) ** 2 / variances))
    tau2 = _reml(values, variances) if between == "REML" else _dersimonian_laird(q, variances)
    weights = 1 / (variances + tau2)
    value = _mean(values, weights)
    spread = float(np.sum(weights * (values - value) ** 2)) / (sites - 1)
    error = np.sqrt(max(1.0, spread) / weights.sum())
    method = f"random effects, {between}, Hartung-Knapp"
    return Pooled(
        value=value,
        interval=_student(value, error, sites - 1, method, confidence),
        prediction=(
            _student(value, np.sqrt(tau2 + error**2), sites - 2, f"prediction, {between}", confidence)
            if sites > 2
            else None
        ),
        tau2=tau2,
        i2=tau2 / (tau2 + _typical(variances)),
        q=q,
        q_p_value=float(chi2.sf(q, sites - 1)),
        weights=tuple((weights / weights.sum()).tolist()),
    )


def _mean(values: Sites, weights: Sites) -> float:
    return float(np.sum(weights * values) / weights.sum())


def _typical(variances: Sites) -> float:
    """The typical variance of a site.

    With it, I² of the variance between sites by DerSimonian and Laird is 1 - (k - 1) / Q.
    """
    weights = 1 / variances
    return float((variances.size - 1) * weights.sum() / (weights.sum() ** 2 - np.sum(weights**2)))


def _dersimonian_laird(q: float, variances: Sites) -> float:
    weights = 1 / variances
    scale = weights.sum() - np.sum(weights**2) / weights.sum()
    return float(max(0.0, (q - (variances.size - 1)) / scale))


def _reml(values: Sites, variances: Sites) -> float:
    """The variance between sites that maximises the restricted likelihood."""

    def loss(tau2: float) -> float:
        weights = 1 / (variances + tau2)
        residual = np.sum(weights * (values - _mean(values, weights)) ** 2)
        return float(residual - np.sum(np.log(weights)) + np.log(weights.sum())) / 2

    # The likelihood may have two peaks: a grid finds the higher one, then it is refined. It falls beyond the largest
    # squared distance between two sites.
    grid = np.concatenate([[0.0], np.ptp(values) ** 2 * np.geomspace(1e-8, 2, 200)])
    best = int(np.argmin([loss(tau2) for tau2 in grid]))
    low, high = grid[max(best - 1, 0)], grid[min(best + 1, grid.size - 1)]
    if high == low:
        return 0.0
    found = minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-12 * high})
    return float(found.x) if found.fun < loss(0.0) else 0.0


def _student(value: float, error: float, degrees: int, method: str, confidence: float) -> Interval:
    low, high = value + error * student.ppf([(1 - confidence) / 2, (1 + confidence) / 2], degrees)
    return Interval(low=float(low), high=float(high), method=method, confidence=confidence)
