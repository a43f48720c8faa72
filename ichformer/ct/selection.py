"""Choosing the series of a study to look for blood in, by written rules: non-contrast, soft kernel, axial."""

import re
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ichformer.ct.contrast import contrast_said, plain_words
from ichformer.ct.io.dicom.elements import ACQUISITION_TAGS
from ichformer.ct.io.dicom.headers import Header
from ichformer.ct.io.dicom.series import Series
from ichformer.ct.io.dicom.slices import SAME_POSITION_MM, are_interleaved
from ichformer.ct.io.found import Found, nothing_found
from ichformer.errors import InputError

REFUSAL_CODES: dict[str, str] = {
    "not_ct": "Modality is not CT",
    "no_geometry": "positions, orientations or pixel spacing are absent",
    "few_slices": "fewer slices than a head has",
    "not_axial": "the slices are coronal or sagittal",
    "mixed": "several stacks of slices, and no tag tells them apart",
    "dynamic": "one of several volumes over time, such as perfusion",
    "reformat": "computed from another series: a reformat, a projection, a subtraction",
    "spectral": "computed from two energies: virtual non-contrast, a material map, or far from 70 keV",
    "other_region": "another part of the body",
    "contrast": "with contrast medium",
    "bone_kernel": "reconstructed with a sharp kernel, for bone",
    "short": "covers less than 80 mm, so not the whole head",
    "second_choice": "would do, but another series does better",
}
"""Stable code of every reason for not choosing a series -> what it means."""

_MIN_SLICES, _MIN_COVERAGE_MM = 8, 80.0
_MAX_COVERAGE_MM = 400.0
"""Head and neck fit into it; what is longer is a trunk or a whole body, where slices of the brain are a few of many."""

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
_REFORMAT_WORDS = (
    r"mpr|mips?|minips?|vrt|3d|reformat\w*|recon 3d|cor|coronal|coronals|sag|sagittal|sagittals|subtraction"
)
_SPECTRAL_TYPES = re.compile(
    r"VNC\w*|VUE|VNCA\w*|MD_\w+|\w*IODINE\w*|WATER|Z_?EFF\w*|ELECTRON_DENSITY|RHO\w*|CA_?SUPP\w*|URIC\w*"
)
_SPECTRAL_WORDS = (
    r"vnc\w*|vue|virtual (?:non|un|native?)\w*|iod(?:ine)? (?:map|overlay|density)\w*|z ?eff\w*|effective z"
    r"|electron density|rho z|ca ?supp?\w*|calcium supp\w*|uric acid\w*"
)
_MONO = r"mono|mono ?e\w*|mono ?plus|monochrom\w*|vmi|vms|mono ?\+"
_LIKE_KV_KEV = (60, 80)
"""Monoenergetic pictures in which blood and brain are as far apart as at 120 kV; photon counters write 70 keV."""

_DYNAMIC_WORDS = r"dyn\w*|perf\w*|ctp|vpct|4d|cine|multi ?phas\w*|time resolved|toggling\w*|shuttle"
_BONE_WORDS = (
    r"bone\w*|sharp|osteo|osse[ao]\w*|oss[eo]ux|osseuse|osea|oseo|osso\w*|os|hueso\w*|knochen\w*|felsenbein\w*"
    r"|petrous|temporal(?! lobe)|iac|bot|skelet\w*|ben|bein\w*|benvindu|benfonster|kosc\w*|kost\w*|kosti|кост\w*"
    r"|csont\w*|luu\w*|kemik\w*|\w*[骨]\w*"
)
_KERNEL_WORD = r"(?:[bhuji]|[bhuq][rlvcb]|fc)\d\d[a-z]?"
"""Kernels as they stand in descriptions, such as "Kopf 1.0 H60s"."""

_OTHER_WORDS = (
    r"neck|[clts] ?spine|cervical|spine|chest|thorax|abdomen|pelvis|sinus\w*|facial|face|orbit\w*|carotid\w*|lungs?"
    r"|lumb\w*|lspine|tspine|sspine|hals\w*|[hbl]ws|\w*wirbel\w*|cou|tsa|rachis|cuello|collo|columna|colonna|wervel\w*"
    r"|shoulder|schulter|arm|elbow|wrist|hand|hip|hufte|huefte|knee|knie|leg|foot|feet|fuss|ankle|extremit\w*|femur"
    r"|torax|thorac\w*|pulmon\w*|lunge\w*|poumon\w*|polmon\w*|abdom\w*|pelv\w*|becken|bauch\w*|liver|leber"
    r"|kidneys?|heart|herz|cardiac|coronary|nnh|nasenneben\w*|gesichts?scha?e?del|mittelgesicht"
    r"|dental|jaw|mandib\w*|maxill\w*|zahn\w*|cbct|cone beam"
    r"|\w*(?:颈|頸|胸|腹|肺|骨盆|腰椎|경추|흉부|복부)\w*|шея|шеи|груд\w*|брюш\w*"
)
"""Parts of the body (DICOM PS3.16 Annex L, and words of descriptions)."""


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
    ConvolutionKernel (0018,1210) and by words. Of those left, the thickness nearest to 5 mm wins, then what was not
    computed from other pictures, then the most coverage, then the voltage nearest to 120 kV, then the first by path.

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
            fix="name the series' own folder if one is right all the same",
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

    Anonymisers give one StudyInstanceUID to several patients, so each patient's study is considered by itself.
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
    """Why a series is no non-contrast soft-kernel axial head, ``"code: text"``; None if it is one as far as it says.

    What is said of one slice is said of all: contrast may begin half-way.
    """
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
    several = list({_what_is_said(header): header for header in reversed(series.headers)}.values())[::-1]
    for against in (_computed, _of_elsewhere):
        if reason := next(filter(None, map(against, several)), None):
            return reason
    if series.time_points > 1:
        return f"dynamic: one of {series.time_points} volumes of the same stretch at different times"
    for against in (_dynamic, _with_contrast, _for_bone):
        if reason := next(filter(None, map(against, several)), None):
            return reason
    if (coverage_mm := _coverage_mm(series)) < _MIN_COVERAGE_MM:
        return f"short: {coverage_mm:.0f} mm"
    if coverage_mm > _MAX_COVERAGE_MM:
        return f"other_region: covers {coverage_mm:.0f} mm, more than a head"
    return None


def _what_is_said(header: Header) -> tuple[object, ...]:
    """All that the reasons below are taken from, so that slices which say the same are read once."""
    contrast = (header.contrast_agent, header.contrast_given)
    return header.description, header.protocol, header.image_type, header.body_part, header.kernel, *contrast


def _computed(header: Header) -> str | None:
    words, image_type = plain_words(header.description), set(header.image_type)
    if found := (image_type & _REFORMATS) or _match(_REFORMAT_WORDS, words):
        return f"reformat: {_said(found)}"
    if found := {one for one in image_type if _SPECTRAL_TYPES.fullmatch(one)} or _match(_SPECTRAL_WORDS, words):
        return f"spectral: {_said(found)}"
    if _is_monoenergetic(header) and not _LIKE_KV_KEV[0] <= (_kev(header) or 0) <= _LIKE_KV_KEV[1]:
        return f"spectral: monoenergetic, {_kev(header) or 'of unknown'} keV"
    return None


def _is_monoenergetic(header: Header) -> bool:
    is_typed = any(re.fullmatch(r"(DET_)?MONO\w*|VMI\w*", one) for one in header.image_type)
    return is_typed or _match(rf"{_MONO}|\d+ ?kev", plain_words(header.description)) is not None


def _kev(header: Header) -> int | None:
    """The energy in keV of a monoenergetic picture; None where the header names none."""
    found = re.search(
        r"(\d{2,3})[ _]?kev", " ".join((plain_words(header.description), *header.image_type)), re.IGNORECASE
    )
    return int(found[1]) if found else None


def _of_elsewhere(header: Header) -> str | None:
    found = _match(_OTHER_WORDS, f"{plain_words(header.description)} {plain_words(header.body_part)}")
    return f"other_region: {_said(found)}" if found else None


def _dynamic(header: Header) -> str | None:
    found = _match(_DYNAMIC_WORDS, plain_words(header.description))
    return f"dynamic: the description says {_said(found)}" if found else None


def _with_contrast(header: Header) -> str | None:
    said = contrast_said(header)
    return f"contrast: {said}" if said else None


def _for_bone(header: Header) -> str | None:
    if is_sharp(header.kernel):
        return f"bone_kernel: ConvolutionKernel {header.kernel}"
    words = plain_words(header.description)
    kernel = next((one for one in words.split() if re.fullmatch(_KERNEL_WORD, one) and is_sharp(one)), None)
    found = _match(_BONE_WORDS, words) or kernel
    return f"bone_kernel: the description says {_said(found)}" if found else None


def is_sharp(kernel: str) -> bool:
    """Whether a ConvolutionKernel is one for bone, by the makers' ways of naming them; False where it says nothing.

    GE: BONE, BONEPLUS, EDGE, LUNG, ULTRA. Siemens: letters and two figures, sharp from 50 (B30s is for soft tissue,
    B50s to B80s, H60s, U70u, J70 and I70f for bone). Canon: FC30 to FC39, FC50 to FC59 and FC80 to FC89. Philips: YC to
    YE, E, L. United Imaging: H_SHARP_C, H_VSHARP_C.
    """
    name = kernel.strip().upper().split("\\")[0].split("/")[0].strip()
    if match := re.fullmatch(r"FC(\d\d).*", name):
        return int(match[1]) // 10 in (3, 5, 8)
    if match := re.fullmatch(r"[A-EG-Z][A-Z]?(\d\d)[A-Z]*.*", name):
        return int(match[1]) >= 50
    return bool(re.search(r"(?<![A-Z])(?:BONE|V?SHARP|EDGE|LUNG|ULTRA)", name) or re.fullmatch(r"YC|YD|YE|E|L", name))


def _match(pattern: str, words: str) -> str | None:
    match = re.search(rf"(?<![a-z0-9])(?:{pattern})(?![a-z0-9+])", words)
    return match[0] if match else None


def _said(found: str | set[str]) -> str:
    return repr(found) if isinstance(found, str) else "ImageType " + ", ".join(sorted(found))


def _rank(series: Series) -> tuple[float, bool, bool, float, float, str]:
    # Thicknesses that a console computed from steps of its table differ in the second place.
    thickness_mm, kv = round(_thickness_mm(series), 1), series.headers[0].acquisition[_KVP]
    from_usual_kv = abs(float(kv) - _USUAL_KV) if re.fullmatch(r"\d{1,4}(\.\d*)?", kv) else 0.0
    first = series.headers[0]
    computed = _is_monoenergetic(first), "DERIVED" in first.image_type
    return abs(thickness_mm - _USUAL_MM), *computed, -round(_coverage_mm(series)), from_usual_kv, str(series.path)


def _normal(series: Series) -> np.ndarray:
    axes = np.array(series.headers[0].orientation, np.float64).reshape(2, 3)
    return np.cross(axes[0], axes[1])


def _along_mm(series: Series) -> np.ndarray:
    return np.sort(np.array([header.position_mm for header in series.headers]) @ _normal(series))


def _coverage_mm(series: Series) -> float:
    return float(np.ptp(_along_mm(series)))


def _thickness_mm(series: Series) -> float:
    """SliceThickness, or the median step between slices where it is absent; SpacingBetweenSlices is unreliable."""
    said = [header.thickness_mm for header in series.headers if header.thickness_mm]
    return float(np.median(said if said else np.diff(_along_mm(series))))
