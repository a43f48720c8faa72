"""A follow-up as people and programs read it: the page, the numbers, and lines for the terminal."""

import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from ichformer.reporting.follow_up.numbers import follow_up_values
from ichformer.reporting.follow_up.page import render_follow_up
from ichformer.reporting.follow_up.pictures import draw_planes
from ichformer.reporting.follow_up.terminal import format_follow_up
from ichformer.reporting.follow_up.words import NOT_COMPARED
from tests.reporting.follow_ups import compared_of
from tests.reporting.test_page import HOSTILE, Parsed, in_chromium

ML = 0.125


def test_the_numbers_are_those_of_the_maps():
    values = follow_up_values(compared_of())
    json.dumps(values, allow_nan=False)
    subdural = values["labels"]["subdural"]
    assert (subdural["earlier"]["ml"], subdural["later"]["ml"]) == (72 * ML, 208 * ML)
    assert (subdural["growth"]["ml"], subdural["growth"]["percent"]) == (136 * ML, 188.9)
    assert (subdural["growth"]["change"], subdural["growth"]["exceeds_6_ml_or_33_percent"]) == ("grown", True)
    grown, new = values["bleeds"]
    assert (grown["fate"], grown["growth"]["ml"]) == ("same", 120 * ML)
    assert (new["fate"], new["earlier"]["pieces"], new["peak_in_the_other_scan"]) == ("new", [], 0.0)
    assert new["later"]["pieces"][0]["slices"] == [5, 5]
    assert values["hours_between"] == 20.5


def test_the_terminal_says_what_grew_and_what_is_new():
    said = format_follow_up(compared_of(remarks=(HOSTILE,)))
    assert "time between the scans: 20.5 hours" in said
    assert "subdural: 9.0 ml (7.2 to 11.7), later 26.0 ml (20.8 to 33.8): +17.0 ml (+11.1 to +25.0), +189 %" in said
    assert "bleed 2 new: subdural, later slice 5, 0.0 ml, later 2.0 ml" in said
    assert said.isprintable() or set(re.findall(r"[^ -~]", said)) == {"\n"}


def test_without_a_good_fit_the_bleeds_are_not_compared():
    compared = compared_of(is_good=False)
    assert follow_up_values(compared)["bleeds"] is None
    assert NOT_COMPARED in format_follow_up(compared)
    page = render_follow_up(compared)
    assert NOT_COMPARED in page
    assert "one by one</h2>" not in page
    assert "26.0 ml" in page
    assert draw_planes(compared) == ()


def test_the_pictures_outline_each_bleed_where_it_lies():
    low, high = draw_planes(compared_of())
    assert [(one.number, one.bleeds) for one in (low, high)] == [(2, (1,)), (5, (2,))]
    earlier, later = (np.asarray(Image.open(io.BytesIO(png))).astype(int) for png in (high.earlier, high.later))
    is_coloured = [np.ptp(picture, axis=2).max() > 60 for picture in (earlier, later)]
    assert is_coloured == [False, True]


def test_the_page_escapes_every_text_and_runs_nothing():
    page = render_follow_up(compared_of(remarks=(HOSTILE,), name=HOSTILE))
    elements = Parsed(page).elements
    assert [tag for tag, _ in elements if tag == "script"] == []
    assert page.count("Research use only. Not for diagnosis.") == 1
    assert all(dict(given)["src"].startswith("data:image/png") for tag, given in elements if tag == "img")
    assert sum(tag == "img" for tag, _ in elements) == 4


@pytest.mark.slow
def test_a_browser_has_nothing_to_say_of_the_page(tmp_path):
    page = tmp_path / "follow_up.html"
    page.write_text(render_follow_up(compared_of(remarks=(HOSTILE,))), encoding="utf-8")
    in_chromium(page, tmp_path / "profile")
