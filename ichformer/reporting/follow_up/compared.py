"""What a follow-up is reported from: both scans with what a model said of them, and what became of the bleeds."""

from collections.abc import Mapping
from dataclasses import dataclass

from ichformer.ct.geometry.registration import Registration
from ichformer.lesions.follow_up.bleeds import Bleeds
from ichformer.lesions.follow_up.followed import Fate, Followed
from ichformer.lesions.follow_up.growth import SIGNIFICANT_ML, SIGNIFICANT_PERCENT, Change, Growth, growth_of
from ichformer.lesions.measures import LabelMeasures
from ichformer.lesions.volumes import COVERAGE
from ichformer.reporting.scan.lesions import LesionReport
from ichformer.reporting.scan.reading import Reading

FATE_NAMES: Mapping[Fate, str] = {
    "same": "in both scans",
    "new": "new",
    "gone": "gone",
    "merged": "merged",
    "split": "split",
    "rearranged": "merged and split",
    "not_shown": "not shown by the other scan",
}
"""How a fate is written."""

CHANGE_NAMES: Mapping[Change, str] = {
    "grown": "grown",
    "shrunk": "shrunk",
    "within_interval": "the interval holds 0",
    "no_interval": "no interval is known",
}
"""How a change is written."""

DEFINITION = (
    f"Growth of more than {SIGNIFICANT_ML:.0f} ml or {SIGNIFICANT_PERCENT:.0f} % is what most trials of intracerebral "
    "haemorrhage define as haematoma expansion (Dowlatshahi et al., Neurology 2011; Brott et al., Stroke 1997). It is "
    "marked where the measured growth exceeds it, whatever its interval. It is no diagnosis."
)
"""Said beside every mark."""

INTERVALS = (
    f"A volume's interval holds the true volume of {COVERAGE:.0%} of validation scans with such a prediction. That of "
    "a growth adds the errors of both volumes as if they were independent (Zou and Donner 2008). Validation had no "
    "pairs of scans, and the interval of a single bleed is that of a whole scan with such a volume."
)
"""Said under the tables."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ComparedScan:
    """One of the two scans.

    Attributes:
      key: of the series; it names nobody.
      reading: what the model said.
      bleeds: whatever their label.
    """

    key: str
    reading: Reading
    bleeds: Bleeds

    @property
    def lesions(self) -> LesionReport:
        """Its lesions, which every scan that is compared has."""
        assert self.reading.lesions is not None
        return self.reading.lesions


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelGrowth:
    """How the volume of a label grew."""

    label: str
    earlier: LabelMeasures
    later: LabelMeasures

    @property
    def growth(self) -> Growth:
        """Of the volumes, which stand on the voxels of each scan."""
        return growth_of(self.earlier.ml, self.later.ml, earlier=self.earlier.interval, later=self.later.interval)


@dataclass(frozen=True, kw_only=True, eq=False)
class Compared:
    """Two scans of a patient.

    Attributes:
      earlier, later: the scans.
      hours: between them; None where that is not known.
      registration: how the later one lies over the earlier one.
      followed: what became of every bleed; None where the scans could not be laid over each other well enough.
      remarks: sentences on what is doubtful.
    """

    earlier: ComparedScan
    later: ComparedScan
    hours: float | None
    registration: Registration
    followed: tuple[Followed, ...] | None
    remarks: tuple[str, ...]

    @property
    def labels(self) -> tuple[LabelGrowth, ...]:
        """The growth of every label with a threshold."""
        later = {one.label: one for one in self.later.lesions.labels}
        return tuple(
            LabelGrowth(label=one.label, earlier=one, later=later[one.label]) for one in self.earlier.lesions.labels
        )
