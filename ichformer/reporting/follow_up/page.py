"""A follow-up as one HTML file that opens anywhere and fetches nothing."""

import base64
from pathlib import Path
from typing import Any

from ichformer.errors import one_line
from ichformer.lesions.follow_up.followed import Followed
from ichformer.lesions.follow_up.growth import Growth
from ichformer.reporting.follow_up.compared import DEFINITION, FATE_NAMES, INTERVALS, Compared
from ichformer.reporting.follow_up.pictures import draw_planes
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
from ichformer.reporting.scan.page import LABEL_NAMES
from ichformer.reporting.styled_page import render_styled

_HERE = Path(__file__).parent


def render_follow_up(compared: Compared) -> str:
    """The page, with its styles and pictures inside; a content security policy allows nothing else and no script.

    Every text from outside is made printable and escaped.
    """
    reading = compared.later.reading
    return render_styled(
        _HERE / "follow_up.html.j2",
        styles=[_HERE.parent / "evaluation" / "page.css", _HERE / "follow_up.css"],
        title="Follow-up of two head CT",
        remarks=[one_line(remark, max_chars=600) for remark in compared.remarks],
        time=time_words(compared.hours),
        fit=fit_words(compared),
        labels=_label_rows(compared),
        bleeds=None if compared.followed is None else [_bleed_row(one) for one in compared.followed],
        groups=_groups(compared),
        not_compared=NOT_COMPARED,
        planes=[
            {
                "number": plane.number,
                "bleeds": ", ".join(map(str, plane.bleeds)),
                "earlier": _uri(plane.earlier),
                "later": _uri(plane.later),
            }
            for plane in draw_planes(compared)
        ],
        intervals=INTERVALS,
        definition=DEFINITION,
        model={one_line(name): one_line(value, max_chars=400) for name, value in reading.model.items()},
    )


def _label_rows(compared: Compared) -> list[dict[str, Any]]:
    found = {one.label: one for one in compared.labels}
    order = [*(label for label in LABEL_NAMES if label in found), *(name for name in found if name not in LABEL_NAMES)]
    return [
        {
            "name": one_line(LABEL_NAMES.get(label, label)),
            "earlier": volume_words(found[label].earlier),
            "later": volume_words(found[label].later),
            "growth": growth_words(found[label].growth),
            **_change(found[label].growth),
            "is_empty": not (found[label].earlier.ml or found[label].later.ml),
        }
        for label in order
    ]


def _bleed_row(one: Followed) -> dict[str, Any]:
    return {
        "number": one.number,
        "fate": one.fate,
        "fate_name": FATE_NAMES[one.fate],
        "what": one_line(subtype_words(one)),
        "place": place_words(one),
        "earlier": f"{one.earlier_ml:.1f} ml" if one.earlier else "",
        "later": f"{one.later_ml:.1f} ml" if one.later else "",
        "growth": growth_words(one.growth) if one.earlier and one.later else "",
        "peak": "" if one.peak_elsewhere is None else f"{one.peak_elsewhere:.2f}",
        **(_change(one.growth) if one.earlier and one.later else {"change": "", "change_name": ""}),
    }


def _change(growth: Growth) -> dict[str, str]:
    return {"change": growth.change, "change_name": change_words(growth)}


def _groups(compared: Compared) -> str:
    """How many bleeds are new, gone and so on."""
    fates = [one.fate for one in compared.followed or ()]
    counted = [f"{fates.count(fate)} {name}" for fate, name in FATE_NAMES.items() if fate in fates]
    return ", ".join(counted) or "no bleed in either scan"


def _uri(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"
