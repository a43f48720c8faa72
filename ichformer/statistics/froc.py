"""Free-response ROC: the share of lesions that is found, against the number of false positives a scan."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64, Int64

from ichformer.statistics.bootstrap import Counts, Statistic
from ichformer.statistics.curves import Curve
from ichformer.statistics.intervals import sum_by_patient

LesionScores = Float64[np.ndarray, " lesions"]
FalseScores = Float64[np.ndarray, " false"]


def froc_statistic(
    found_scores: LesionScores,
    lesion_patients: Int64[np.ndarray, " lesions"],
    false_scores: FalseScores,
    false_patients: Int64[np.ndarray, " false"],
    scan_patients: Int64[np.ndarray, " scans"],
    *,
    n_patients: int,
    rates: Sequence[float],
) -> Statistic:
    """Sensitivity for lesions at each of ``rates`` false positives a scan, for ``bootstrap.bootstrap``.

    At a rate the threshold is the lowest at which there are no more false positives a scan. Sensitivity between the
    points of the curve is that of the point before.

    Source: Bunch et al., Journal of Applied Photographic Engineering 1978;4:166-171 (the free-response curve); Setio et
    al., Medical Image Analysis 2017;42:1-13 (sensitivity at fixed rates).

    Args:
      found_scores: for every true lesion the highest threshold at which it is found, 0 where it never is.
      lesion_patients: the patient of each, from 0.
      false_scores: of the predicted lesions that are none.
      false_patients: the patient of each.
      scan_patients: the patient of every scan that was read.
      n_patients: how many patients there are.
      rates: false positives a scan, ascending.
    """
    by_score = np.argsort(-false_scores, kind="stable")
    of_false, steps = false_patients[by_score], np.append(false_scores[by_score], 0.0)
    scans = sum_by_patient(np.ones(scan_patients.size), scan_patients, n_patients)
    order = np.argsort(-found_scores, kind="stable")
    found, of_lesion = found_scores[order], lesion_patients[order]

    def statistic(counts: Counts) -> Float64[np.ndarray, "replicates rates"]:
        false = np.cumsum(counts[:, of_false], axis=1)
        hits = np.concatenate([np.zeros((len(counts), 1)), np.cumsum(counts[:, of_lesion], axis=1)], axis=1)
        read, lesions = counts @ scans, hits[:, -1]
        columns = []
        for rate in rates:
            # The first false positive that is one too many sets the threshold; of equal scores all are called.
            too_many = np.pad(false > (rate * read)[:, None] * (1 + 1e-12), ((0, 0), (0, 1)), constant_values=True)
            called = np.searchsorted(-found, -steps[too_many.argmax(axis=1)], "left")
            hit = np.take_along_axis(hits, called[:, None], axis=1)[:, 0]
            columns.append(np.divide(hit, lesions, out=np.full(len(counts), np.nan), where=lesions > 0))
        return np.stack(columns, axis=1)

    return statistic


def froc_curve(found_scores: LesionScores, false_scores: FalseScores, *, n_scans: int) -> Curve | None:
    """False positives a scan (x) and sensitivity for lesions (y) at each threshold, from none on.

    Returns:
      None without a lesion or a scan.
    """
    if not found_scores.size or not n_scans:
        return None
    thresholds = np.unique(np.concatenate([found_scores[found_scores > 0], false_scores]))[::-1]
    false, found = np.sort(-false_scores), np.sort(-found_scores)
    x = np.searchsorted(false, -thresholds, "right") / n_scans
    y = np.searchsorted(found, -thresholds, "right") / found_scores.size
    return Curve(x=np.concatenate([[0.0], x]), y=np.concatenate([[0.0], y]))
