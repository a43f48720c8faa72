"""The page of methods of explanation, from a table and pictures made by hand."""

import base64
import hashlib
import io

import numpy as np
import pytest
from PIL import Image

from ichformer.evaluation.explanations.map_figures import MAP_FIGURES
from ichformer.reporting.explanation.example import example_picture
from ichformer.reporting.explanation.methods_page import render_methods_page
from tests.evaluation.test_explanations import CONTROLS, maps_table
from tests.reporting.test_page import HOSTILE, Parsed, in_chromium


def rendered() -> str:
    table = maps_table(model=HOSTILE)
    pictures = {(HOSTILE, i, method): f"{method} {i}".encode() for i in range(9) for method in ("good", "half")}
    return render_methods_page(table, pictures, controls=CONTROLS, title=f"a page {HOSTILE}")


@pytest.fixture(scope="module")
def text() -> str:
    return rendered()


def test_every_method_and_figure_has_a_cell_and_wins_are_marked(text) -> None:
    page = Parsed(text)
    words = " ".join(" ".join(page.words).split())
    assert "14 phantoms: 12 compared, 2 left out (not found)." in words
    assert "better than all controls: good in 9, half in 1." in words
    for figure in MAP_FIGURES:
        assert figure.about in words
    cells = [attributes for tag, attributes in page.elements if tag == "td"][2 * len(MAP_FIGURES) :]
    assert len(cells) == 4 * len(MAP_FIGURES)
    marked = [i for i, attributes in enumerate(cells) if attributes.get("class") == "wins"]
    compared = [i for i, figure in enumerate(MAP_FIGURES) if figure.better]
    assert marked == [2 * len(MAP_FIGURES) + i for i in compared] + [3 * len(MAP_FIGURES)]


def test_examples_are_the_first_that_are_right_and_wrong(text) -> None:
    """As far as there are pictures, which is up to phantom 8; half is right on the even ones, and good on all."""
    images = [attributes for tag, attributes in Parsed(text).elements if tag == "img"]
    shown = [
        (image["alt"], base64.b64decode(str(image["src"]).removeprefix("data:image/png;base64,"))) for image in images
    ]
    wanted = [("Right", "good", i) for i in (0, 1, 2)]
    wanted += [("Right", "half", i) for i in (0, 2, 4)] + [("Wrong", "half", i) for i in (1, 3, 5)]
    assert shown == [(f"{sense}: phantom {i}, subdural", f"{method} {i}".encode()) for sense, method, i in wanted]


def test_it_fetches_nothing_and_hostile_text_stays_text(text) -> None:
    page = Parsed(text)
    digest = base64.b64encode(hashlib.sha256(page.inside["style"][-1].encode()).digest()).decode()
    policy = next(a["content"] for t, a in page.elements if t == "meta" and "http-equiv" in a)
    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:"
    for tag, attributes in page.elements:
        assert tag not in ("script", "link", "iframe", "object", "embed", "base")
        assert not any(name.startswith("on") or name == "style" for name in attributes)
    assert not any(c in text for c in "\u202e\u2028\x1b")
    assert "alert(1)" in text


@pytest.mark.slow
def test_a_browser_has_nothing_to_say(text, tmp_path) -> None:
    page = tmp_path / "page.html"
    page.write_text(text, encoding="utf-8")
    in_chromium(page, tmp_path / "profile")


def test_the_picture_shows_the_bleed_and_the_peak() -> None:
    hu = np.full((3, 32, 32), 30, np.int16)
    mask, maps = np.zeros(hu.shape, bool), np.zeros(hu.shape, np.float32)
    mask[0, 8:16, 8:16] = mask[1, 9:11, 9:11] = True
    maps[2, 24, 4] = 3.0
    maps[0, 20:28, 20:28] = -2.0
    picture = np.asarray(Image.open(io.BytesIO(example_picture(hu, mask, maps)))).astype(int)
    rows, columns, _ = picture.shape
    scale = rows / 32
    left, right = picture[:, :rows], picture[:, columns - rows :]

    def at(tile, row, column):
        return tile[round((row + 0.5) * scale), round((column + 0.5) * scale)]

    grey = at(left, 2, 2)
    assert np.ptp(grey) == 0
    np.testing.assert_array_equal(at(left, 12, 12), grey)  # what is inside stays to be seen
    edge = left[round(12 * scale), round(8 * scale) - 2]
    assert edge[1] > edge[0] + 50
    assert edge[1] > edge[2] + 50
    red, _, blue = at(left, 24, 24)
    assert blue > red + 50  # it lowered the score
    assert at(right, 24, 4).min() > 200  # the cross
    np.testing.assert_array_equal(at(right, 12, 8), grey)  # no bleed in that slice
