"""One SeriesInstanceUID that holds several stacks: two patients, two acquisitions, two tubes, points in time.

Nothing here trusts a single tag. Slices are told apart where the tags *and* the positions say that each part is a stack
of its own; what one stack says of its slices (an acquisition number for each, a thickness of 5 and 4.98 mm) leaves it
whole.
"""

import itertools
import math
from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from ichformer.ct.io.dicom.copies import pixels_hash
from ichformer.ct.io.dicom.criteria import find_criteria, number_or_text
from ichformer.ct.io.dicom.elements import ACQUISITION_TAGS
from ichformer.ct.io.dicom.headers import Header
from ichformer.ct.io.dicom.slices import SAME_POSITION_MM, is_one_protocol

_MIN_SLICES = 3
"""Fewer slices are no stack, only what was left over."""

_STRAY = 0.1
"""So many of all slices may be left over, in parts that are no stack."""

_MIN_DYNAMIC = 3
"""So many volumes of one stretch at different times are a dynamic series, such as perfusion; two are a repeat."""

_MAX_COMBINED, _MAX_VARYING = 3, 8

_NEVER_BY_TURNS = frozenset(
    {"ConvolutionKernel", "KVP", "SeriesDescription", "ContrastBolusAgent", "FrameOfReferenceUID", "PatientAge"}
)
"""What does not change from slice to slice and back again within a scan."""

_IN_TIME = frozenset(
    {
        *("AcquisitionUID", "IrradiationEventUID", "AcquisitionNumber", "TemporalPositionIdentifier", "TriggerTime"),
        *("AcquisitionDateTime", "AcquisitionDate", "AcquisitionTime", "ContentTime", "SeriesTime", "InstanceNumber"),
    }
)
_IN_ORDER = ("AcquisitionDateTime", "AcquisitionTime", "AcquisitionNumber", "ContentTime", "InstanceNumber")
_SHOWN = frozenset({"AcquisitionNumber", "KVP", "ConvolutionKernel", "SliceThickness", "TemporalPositionIdentifier"})
"""What may be printed with its value: it says nothing of who the patient is."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """One stack of a series.

    Attributes:
      headers: its slices, each position once where all is well.
      copies: files that hold one of these slices again.
      told_apart: by what it was told from the rest of its series, and which part it is; "" where it is all of it.
      time_points: how many volumes of the same stretch the series holds, told apart by time; 1 if it is no time series.
    """

    headers: tuple[Header, ...]
    copies: tuple[Header, ...]
    told_apart: str
    time_points: int


def partition(headers: Sequence[Header]) -> list[Part]:
    """Divide slices that share patient, study, series, size, orientation and pixel spacing into stacks.

    Two pictures at one position, or two grids of positions in each other, are several stacks: what tells them apart is
    looked for among ``ACQUISITION_TAGS``, kernel, thickness, image type, description, folder and more, one or up to
    three at once, then in the order of times and numbers. The fewest parts that are all plausible are taken. Where
    nothing tells them apart all stay together, and ``dicom.read_series`` refuses them.

    Slices that make one plausible stack stay one, but for kernels, thicknesses, voltages and the like of which each
    covers the same stretch without gaps.
    """
    if len(headers) < 2 or any(header.position_mm is None or header.orientation is None for header in headers):
        return [
            Part(headers=tuple(alike), copies=(), told_apart="", time_points=1)
            for alike in _grouped(headers, [header.kernel for header in headers])
        ]
    slices = _Slices(headers)
    everything = range(len(headers))
    found = _told_apart(slices) if slices.is_sound(everything) else _pulled_apart(slices)
    if found is None:
        return [slices.part(everything, "", 1)]
    names, labels = found
    parts = [part for _, part in sorted(zip(dict.fromkeys(labels), _indices(labels), strict=True), key=_by_label)]
    time_points = len(parts) if set(names) & _IN_TIME and len(parts) >= _MIN_DYNAMIC else 1
    return [
        slices.part(part, _said(names, headers[part[0]], i + 1, len(parts)), time_points)
        for i, part in enumerate(parts)
    ]


class _Slices:
    """Positions and pixel hashes of some slices, computed once."""

    def __init__(self, headers: Sequence[Header]):
        self.headers = headers
        plane = np.median([header.orientation for header in headers], axis=0).reshape(2, 3)
        normal = np.cross(plane[0], plane[1])
        length = float(np.linalg.norm(normal))
        self.along_mm = np.array([header.position_mm for header in headers]) @ (normal / length if length else normal)
        order = np.argsort(self.along_mm, kind="stable")
        place = np.cumsum(np.concatenate([[0], np.diff(self.along_mm[order]) > SAME_POSITION_MM]))
        self.place = np.empty(len(headers), int)
        self.place[order] = place
        self.thickness_mm = np.array([header.thickness_mm or np.nan for header in headers])
        shared = np.bincount(self.place) > 1
        self.picture = [pixels_hash(h) if shared[p] else "" for h, p in zip(headers, self.place, strict=True)]

    def is_sound(self, part: Sequence[int]) -> bool:
        """Whether each position has one picture (copies aside) and the steps are those of one protocol."""
        if any(len(pictures) > 1 for pictures in self._pictures(part).values()):
            return False
        return is_one_protocol(self.steps_mm(part))

    def steps_mm(self, part: Sequence[int]) -> Float64[np.ndarray, "steps"]:
        """Distances between the positions of a part, from one end to the other."""
        mm = np.sort(self.along_mm[list(part)])
        steps = np.diff(mm)
        return steps[steps > SAME_POSITION_MM]

    def fills(self, part: Sequence[int]) -> bool:
        """Whether the slices are as thick as they are far apart, with no gap between them; False if unknown."""
        return bool(self._pitch(part) <= 1.1)

    def crowds(self, part: Sequence[int]) -> bool:
        """Whether the slices overlap so much that half of them would do; False if unknown."""
        return bool(self._pitch(part) <= 0.75)

    def _pitch(self, part: Sequence[int]) -> float:
        steps_mm = self.steps_mm(part)
        return float(np.median(steps_mm) / np.median(self.thickness_mm[list(part)])) if len(steps_mm) else math.nan

    def shared_mm(self, parts: Sequence[Sequence[int]]) -> float:
        """Length of the stretch that all parts cover; negative where two of them have room between them."""
        ends = [(self.along_mm[list(part)].min(), self.along_mm[list(part)].max()) for part in parts]
        return float(min(high for _, high in ends) - max(low for low, _ in ends))

    def part(self, part: Sequence[int], told_apart: str, time_points: int) -> Part:
        """These slices as a ``Part``, with copies of a slice apart."""
        seen: set[tuple[int, str]] = set()
        kept: list[Header] = []
        copies: list[Header] = []
        for i in part:
            known = (int(self.place[i]), self.picture[i])
            # What is cut short has no hash, and is no copy: reading it says so.
            (copies if known in seen and known[1] else kept).append(self.headers[i])
            seen.add(known)
        return Part(headers=tuple(kept), copies=tuple(copies), told_apart=told_apart, time_points=time_points)

    def _pictures(self, part: Sequence[int]) -> dict[int, set[str]]:
        pictures: dict[int, set[str]] = defaultdict(set)
        for i in part:
            pictures[int(self.place[i])].add(self.picture[i] or f"#{i}")
        return pictures


def _told_apart(slices: _Slices) -> tuple[tuple[str, ...], list[Hashable]] | None:
    """What divides a plausible stack all the same: two stacks that overlap and each fill their stretch."""
    thickest_mm = float(np.nanmax([0.0, *slices.thickness_mm]))
    everything = range(len(slices.headers))
    crowds, fills = slices.crowds(everything), slices.fills(everything)
    for name, labels in find_criteria(slices.headers, with_place=False).items():
        is_partial = "" in labels
        if is_partial:
            labels = [label != "" for label in labels]
        parts = _indices(labels)
        if slices.shared_mm(parts) <= thickest_mm:
            continue
        if not is_partial and (name in _NEVER_BY_TURNS or (name == "SliceThickness" and not fills)):
            return (name,), labels
        if _are_stacks(slices, parts) and (crowds or all(map(slices.fills, parts))):
            return (name,), labels
    return None


def _pulled_apart(slices: _Slices) -> tuple[tuple[str, ...], list[Hashable]] | None:
    """What divides slices that are no plausible stack into stacks that are."""
    criteria = find_criteria(slices.headers, with_place=True)
    found: list[tuple[tuple[str, ...], list[Hashable]]] = []
    for count in range(1, _MAX_COMBINED + 1):
        for names in itertools.combinations(list(criteria)[: None if count == 1 else _MAX_VARYING], count):
            labels: list[Hashable] = list(zip(*(criteria[name] for name in names), strict=True))
            parts = _indices(labels)
            if _are_stacks(slices, parts) and _lie_in_each_other(slices, parts):
                found.append((names, labels))
        if found:
            return min(found, key=lambda one: len(set(one[1])))
    for name in _IN_ORDER:
        passes = _passes(slices, name)
        if passes and _are_stacks(slices, _indices(passes)) and _lie_in_each_other(slices, _indices(passes)):
            return (name,), passes
    return None


def _are_stacks(slices: _Slices, parts: list[list[int]]) -> bool:
    left_over = sum(len(part) for part in parts if len(part) < _MIN_SLICES)
    return left_over <= _STRAY * len(slices.headers) and all(map(slices.is_sound, parts))


def _lie_in_each_other(slices: _Slices, parts: list[list[int]]) -> bool:
    """Whether all parts cover one stretch; parts that follow each other are pieces of one stack."""
    stacks = [part for part in parts if len(part) >= _MIN_SLICES]
    return len(parts) > 1 and bool(stacks) and slices.shared_mm(stacks) > -SAME_POSITION_MM


def _passes(slices: _Slices, name: str) -> list[Hashable]:
    """Labels by the order of a time or number: a new part begins wherever the run up or down the stack ends.

    Slices of one time or number are taken together. Empty where the order says nothing.
    """
    which = list(ACQUISITION_TAGS).index(name)
    values = [number_or_text(header.acquisition[which]) for header in slices.headers]
    if not all(isinstance(value, float) for value in values):
        return []
    labels: list[Hashable] = [0] * len(values)
    current, direction = 0, 0
    low = high = -1
    for block in (part for _, part in sorted(zip(dict.fromkeys(values), _indices(values), strict=True), key=_by_label)):
        places = [int(slices.place[i]) for i in block]
        if len(set(places)) < len(places):
            return []
        goes = 0 if low < 0 else 1 if min(places) > high else -1 if max(places) < low else None
        if goes is None or (goes and direction and goes != direction):
            current, direction, goes = current + 1, 0, 0
        direction = goes or direction
        low, high = min(places), max(places)
        for i in block:
            labels[i] = current
    return labels if current else []


def _by_label(labelled: tuple[Hashable, list[int]]) -> tuple[tuple[bool, float, str], ...]:
    """Numbers by their size, before text."""
    label = labelled[0] if isinstance(labelled[0], tuple) else (labelled[0],)
    return tuple((False, float(one), "") if isinstance(one, int | float) else (True, 0.0, str(one)) for one in label)


def _indices(labels: Sequence[Hashable]) -> list[list[int]]:
    parts: dict[Hashable, list[int]] = {}
    for i, label in enumerate(labels):
        parts.setdefault(label, []).append(i)
    return list(parts.values())


def _grouped(headers: Sequence[Header], labels: Sequence[Hashable]) -> list[list[Header]]:
    return [[headers[i] for i in part] for part in _indices(labels)]


def _said(names: tuple[str, ...], header: Header, number: int, count: int) -> str:
    """A text that says what separates a part from the others, without naming a patient."""
    values = {
        **dict(zip(ACQUISITION_TAGS, header.acquisition, strict=True)),
        "ConvolutionKernel": header.kernel,
        "SliceThickness": "" if header.thickness_mm is None else f"{header.thickness_mm:g}",
    }
    told = " and ".join(f"{name} {values[name]}".strip() if name in _SHOWN else name for name in names)
    return f"part {number} of {count}, by {told}"
