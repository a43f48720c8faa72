"""A probe of a table of features: fitted on the training scans of all patients and of few, evaluated on test scans."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float64
from scipy.special import expit

from ichformer.errors import InputError
from ichformer.evaluation.probes.results import Counts, ProbeResult
from ichformer.evaluation.probes.table import features_in
from ichformer.evaluation.tables.table import ID_COLUMNS, NOT_SCORED, score_column
from ichformer.settings import fit
from ichformer.statistics.delong import auroc_interval
from ichformer.statistics.intervals import Estimate
from ichformer.statistics.probes.attentive import ScanSlices
from ichformer.statistics.probes.collapse import measure_collapse
from ichformer.statistics.probes.fits import DRAWS, FRACTIONS, Draw, ProbeMethod, Rows, fit_draws


def check_probe(
    *, method: ProbeMethod, fractions: Sequence[float], draws: int, seed: int
) -> tuple[ProbeMethod, tuple[float, ...]]:
    """The method, and the shares of patients in ascending order with 1 at their end; InputError for what is none."""
    method = fit(ProbeMethod, method, where="method")
    shares = fit(tuple[float, ...], fractions, where="fractions")
    if not all(0 < share <= 1 for share in shares):
        raise InputError(f"found {shares}", where="fractions", fix="give shares above 0 and up to 1, such as 0.01 0.1")
    for name, value, least in (("draws", draws, 1), ("seed", seed, 0)):
        if fit(int, value, where=name) < least:
            raise InputError(f"found {value}", where=name, fix=f"take a whole number from {least}")
    return method, tuple(sorted({*map(float, shares), 1.0}))


def probe_features(
    train: pd.DataFrame,
    test: pd.DataFrame,
    *,
    label: str,
    method: ProbeMethod = "ridge",
    fractions: Sequence[float] = FRACTIONS,
    draws: int = DRAWS,
    seed: int = 0,
    slices: tuple[pd.DataFrame, pd.DataFrame] | None = None,
) -> ProbeResult:
    """Fit a probe on the features of training scans, and evaluate it on those of test scans.

    Scans that cannot be scored are left out of both, and so are scans whose label is unknown.

    Args:
      train: a table of features (``probes.table``) with one row a scan and no patient of ``test``.
      test: the same of the scans to evaluate.
      label: a column of both, 1, 0 or NaN.
      method: "ridge", "knn" or "attentive": see ``statistics.probes.fits``.
      fractions: shares of the labelled training patients; all of them are always taken too.
      draws: of patients, for each share below 1.
      seed: of the draws.
      slices: for "attentive", the tables of the slices of the scans of ``train`` and of ``test``, in the same order.

    Raises:
      InputError: a method, a share or a number that is none.
    """
    method, shares = check_probe(method=method, fractions=fractions, draws=draws, seed=seed)
    seen, scored = train[_can_be_scored(train)], _can_be_scored(test)
    of_train, of_test = (None, None) if slices is None else slices
    fitted = _rows(train, _can_be_scored(train) & train[label].notna().to_numpy(), label, of_train)
    evaluated = _rows(test, scored, label, of_test)
    found = fit_draws(fitted, evaluated, method=method, fractions=shares, draws=draws, seed=seed)
    full, scores = found[-1]
    interval = None
    if full.auroc is not None:
        interval = auroc_interval(evaluated.labels, scores, evaluated.patients)
    return ProbeResult(
        label=label,
        method=method,
        dimensions=evaluated.features.shape[1],
        seed=seed,
        train=_counts(train, fitted),
        test=_counts(test, evaluated),
        draws=tuple(draw for draw, _ in found),
        auroc=Estimate(value=full.auroc, interval=interval),
        collapse=measure_collapse(features_in(seen)) if len(seen) > 1 else None,
        predictions=_predictions(test, label, scored, _probabilities(method, scores), full),
    )


def _rows(table: pd.DataFrame, taken: Bool[np.ndarray, " all"], label: str, slices: pd.DataFrame | None) -> Rows:
    rows = table[taken]
    return Rows(
        features=features_in(rows),
        labels=rows[label].to_numpy(np.float64),
        patients=pd.factorize(rows["patient"], sort=True)[0].astype(np.int64),
        slices=None if slices is None else _slices(slices, len(table)).take(np.flatnonzero(taken)),
    )


def _slices(table: pd.DataFrame, scans: int) -> ScanSlices:
    """The slices of a table of features, which lie together scan by scan."""
    first = np.flatnonzero((table["slice"] == "0").to_numpy())
    if len(first) != scans:
        raise ValueError(f"slices of {len(first)} scans for {scans}")
    return ScanSlices(features=features_in(table), first=first)


def _can_be_scored(table: pd.DataFrame) -> Bool[np.ndarray, " n"]:
    return (table[NOT_SCORED] == "").to_numpy(bool)


def _probabilities(method: ProbeMethod, scores: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
    """Scores from 0 to 1. For the ridge 2 s is the log odds whose probability is (1 + s) / 2 to first order."""
    match method:
        case "knn":
            return scores
        case "ridge":
            return expit(2 * scores)
        case "attentive":
            return expit(scores)


def _counts(table: pd.DataFrame, rows: Rows) -> Counts:
    known = ~np.isnan(rows.labels)
    return Counts(
        split=", ".join(sorted(table["split"].unique())),
        scans=int(known.sum()),
        patients=np.unique(rows.patients[known]).size,
        positive_patients=np.unique(rows.patients[rows.labels == 1]).size,
        left_out=int((~_can_be_scored(table)).sum()),
    )


def _predictions(
    test: pd.DataFrame, label: str, scored: Bool[np.ndarray, " n"], scores: Float64[np.ndarray, " scored"], full: Draw
) -> pd.DataFrame:
    """The table of predictions."""
    table = test[[*ID_COLUMNS, label, NOT_SCORED]].reset_index(drop=True)
    table.insert(len(ID_COLUMNS) + 1, score_column(label), np.nan)
    table.loc[scored, score_column(label)] = scores
    table.loc[scored, NOT_SCORED] = full.not_scored
    return table
