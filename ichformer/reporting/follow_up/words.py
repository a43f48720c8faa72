"""How volumes, growths and times of a follow-up are written."""

from ichformer.lesions.follow_up.followed import Followed
from ichformer.lesions.follow_up.growth import Growth
from ichformer.lesions.measures import LabelMeasures
from ichformer.reporting.follow_up.compared import CHANGE_NAMES, Compared
from ichformer.reporting.scan.page import LABEL_NAMES

_HOURS = 48.0
"""Longer times are written in days."""

NOT_COMPARED = (
    "The heads could not be laid over each other well enough, so the bleeds were not compared one by one. The volumes "
    "of each scan still hold."
)
"""What is said instead of a list of bleeds."""


def volume_words(measures: LabelMeasures) -> str:
    """Such as "12.3 ml (9.1 to 20.5)"."""
    interval = measures.interval
    return f"{measures.ml:.1f} ml" + ("" if interval is None else f" ({interval.low_ml:.1f} to {interval.high_ml:.1f})")


def growth_words(growth: Growth) -> str:
    """Such as "+4.2 ml (-0.5 to +9.9), +34 %"."""
    interval = "" if growth.low_ml is None else f" ({_signed(growth.low_ml)} to {_signed(growth.high_ml)})"
    percent = "" if growth.percent is None else f", {growth.percent:+.0f} %"
    return f"{_signed(growth.ml)} ml{interval}{percent}"


def change_words(growth: Growth) -> str:
    """What the interval of a growth says, and whether it exceeds the definition of trials."""
    return CHANGE_NAMES[growth.change] + ("; more than 6 ml or 33 %" if growth.exceeds_definition else "")


def subtype_words(followed: Followed) -> str:
    """The subtypes of a bleed, in both scans where these differ."""
    before, after = (
        " and ".join(dict.fromkeys(LABEL_NAMES.get(name, name).lower() for one in bleeds for name in one.subtypes))
        for bleeds in (followed.earlier, followed.later)
    )
    if not followed.earlier or not followed.later or before == after:
        return after or before or "no subtype"
    return f"{before or 'no subtype'}, later {after or 'no subtype'}"


def place_words(followed: Followed) -> str:
    """Side and slices, counted from 1."""
    said = [" and ".join(followed.sides)] if followed.sides else []
    for name, bleeds in (("earlier", followed.earlier), ("later", followed.later)):
        if bleeds:
            first, last = min(one.first_slice for one in bleeds) + 1, max(one.last_slice for one in bleeds) + 1
            said.append(f"{name} slice {first}" if first == last else f"{name} slices {first} to {last}")
    return ", ".join(said)


def time_words(hours: float | None) -> str:
    """The time between two scans."""
    if hours is None:
        return "not known"
    return f"{hours:.1f} hours" if hours < _HOURS else f"{hours / 24:.0f} days"


def fit_words(compared: Compared) -> str:
    """How well the heads lie over each other."""
    found = compared.registration
    return (
        f"turned by {found.motion.angle_deg:.1f} degrees, overlap of the brains (Dice) {found.dice:.3f}, "
        f"correlation of the heads {found.likeness:.3f}: {'good' if found.is_good else 'poor'}"
    )


def _signed(ml: float | None) -> str:
    return "" if ml is None else f"{ml:+.1f}".replace("-0.0", "0.0").replace("+0.0", "0.0")
