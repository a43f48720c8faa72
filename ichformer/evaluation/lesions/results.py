"""The figures of lesion maps as frozen structures; None is "not estimable"."""

from dataclasses import dataclass

from ichformer.statistics.intervals import Estimate


@dataclass(frozen=True, kw_only=True)
class VolumeSensitivity:
    """How many true lesions of about one volume are found.

    Attributes:
      above_ml, up_to_ml: the volumes; None where there is no end.
      n: true lesions.
      n_found: of these.
      sensitivity: their share.
    """

    above_ml: float
    up_to_ml: float | None
    n: int
    n_found: int
    sensitivity: Estimate


@dataclass(frozen=True, kw_only=True)
class LesionFigures:
    """How well the lesion map of one label agrees with true masks; see ``evaluation.lesions.summary``.

    Attributes:
      label: which label.
      threshold: of the probabilities, frozen on validation.
      n: scans with a map and a mask.
      n_patients: of these scans.
      n_with_lesion: scans with a true lesion.
      n_missed: of these, scans in which nothing is predicted.
      n_false_alarms: scans without a true lesion in which something is predicted.
      n_lesions: true lesions.
      dice, surface_dice: means over the scans with a true lesion; 0 where nothing is predicted.
      hd95_mm, assd_mm: means over the scans with a true and a predicted lesion.
      lesion_dice: mean over the true lesions, each with the predicted lesions that touch it.
      n_volumes: scans with a true or a predicted lesion, in which volumes are compared.
      bias_ml: mean of predicted less true volumes.
      lower_limit_ml, upper_limit_ml: Bland and Altman's limits of agreement.
      median_error_ml: median of the absolute differences.
      n_over_1_ml: scans with more than 1 ml of true volume.
      median_error_over_1_ml: in these.
      icc: ICC(2,1) of true and predicted volumes.
      coverage: share of the scans whose true volume lies in the interval of the predicted one.
      sensitivity: share of the true lesions that is found.
      by_volume: the same by the lesion's volume.
      false_positives: predicted lesions a scan that are none.
      froc: sensitivity at each of ``evaluation.lesions.summary.RATES`` false positives a scan.
      pointed_scans: share of the scans with a true and a predicted lesion whose highest probability lies in a lesion.
      pointed_slices: share of the true slices that reach the threshold whose highest probability lies in a lesion.
    """

    label: str
    threshold: float
    n: int
    n_patients: int
    n_with_lesion: int
    n_missed: int
    n_false_alarms: int
    n_lesions: int
    dice: Estimate
    surface_dice: Estimate
    hd95_mm: Estimate
    assd_mm: Estimate
    lesion_dice: Estimate
    n_volumes: int
    bias_ml: Estimate
    lower_limit_ml: Estimate
    upper_limit_ml: Estimate
    median_error_ml: Estimate
    n_over_1_ml: int
    median_error_over_1_ml: Estimate
    icc: Estimate
    coverage: Estimate
    sensitivity: Estimate
    by_volume: tuple[VolumeSensitivity, ...]
    false_positives: Estimate
    froc: tuple[Estimate, ...]
    pointed_scans: Estimate
    pointed_slices: Estimate
