"""The page of a scan that has no score, or none of its slices: it says so, and draws the pictures all the same."""

import json
from pathlib import Path

import numpy as np
import pytest

from ichformer import LABELS
from ichformer.evaluation.scorable import NO_BRAIN
from ichformer.reporting.scan.page import render_page
from ichformer.reporting.scan.reading import Reading
from tests.reporting.test_page import HOSTILE, Parsed, S, in_chromium, reading

NOTHING = np.full(len(LABELS), np.nan)


def not_scored() -> Reading:
    slices = np.full((S, len(LABELS)), np.nan)
    return reading(scan_scores=NOTHING, slice_scores=slices, not_scored=NO_BRAIN, heat_maps={}, thresholds={})


def scans_only() -> Reading:
    """Scores of the scan but none for "epidural", and a map that is strongest in slice 4."""
    scores = np.where(np.arange(len(LABELS)) == 0, np.nan, 0.75)
    heat = np.zeros((S, 8, 8))
    heat[3, 2, 2] = 1.0
    slices = np.full((S, len(LABELS)), np.nan)
    return reading(
        scan_scores=scores, slice_scores=slices, heat_maps={"any": heat}, remarks=("No slice scores.", HOSTILE)
    )


def test_not_scored_stands_in_the_place_of_the_scores() -> None:
    page = Parsed(render_page(not_scored()))
    words = " ".join(" ".join(page.words).split())
    assert f"Not scored {NO_BRAIN.text} This says nothing about a haemorrhage" in words
    assert "0." not in words.split("Score of the scan")[1].split("What was found")[0]
    assert not [tag for tag, attributes in page.elements if tag == "rect" or attributes.get("name") == "label"]
    data = json.loads(page.inside["script"][0])
    assert data["scored"] is False
    assert data["slice_labels"] == data["heat"] == []
    assert data["opening"] == S // 2


def test_scores_that_are_missing_are_told_one_by_one() -> None:
    text = render_page(scans_only())
    words = " ".join(" ".join(Parsed(text).words).split())
    assert "Epidural not scored" in words
    assert "Any haemorrhage: 0.750, above the threshold of 0.500." in words
    assert "No slice scores." in words
    assert "Highest in slice" not in words
    assert text.count('class="bar"') == len(LABELS) - 1
    assert not any(character in text for character in "\u202e\u2028\x1b")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "address", "opening"),
    [(not_scored, "", S // 2), (scans_only, "", 3), (scans_only, "#label=epidural&heat=1", 3)],
)
def test_a_browser_shows_the_pictures(tmp_path: Path, make, address: str, opening: int) -> None:
    page = tmp_path / "report.html"
    page.write_text(render_page(make()), encoding="utf-8")
    seen = in_chromium(page, tmp_path / "profile", address)
    assert "error" not in seen
    assert (seen["ready"], seen["slice"]) == ("1", str(opening + 1))
