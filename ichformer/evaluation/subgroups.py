"""The figures of each site and of each subgroup, and the AUROC pooled over the sites."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Int64, Shaped
from scipy.special import expit, logit
from scipy.stats import norm

from ichformer.cohorts.index import is_other_sites, shown_sites
from ichformer.evaluation.results import PooledAuroc, Stratum, StratumLabel
from ichformer.evaluation.tables.table import Level
from ichformer.statistics.delong import auroc_interval
from ichformer.statistics.intervals import NOTHING, Estimate, Interval, rate_interval
from ichformer.statistics.metrics import Vector, auroc
from ichformer.statistics.pooling import pool


def strata(
    level: Level, names: Shaped[np.ndarray, " n"], labels: tuple[str, ...], thresholds: Mapping[str, float | None]
) -> tuple[Stratum, ...]:
    """Compute the figures of each site or subgroup of a level, sorted by name.

    Small sites that are taken together, and rows without a name, come last.

    Args:
      level: the rows.
      names: of the site or subgroup of each row, with few different values (``shown_sites``).
      labels: in the order of the level's columns.
      thresholds: chosen before, by label; a label that is missing or None has no sensitivity.

    Returns:
      Nothing where no row has a name.
    """
    if not any(names):
        return ()
    found = []
    for name in sorted(set(names), key=lambda name: (name == "", is_other_sites(name), name)):
        rows = np.asarray(names == name, bool)
        found.append(
            Stratum(
                name=name,
                n=int(rows.sum()),
                n_patients=np.unique(level.patients[rows]).size,
                labels=tuple(
                    _stratum_label(level, rows, i, label, thresholds.get(label)) for i, label in enumerate(labels)
                ),
            )
        )
    return tuple(found)


def _stratum_label(
    level: Level, rows: Bool[np.ndarray, " n"], column: int, label: str, threshold: float | None
) -> StratumLabel:
    truth, scores = level.labels[rows, column], level.scores[rows, column]
    patients, weights = level.patients[rows], level.weights[rows]
    positive, negative = truth == 1, truth == 0
    sensitivity = specificity = NOTHING
    if threshold is not None:
        sensitivity = _share(scores[positive] >= threshold, patients[positive], weights[positive])
        specificity = _share(scores[negative] < threshold, patients[negative], weights[negative])
    return StratumLabel(
        label=label,
        n=int(positive.sum() + negative.sum()),
        n_positive=int(positive.sum()),
        n_positive_patients=np.unique(patients[positive]).size,
        auroc=auroc_estimate(truth, scores, patients, weights),
        sensitivity=sensitivity,
        specificity=specificity,
    )


def auroc_estimate(truth: Vector, scores: Vector, patients: Int64[np.ndarray, " n"], weights: Vector) -> Estimate:
    """The AUROC with DeLong's interval, clustered by patient."""
    return Estimate(value=auroc(truth, scores, weights), interval=auroc_interval(truth, scores, patients, weights))


def _share(success: Bool[np.ndarray, " n"], patients: Int64[np.ndarray, " n"], weights: Vector) -> Estimate:
    value = float(np.average(success, weights=weights)) if success.size else None
    return Estimate(value=value, interval=rate_interval(success, patients, weights))


def pool_sites(level: Level, labels: tuple[str, ...]) -> tuple[PooledAuroc, ...]:
    """Pool the AUROC of each label over the level's named sites, as log odds with random effects.

    A site is pooled where its AUROC and DeLong's interval are estimable and it does not separate the classes
    completely, as an AUROC of 1 has no log odds. Its standard error is the half width of the interval over z (Debray et
    al., BMJ 2017;356:i6460). DeLong's own error is far too small by chance where positives are few and all score high,
    and such a site would weigh most. Nothing is pooled where fewer than two sites are named. Of more than ``MAX_SITES``
    only those that have figures of their own are pooled.
    """
    every = set(level.sites) - {""}
    sites = sorted(every.intersection(shown_sites(level.sites.tolist())))
    return () if len(sites) < 2 else tuple(_pool(level, sites, i, label) for i, label in enumerate(labels))


def _pool(level: Level, sites: Sequence[str], column: int, label: str) -> PooledAuroc:
    values, variances = {}, {}
    for site in sites:
        rows = np.asarray(level.sites == site, bool)
        of_site = (level.patients[rows], level.weights[rows])
        found = auroc_estimate(level.labels[rows, column], level.scores[rows, column], *of_site)
        interval = found.interval
        # Of complete separation an end is 0 or 1.
        if found.value is None or interval is None or not 0 < interval.low < interval.high < 1:
            continue
        values[site] = float(logit(found.value))
        half_width = (logit(interval.high) - logit(interval.low)) / 2
        variances[site] = float(half_width / norm.ppf((1 + interval.confidence) / 2)) ** 2
    pooled = pool(np.array(list(values.values()), np.float64), np.array(list(variances.values()), np.float64))
    return PooledAuroc(
        label=label,
        sites=len(values),
        left_out=tuple(site for site in sites if site not in values),
        value=None if pooled is None else float(expit(pooled.value)),
        interval=None if pooled is None else _back(pooled.interval),
        prediction=None if pooled is None or pooled.prediction is None else _back(pooled.prediction),
        i2=None if pooled is None else pooled.i2,
        tau2=None if pooled is None else pooled.tau2,
        q_p_value=None if pooled is None else pooled.q_p_value,
        weights={} if pooled is None else dict(zip(values, pooled.weights, strict=True)),
    )


def _back(interval: Interval) -> Interval:
    low, high = expit(interval.low), expit(interval.high)
    return Interval(
        low=float(low), high=float(high), method=f"{interval.method}, logit", confidence=interval.confidence
    )
