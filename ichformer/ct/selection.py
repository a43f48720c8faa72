"""Choosing the series of a study to look for blood in, by written rules: non-contrast, soft kernel, axial."""

import re
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ichformer.ct.contrast import contrast_said, plain_words
from ichformer.ct.headers import ACQUISITION_TAGS
from ichformer.ct.series import Found, Series, nothing_found
from ichformer.ct.slices import SAME_POSITION_MM, are_interleaved
from ichformer.errors import InputError

REFUSAL_CODES: dict[str, str] = {
    "not_ct": "Modality is not CT",
    "no_geometry": "positions, orientations or pixel spacing are absent",
    "few_slices": "fewer slices than a head has",
    "not_axial": "the slices are coronal or sagittal",
    "mixed": "several stacks of slices, and no tag tells them apart",
    "dynamic": "one of several volumes over time, such as perfusion",
    "reformat": "computed from another series: a reformat, a projection, a subtraction",
    "other_region": "another part of the body",
    "contrast": "with contrast medium",
    "bone_kernel": "reconstructed with a sharp kernel, for bone",
    "short": "covers less than 80 mm, so not the whole head",
    "second_choice": "would do, but another series does better",
}
"""Stable code of every reason for not choosing a series -> what it means."""

_MIN_SLICES, _MIN_COVERAGE_MM = 8, 80.0
_USUAL_MM = 5.0
"""The thickness that readers look for blood at, and that the public sets were labelled on."""

_USUAL_KV = 120
_KVP = list(ACQUISITION_TAGS).index("KVP")

_REFORMATS = {
    "MPR",
    "REFORMATTED",
    "REFORMAT",
    "MIP",
    "MINIP",
    "PROJECTION IMAGE",
    "CPR",
    "CURVED",
    "SUBTRACTION",
    "VRT",
}
_REFORMAT_WORDS = r"mpr|mip|minip|vrt|3d|reformat\w*|recon 3d|cor|coronal|coronals|sag|sagittal|sagittals|subtraction"
_DYNAMIC_WORDS = r"dyn\w*|perf\w*|ctp|vpct|4d|cine|multi ?phas\w*|time resolved|toggling\w*|shuttle|tac"
_BONE_WORDS = r"bone\w*|sharp|osteo|ossea|knochen|petrous|temporal|iac"
_OTHER_WORDS = r"neck|c ?spine|cervical|spine|chest|thorax|abdomen|pelvis|sinus\w*|facial|face|orbit\w*|carotid\w*|lung"


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The series that was chosen among those of a study.

    Attributes:
      series: the one.
      why: by what it was chosen.
      others: every other series with its reason, ``"code: text"`` with the codes of ``REFUSAL_CODES``.
    """

    series: Series
    why: str
    others: tuple[tuple[Series, str], ...]


def select_series(found: Found[Series]) -> Selection:
    """Choose the non-contrast soft-kernel axial head series among all that were found.

    A series is left out if one of ``REFUSAL_CODES`` holds, in their order. Contrast is seen by the contrast tags and by
    words of the description, as it is often not tagged (CQ500), see ``contrast.contrast_said``; a sharp kernel by
    ConvolutionKernel (0018,1210) and by words. Of those left, the thickness nearest to 5 mm wins, then the most
    coverage, then the voltage nearest to 120 kV, then the first by path.

    Raises:
      InputError: none is left; names the reason of each.
    """
    if not found.series:
        raise nothing_found(found)
    reasons = [reason_against(series) for series in found.series]
    good = [series for series, reason in zip(found.series, reasons, strict=True) if reason is None]
    if not good:
        said = "; ".join(f"{series.path.name} {reason}" for series, reason in zip(found.series, reasons, strict=True))
        raise InputError(
            f"none of {len(found.series)} series is a non-contrast soft-kernel axial head ({said[:600]})",
            where=found.path,
            mend="name the series' own folder if one is right all the same",
        )
    best = min(good, key=_rank)
    thickness_mm, coverage_mm = _thickness_mm(best), _coverage_mm(best)
    text = f"{len(best.headers)} slices of {thickness_mm:g} mm over {coverage_mm:.0f} mm"
    why = text if len(good) == 1 else f"{text}: of {len(good)} that would do, nearest to {_USUAL_MM:g} mm, then longest"
    others = tuple(
        (series, reason or f"second_choice: {_thickness_mm(series):g} mm over {_coverage_mm(series):.0f} mm")
        for series, reason in zip(found.series, reasons, strict=True)
        if series is not best
    )
    return Selection(series=best, why=why, others=others)


def choices(found: Found[Any]) -> dict[Series, str]:
    """For every DICOM series ``"chosen: why"`` or the reason against it; one is chosen in each study where one fits.

    Anonymisers give one StudyInstanceUID to several patients, so each patient's study is looked at by itself.
    """
    studies: dict[tuple[str, str], list[Series]] = {}
    for series in found.series:
        if isinstance(series, Series):
            studies.setdefault((series.study_uid, series.headers[0].patient_id), []).append(series)
    said: dict[Series, str] = {}
    for of_study in studies.values():
        try:
            selection = select_series(replace(found, series=tuple(of_study)))
        except InputError:
            said |= {series: reason_against(series) or "" for series in of_study}
        else:
            said |= {selection.series: f"chosen: {selection.why}"} | dict(selection.others)
    return said


def reason_against(series: Series) -> str | None:
    """Why a series is no non-contrast soft-kernel axial head, ``"code: text"``; None if it is one as far as it says."""
    first = series.headers[0]
    words = plain_words(first.description)
    image_type = set(first.image_type)
    if series.modality != "CT":
        return f"not_ct: Modality {series.modality or 'absent'}"
    if any(h.position_mm is None or h.orientation is None or h.spacing_mm is None for h in series.headers):
        return "no_geometry: positions, orientations or pixel spacing are absent"
    if len(series.headers) < _MIN_SLICES:
        return f"few_slices: {len(series.headers)}"
    normal = np.abs(_normal(series))
    if normal[2] < max(normal):
        return f"not_axial: {'sagittal' if normal[0] > normal[1] else 'coronal'}"
    steps_mm = np.diff(_along_mm(series))
    if steps_mm.min() <= SAME_POSITION_MM:
        return "mixed: different pictures stand at one position"
    if are_interleaved(steps_mm, _thickness_mm(series)):
        return "mixed: two stacks of slices lie in each other"
    if found := (image_type & _REFORMATS) or _match(_REFORMAT_WORDS, words):
        return f"reformat: {_said(found)}"
    if found := _match(_OTHER_WORDS, f"{words} {plain_words(first.body_part)}"):
        return f"other_region: {_said(found)}"
    if series.time_points > 1:
        return f"dynamic: one of {series.time_points} volumes of the same stretch at different times"
    if found := _match(_DYNAMIC_WORDS, words):
        return f"dynamic: the description says {_said(found)}"
    if said := contrast_said(first):
        return f"contrast: {said}"
    if is_sharp(first.kernel):
        return f"bone_kernel: ConvolutionKernel {first.kernel}"
    if found := _match(_BONE_WORDS, words):
        return f"bone_kernel: the description says {_said(found)}"
    if (coverage_mm := _coverage_mm(series)) < _MIN_COVERAGE_MM:
        return f"short: {coverage_mm:.0f} mm"
    return None


def is_sharp(kernel: str) -> bool:
    """Whether a ConvolutionKernel is one for bone, by the makers' ways of naming them; False where it says nothing.

    GE: BONE, BONEPLUS, EDGE, LUNG, ULTRA. Siemens: letters and two figures, sharp from 50 (B30s is for soft tissue,
    B50s to B80s, H60s, U70u and J70 for bone). Canon: FC30 to FC39, FC50 to FC59 and FC80 to FC89. Philips: YC to YE,
    E, L.
    """
    name = kernel.strip().upper().split("\\")[0].split("/")[0].strip()
    if match := re.fullmatch(r"FC(\d\d).*", name):
        return int(match[1]) // 10 in (3, 5, 8)
    if match := re.fullmatch(r"(?:[BHUJ][A-Z]?|QR|BR|HR|HC|BL|BV|UB)(\d\d)[A-Z]*.*", name):
        return int(match[1]) >= 50
    return bool(re.fullmatch(r"BONE.*|EDGE|LUNG|ULTRA.*|YC|YD|YE|E|L", name))


def _match(pattern: str, words: str) -> str | None:
    match = re.search(rf"(?<![a-z0-9])(?:{pattern})(?![a-z0-9+])", words)
    return match[0] if match else None


def _said(found: str | set[str]) -> str:
    return repr(found) if isinstance(found, str) else "ImageType " + ", ".join(sorted(found))


def _rank(series: Series) -> tuple[float, float, float, str]:
    # Thicknesses that a console computed from steps of its table differ in the second place.
    thickness_mm, kv = round(_thickness_mm(series), 1), series.headers[0].acquisition[_KVP]
    from_usual_kv = abs(float(kv) - _USUAL_KV) if re.fullmatch(r"\d{1,4}(\.\d*)?", kv) else 0.0
    return abs(thickness_mm - _USUAL_MM), -round(_coverage_mm(series)), from_usual_kv, str(series.path)


def _normal(series: Series) -> np.ndarray:
    axes = np.array(series.headers[0].orientation, np.float64).reshape(2, 3)
    return np.cross(axes[0], axes[1])


def _along_mm(series: Series) -> np.ndarray:
    return np.sort(np.array([header.position_mm for header in series.headers]) @ _normal(series))


def _coverage_mm(series: Series) -> float:
    return float(np.ptp(_along_mm(series)))


def _thickness_mm(series: Series) -> float:
    """SliceThickness; the median step between slices where it is absent. SpacingBetweenSlices can be nonsense."""
    said = [header.thickness_mm for header in series.headers if header.thickness_mm]
    return float(np.median(said if said else np.diff(_along_mm(series))))
