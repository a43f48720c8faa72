"""A page in a notebook: whole, in a frame of its own, whatever stands in it."""

import html
import re

import pytest

import ichformer as ich
from ichformer.errors import InputError


def framed(page) -> str:
    found = re.fullmatch(r'<iframe srcdoc="([^"]*)" style="[^"]*height:(\d+)px[^"]*"></iframe>', page._repr_html_())
    assert found is not None
    return html.unescape(found[1])


def test_the_frame_holds_the_page_letter_by_letter(tmp_path):
    text = '<!doctype html><p title="a &quot;b&quot;">1 &lt; 2</p><script>if (1 < 2 && "x") {}</script>\u00e4'
    (tmp_path / "report.html").write_text(text, encoding="utf-8")
    for path in (tmp_path, tmp_path / "report.html", str(tmp_path)):
        assert framed(ich.show_page(path)) == text
    assert "height:300px" in ich.show_page(tmp_path, height_px=300)._repr_html_()


def test_what_is_no_page_is_refused(tmp_path):
    (tmp_path / "two").mkdir()
    for name in ("a.html", "b.html"):
        (tmp_path / "two" / name).touch()
    (tmp_path / "prediction.json").touch()
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"a\.html, b\.html; name one"):
        ich.show_page(tmp_path / "two")
    with pytest.raises(InputError, match="not one page but none"):
        ich.show_page(tmp_path / "empty")
    for path in ("missing.html", "prediction.json"):
        with pytest.raises(InputError, match="there is no page here"):
            ich.show_page(tmp_path / path)
