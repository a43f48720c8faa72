"""The figures of lesion maps from the table of lesions, each with an interval over patients.

Conventions: a scan without a true lesion has no Dice, whatever is predicted; it counts as a false alarm where something
is. A scan with a true lesion in which nothing is predicted has a Dice and a surface Dice of 0 and no surface distance,
and counts as missed. Volumes are compared in scans with a true or a predicted lesion, as 0 ml beside 0 ml would narrow
the limits of agreement. A true lesion is found, and a predicted one false, by ``matching.HIT_SHARE`` of its volume.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from operator import itemgetter

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float64, Int64

from ichformer.evaluation.lesions.results import LesionFigures, VolumeSensitivity
from ichformer.statistics.bootstrap import Counts, Statistic, bootstrap, mean_statistic
from ichformer.statistics.estimates import estimate_of
from ichformer.statistics.froc import froc_statistic
from ichformer.statistics.intervals import NOTHING, Estimate, rate_interval, sum_by_patient
from ichformer.statistics.regression import AGREEMENT, agreement_statistic
from ichformer.statistics.reliability import icc_agreement_statistic, icc_interval

RATES = (0.25, 0.5, 1.0, 2.0, 4.0)
"""False positives a scan at which the sensitivity of the FROC curve is stated."""

VOLUMES_ML: tuple[tuple[float, float | None], ...] = ((0.0, 0.4), (0.4, 1.0), (1.0, 5.0), (5.0, None))
"""Classes of true lesions: above the first volume, up to the second."""

OVER_ML = 1.0
"""The median error of volumes is also stated for bleeds that are larger than this."""

Patients = Int64[np.ndarray, " n"]


def summarise_lesions(table: pd.DataFrame, *, replicates: int = 2000, seed: int = 0) -> tuple[LesionFigures, ...]:
    """The figures of every label of a table of lesions (``rows.COLUMNS``).

    Shares have Wilson's interval with the design effect of the patients. The ICC has McGraw and Wong's where every
    patient has one scan. All others, with Bland and Altman's bias and limits (Statistical Methods in Medical Research
    1999;8:135-160), are from a BCa bootstrap over patients.

    Args:
      table: rows of one split.
      replicates: resamples of patients.
      seed: of the resamples.
    """
    scored = table[table["not_scored"] == ""]
    return tuple(
        _figures(str(label), rows, replicates, seed) for label, rows in scored.groupby("label", sort=False) if len(rows)
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Part:
    """The rows of one kind: their columns, and the number of each row's patient."""

    columns: Mapping[str, Float64[np.ndarray, " n"]]
    patients: Patients

    def __getitem__(self, name: str) -> Float64[np.ndarray, " n"]:
        return self.columns[name]


def _parts(rows: pd.DataFrame) -> tuple[_Part, _Part, _Part, int]:
    """The rows of scans, of true and of predicted lesions, and the number of patients."""
    patients, names = pd.factorize(rows["patient"], sort=True)
    numbers = rows.select_dtypes("number")
    found = []
    for kind in ("scan", "true", "predicted"):
        of_kind = (rows["kind"] == kind).to_numpy()
        columns = {str(name): numbers[name].to_numpy(np.float64)[of_kind] for name in numbers}
        found.append(_Part(columns=columns, patients=patients[of_kind].astype(np.int64)))
    scans, true, predicted = found
    return scans, true, predicted, len(names)


def _figures(label: str, rows: pd.DataFrame, replicates: int, seed: int) -> LesionFigures:
    scans, true, predicted, n_patients = _parts(rows)
    has_lesion, has_map = scans["true_ml"] > 0, scans["predicted_ml"] > 0
    compared, is_large = has_lesion | has_map, scans["true_ml"] > OVER_ML
    statistics = _statistics(scans, true, predicted, n_patients)
    resampled = bootstrap(
        list(statistics.values()), n_patients=n_patients, replicates=replicates, seed=seed, jackknife=True
    )
    names = [name for of_statistic in statistics for name in of_statistic]
    found = {name: estimate_of(resampled, itemgetter((..., i)), n_patients=n_patients) for i, name in enumerate(names)}
    both = has_lesion & has_map
    known_interval = compared & ~np.isnan(scans["low_ml"])
    within = (scans["low_ml"] <= scans["true_ml"]) & (scans["true_ml"] <= scans["high_ml"])
    return LesionFigures(
        label=label,
        threshold=float(scans["threshold"][0]),
        n=has_lesion.size,
        n_patients=n_patients,
        n_with_lesion=int(has_lesion.sum()),
        n_missed=int((has_lesion & ~has_map).sum()),
        n_false_alarms=int((has_map & ~has_lesion).sum()),
        n_lesions=true.patients.size,
        **{name: found[name] for name in ("dice", "surface_dice", "hd95_mm", "assd_mm", "lesion_dice")},
        n_volumes=int(compared.sum()),
        bias_ml=found["all bias"],
        lower_limit_ml=found["all lower_limit"],
        upper_limit_ml=found["all upper_limit"],
        median_error_ml=found["all median_absolute_error"],
        n_over_1_ml=int(is_large.sum()),
        median_error_over_1_ml=found["large median_absolute_error"],
        icc=_icc(scans, compared, found["icc"]),
        coverage=_share(within[known_interval], scans.patients[known_interval]),
        sensitivity=_share(true["found"] == 1, true.patients),
        by_volume=tuple(_of_volume(true, *ends) for ends in VOLUMES_ML),
        false_positives=found["false_positives"],
        froc=tuple(found[f"at {rate}"] for rate in RATES),
        pointed_scans=_share(scans["pointed"][both] == 1, scans.patients[both]),
        pointed_slices=found["pointed_slices"],
    )


def _statistics(scans: _Part, true: _Part, predicted: _Part, n_patients: int) -> dict[tuple[str, ...], Statistic]:
    """What the bootstrap computes, by the names of its columns."""
    has_lesion = scans["true_ml"] > 0
    compared, is_large = has_lesion | (scans["predicted_ml"] > 0), scans["true_ml"] > OVER_ML
    is_false = predicted["false_positive"] == 1
    false_of_patient = sum_by_patient(np.ones(is_false.sum()), predicted.patients[is_false], n_patients)
    scans_of_patient = sum_by_patient(np.ones(has_lesion.size), scans.patients, n_patients)
    reached = scans["slices_found"]
    ratings = np.stack([scans["true_ml"], scans["predicted_ml"]], axis=1)

    def mean(values: np.ndarray, patients: Patients, weights: np.ndarray | None = None) -> Statistic:
        return mean_statistic(values, patients, weights, n_patients=n_patients)

    def false_positives(counts: Counts) -> Float64[np.ndarray, " replicates"]:
        return (counts @ false_of_patient) / (counts @ scans_of_patient)

    def agreement(chosen: Bool[np.ndarray, " n"]) -> Statistic:
        return agreement_statistic(ratings[chosen, 0], ratings[chosen, 1], scans.patients[chosen])

    return {
        ("dice",): mean(np.where(has_lesion, scans["dice"], np.nan), scans.patients),
        ("surface_dice",): mean(np.where(has_lesion, scans["surface_dice"], np.nan), scans.patients),
        ("hd95_mm",): mean(scans["hd95_mm"], scans.patients),
        ("assd_mm",): mean(scans["assd_mm"], scans.patients),
        ("lesion_dice",): mean(true["dice"], true.patients),
        ("icc",): icc_agreement_statistic(ratings[compared], scans.patients[compared]),
        ("false_positives",): false_positives,
        ("pointed_slices",): mean(scans["slices_pointed"] / np.maximum(reached, 1), scans.patients, reached),
        tuple(f"all {name}" for name in AGREEMENT): agreement(compared),
        tuple(f"large {name}" for name in AGREEMENT): agreement(is_large),
        tuple(f"at {rate}" for rate in RATES): froc_statistic(
            true["score"],
            true.patients,
            predicted["score"][is_false],
            predicted.patients[is_false],
            scans.patients,
            n_patients=n_patients,
            rates=RATES,
        ),
    }


def _icc(scans: _Part, compared: Bool[np.ndarray, " n"], of_bootstrap: Estimate) -> Estimate:
    """With the interval of the bootstrap only where a patient has several scans."""
    patients = scans.patients[compared]
    if of_bootstrap.value is None or len(np.unique(patients)) < patients.size:
        return of_bootstrap
    ratings = np.stack([scans["true_ml"], scans["predicted_ml"]], axis=1)[compared]
    return Estimate(value=of_bootstrap.value, interval=icc_interval(ratings))


def _of_volume(true: _Part, above_ml: float, up_to_ml: float | None) -> VolumeSensitivity:
    chosen = (true["true_ml"] > above_ml) & (true["true_ml"] <= (np.inf if up_to_ml is None else up_to_ml))
    found = true["found"][chosen] == 1
    return VolumeSensitivity(
        above_ml=above_ml,
        up_to_ml=up_to_ml,
        n=found.size,
        n_found=int(found.sum()),
        sensitivity=_share(found, true.patients[chosen]),
    )


def _share(success: Bool[np.ndarray, " n"], patients: Patients) -> Estimate:
    interval = rate_interval(success, patients)
    return NOTHING if interval is None else Estimate(value=float(success.mean()), interval=interval)
