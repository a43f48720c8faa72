"""Every page at WCAG 2.2, level AA: what axe-core finds, and what only a browser with a keyboard can tell."""

import json
import os
from pathlib import Path

import pytest

from tests.reporting.accessibility.chromium import NARROW, WIDE, chromium
from tests.reporting.accessibility.pages import PAGES

TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]

CONTROLS = """
(() => {
  const shown = (e) => e.checkVisibility({visibilityProperty: true}) && e.getClientRects().length > 0;
  const all = document.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex='0']");
  return [...all].filter((e) => shown(e) && !e.disabled);
})()
""".strip()

SAID = """
(found) => ({
  violations: found.violations.flatMap(({id, nodes}) => nodes.map((node) => [id, node.target, node.failureSummary])),
  passes: found.passes.length,
})
"""

# A group of radio buttons is one stop of the Tab key: the arrow keys lead from one to the next.
NAMED = """
  const named = (e) => e.type === "radio" ? `radio ${e.name}`
    : `${e.localName} ${e.id || e.getAttribute("aria-label") || e.textContent.trim()}`;
"""

SHOW_ALL = """
for (const one of document.querySelectorAll("details")) one.open = true;
document.getElementById("heat")?.click();
"""

FOCUSED = (
    """(() => {"""
    + NAMED
    + """
  const e = document.activeElement;
  if (e === document.body) return null;
  const ringed = (one) => {
    const {outlineStyle, outlineWidth} = getComputedStyle(one);
    return outlineStyle !== "none" && parseFloat(outlineWidth) >= 2;
  };
  const beside = [e, e.nextElementSibling, e.closest("label")].filter(Boolean);
  const box = e.getBoundingClientRect();
  return [named(e), beside.some(ringed), box.bottom > 0 && box.top < innerHeight];
})()"""
)

SMALL = (
    """(() => {"""
    + NAMED
    + f"""
  const box = (e) => (e.closest("label") ?? e).getBoundingClientRect();
  return {CONTROLS}.filter((e) => box(e).width < 24 || box(e).height < 24).map((e) => {{
    const {{width, height}} = box(e);
    return `${{named(e)}}: ${{width.toFixed(0)}} x ${{height.toFixed(0)}}`;
  }});
}})()"""
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    written = {name: folder / f"{name}.html" for name in PAGES}
    for name, file in written.items():
        file.write_text(PAGES[name](folder), encoding="utf-8")
    return written


@pytest.mark.full
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_no_violation(browser, pages, name, size, scheme):
    axe = Path(os.environ.get("ICHFORMER_AXE", ""))
    if not axe.is_file():
        pytest.skip("needs axe-core: npm install axe-core, then ICHFORMER_AXE=node_modules/axe-core/axe.min.js")
    browser.open(pages[name], size=size, scheme=scheme)
    browser.run(SHOW_ALL)
    browser.run(axe.read_text(encoding="utf-8"))
    found = browser.run(f"axe.run(document, {{runOnly: {json.dumps(TAGS)}}}).then({SAID})")
    assert found["violations"] == []
    assert found["passes"] >= 10


@pytest.mark.full
@pytest.mark.parametrize("name", PAGES)
def test_the_tab_key_leads_to_every_control_and_shows_where_it_is(browser, pages, name):
    browser.open(pages[name], size=WIDE)
    browser.run(SHOW_ALL)
    wanted = set(browser.run(f"(() => {{ {NAMED} return {CONTROLS}.map(named); }})()"))
    reached = {}
    for _ in range(3 * len(wanted) + 20):
        browser.press("Tab")
        if (found := browser.run(FOCUSED)) is not None:
            reached[found[0]] = found[1:]
    assert set(reached) >= wanted
    assert {control: seen for control, seen in reached.items() if not all(seen)} == {}


@pytest.mark.full
@pytest.mark.parametrize("name", PAGES)
def test_a_narrow_page_has_large_targets_and_does_not_scroll_sideways(browser, pages, name):
    browser.open(pages[name], size=NARROW)
    browser.run(SHOW_ALL)
    assert browser.run("document.documentElement.scrollWidth") <= NARROW[0]
    assert browser.run(SMALL) == []


@pytest.mark.full
def test_keys_and_clicks_measure_without_a_drag(browser, pages):
    browser.open(pages["report"], size=WIDE)
    length = "document.getElementById('at-length').textContent"
    browser.press("d")
    for key, times in (("ArrowRight", 3), ("Enter", 1), ("ArrowDown", 4), ("ArrowLeft", 3)):
        for _ in range(times):
            browser.press(key, shift=key != "Enter")
    assert browser.run(length) == "5.0 mm"  # pixels of 1 mm
    browser.press("Enter")
    assert browser.run(length) == "0.0 mm"
    left, top, pixel = browser.run(
        "(() => { const {left, top, width} = document.getElementById('scan').getBoundingClientRect();"
        " return [left, top, width / 32]; })()"
    )
    for x, y in ((4.5, 5.5), (12.5, 11.5)):
        browser.click(left + x * pixel, top + y * pixel)
    assert browser.run(length) == "10.0 mm"


@pytest.mark.full
def test_keys_move_the_place_of_the_planes(browser, pages):
    browser.open(pages["report"], size=WIDE)
    browser.press("p")
    browser.run("planes.draw()")
    before = browser.run("planes.point")
    browser.press("ArrowUp", shift=True)
    browser.press("ArrowLeft", shift=True)
    assert browser.run("planes.point") == [before[0] - 1, before[1] - 1]
