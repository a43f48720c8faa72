"""What `ichformer follow-up` prints."""

from ichformer.errors import one_line
from ichformer.reporting.follow_up.compared import FATE_NAMES, Compared
from ichformer.reporting.follow_up.words import (
    NOT_COMPARED,
    change_words,
    fit_words,
    growth_words,
    place_words,
    subtype_words,
    time_words,
    volume_words,
)


def format_follow_up(compared: Compared) -> str:
    """The growth of each label, what became of each bleed, and what is doubtful."""
    lines = [f"time between the scans: {time_words(compared.hours)}", f"heads: {fit_words(compared)}"]
    for one in compared.labels:
        before, after = volume_words(one.earlier), volume_words(one.later)
        if one.earlier.ml or one.later.ml:
            lines.append(
                f"{one.label}: {before}, later {after}: {growth_words(one.growth)}, {change_words(one.growth)}"
            )
        else:
            lines.append(f"{one.label}: {before} in both scans")
    if compared.followed is None:
        lines.append(NOT_COMPARED)
    for bleed in compared.followed or ():
        lines.append(
            f"bleed {bleed.number} {FATE_NAMES[bleed.fate]}: {subtype_words(bleed)}, {place_words(bleed)}, "
            f"{bleed.earlier_ml:.1f} ml, later {bleed.later_ml:.1f} ml"
        )
    lines += [one_line(remark, max_chars=600) for remark in compared.remarks]
    return "\n".join(lines)
