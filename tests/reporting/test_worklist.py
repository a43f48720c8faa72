"""The list of scans: its order, that nobody is lost, and the page in a real browser."""

import base64
import csv
import hashlib
import io

import pandas as pd
import pytest

from ichformer.errors import InputError
from ichformer.reporting.scan.scores_table import ANOTHER_CHOSEN
from ichformer.reporting.worklist.order import Worklist, order_scans
from ichformer.reporting.worklist.page import render_worklist, worklist_csv
from tests.reporting.test_page import HOSTILE, Parsed, in_chromium

ROWS = [
    {"key": "low", "score_any": "0.1", "positive_any": "0", "ml_any": "0.04"},
    {"key": "raised", "score_any": "0.6", "positive_any": "1", "score_subdural": "0.2", "ml_any": "12"},
    {"key": "no brain", "not_scored": "no_brain: No brain was found in this scan."},
    {"key": "raised by a subtype", "score_any": "0.4", "positive_any": "0", "positive_subdural": "1"},
    {"key": "beside", "not_scored": f"not_chosen: bone_kernel: H60s; {ANOTHER_CHOSEN}"},
    {"key": "nothing chosen", "not_scored": "not_chosen: short: 60 mm"},
    {"key": "broken", "error": f"unreadable: {HOSTILE}"},
    {"key": "highest", "score_any": "0.9", "positive_any": "1", "remarks": HOSTILE},
    {"key": "scout", "number": "", "not_scored": "localizer: 2 files"},
    {"key": "an archive", "number": "", "not_scored": "archive: 1 file"},
    {"key": "not low", "score_any": "0.3", "positive_any": "0"},
    {"key": "without a word"},
]
COLUMNS = ("number", "key", "folder", "score_any", "score_subdural", "positive_any", "positive_subdural", "ml_any")
COLUMNS += ("remarks", "not_scored", "error")


def table(rows=ROWS, columns=COLUMNS) -> pd.DataFrame:
    empty = dict.fromkeys(columns, "")
    return pd.DataFrame(
        [{**empty, "number": str(i), "folder": f"head {i}", **row} for i, row in enumerate(rows, start=1)],
        columns=list(columns),
        dtype=str,
    )


@pytest.fixture(scope="module")
def worklist() -> Worklist:
    return order_scans(table(), where="scores.csv", with_page={"head 1", "head 2", "head 8"})


def test_the_most_urgent_come_first_and_nobody_is_lost(worklist):
    assert [(entry.state, entry.key) for entry in worklist.entries] == [
        ("raised", "highest"),
        ("raised", "raised"),
        ("raised", "raised by a subtype"),
        ("not_scored", "no brain"),
        ("not_scored", "broken"),
        ("not_scored", "an archive"),
        ("not_scored", "without a word"),
        ("not_scored", "nothing chosen"),
        ("scored", "not low"),
        ("scored", "low"),
        ("set_aside", "beside"),
        ("set_aside", "scout"),
    ]
    assert [entry.rank for entry in worklist.entries] == list(range(1, len(ROWS) + 1))
    assert worklist.counts == {"raised": 3, "not_scored": 5, "scored": 2, "set_aside": 2}
    assert all(entry.reason for entry in worklist.entries if entry.score is None)
    first, second, third = worklist.entries[:3]
    assert (second.score, second.label, second.ml, second.raised) == (0.6, "any", 12.0, ("any",))
    assert third.raised == ("subdural",)
    assert (first.page, second.page, third.page) == ("head%208/report.html", "head%202/report.html", "")
    assert worklist.has_thresholds


def test_labels_of_ones_own_are_ordered_by_the_highest_and_without_thresholds_nothing_is_raised():
    columns = ("number", "key", "folder", "score_bleed", "score_fracture", "not_scored", "error", "path")
    rows = [{"score_bleed": "0.2", "score_fracture": "0.4"}, {"score_bleed": "0.7", "score_fracture": "0.1"}]
    found = order_scans(table([*rows, {"error": "failed: x", "path": "a/b"}], columns), where="t")
    assert [(one.state, one.score, one.label) for one in found.entries] == [
        ("not_scored", None, ""),
        ("scored", 0.7, "bleed"),
        ("scored", 0.4, "fracture"),
    ]
    page = render_worklist(found)
    assert "Nothing can be raised" in page
    assert "highest score" in page
    assert "a/b" in page  # only where the table tells it
    assert "path" in worklist_csv(found.entries).decode().splitlines()[0]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"score_any": "1.5"}, "t: score_any is '1.5', not a number from 0 to 1"),
        ({"score_any": "nan"}, "score_any is 'nan'"),
        ({"positive_any": "0.5"}, "positive_any is '0.5', not 0 or 1"),
        ({"ml_any": "-1"}, "ml_any is '-1', not a number, 0 or more"),
    ],
)
def test_what_is_no_number_is_refused(changed, said):
    with pytest.raises(InputError, match=said):
        order_scans(table([{"score_any": "0.5", **changed}]), where="t")
    with pytest.raises(InputError, match="t: has no column score_any"):
        order_scans(table(columns=("number", "key", "folder", "not_scored", "error")), where="t")


def test_the_table_has_every_scan(worklist):
    rows = list(csv.DictReader(io.StringIO(worklist_csv(worklist.entries).decode())))
    assert [row["key"] for row in rows] == [entry.key for entry in worklist.entries]
    assert (rows[1]["rank"], rows[1]["state"], rows[1]["score"], rows[1]["ml"]) == ("2", "raised", "0.6", "12.0")
    assert rows[3]["not_scored"].startswith("no_brain: ")
    assert "path" not in rows[0]


def test_the_page_is_self_contained_and_hostile_text_stays_text(worklist):
    text = render_worklist(worklist)
    page = Parsed(text)
    policy = next(str(a["content"]) for t, a in page.elements if t == "meta" and "http-equiv" in a)
    hashes = {
        kind: base64.b64encode(hashlib.sha256(page.inside[kind][-1].encode()).digest()).decode()
        for kind in ("script", "style")
    }
    assert policy == (
        f"default-src 'none'; script-src 'sha256-{hashes['script']}'; style-src 'sha256-{hashes['style']}'; "
        "base-uri 'none'; form-action 'none'"
    )
    assert len(page.inside["script"]) == 1
    for tag, attributes in page.elements:
        assert tag not in ("link", "iframe", "object", "embed", "img", "base", "form")
        assert not any(name.startswith("on") or name in ("style", "src") for name in attributes)
    assert [a["href"] for t, a in page.elements if t == "a"] == [
        "head%208/report.html",
        "head%202/report.html",
        "head%201/report.html",
    ]
    assert not any(c in text for c in "\u202e\u2028\x1b")
    assert "alert(1)" in text
    words = " ".join(" ".join(page.words).split())
    assert "5 scans were not scored" in words
    assert "Research use only. Not for diagnosis." in words
    assert len([t for t, _ in page.elements if t == "tr"]) == 1 + len(ROWS)


STEPS = """
const seen = {};
const press = (key) => new KeyboardEvent("keydown", {key, bubbles: true});
const key = (name) => document.activeElement.dispatchEvent(press(name));
const at = () => document.activeElement.querySelector?.(".series code")?.textContent ?? document.activeElement.id;
for (const link of document.links) {
  link.addEventListener("click", (e) => { seen.opened = link.getAttribute("href"); e.preventDefault(); });
}
const shown = () => document.getElementById("shown").textContent;
const choose = (state) => document.querySelector(`[name=state][value="${state}"]`).click();
seen.all = shown();
key("j"); seen.first = at();
key("ArrowDown"); seen.second = at();
key("Enter");
key("k"); key("k"); seen.top = at();
key("End"); seen.last = at();
key("/"); seen.slash = at();
document.activeElement.value = "BROKEN unreadable";
document.activeElement.dispatchEvent(new Event("input", {bubbles: true}));
seen.filtered = shown();
key("Enter"); seen.found = at();
key("Escape"); seen.cleared = shown();
choose("raised"); seen.raised = shown();
choose("not_scored"); seen.unscored = shown();
key("Home"); seen.home = at();
seen.wide = document.documentElement.scrollWidth > innerWidth;
for (const [name, value] of Object.entries(seen)) document.body.dataset[name] = value;
"""


@pytest.mark.slow
def test_a_browser_filters_and_obeys_the_keys(worklist, tmp_path):
    digest = base64.b64encode(hashlib.sha256(STEPS.encode()).digest()).decode()
    text = render_worklist(worklist).replace("script-src ", f"script-src 'sha256-{digest}' ", 1)
    page = tmp_path / "worklist.html"
    page.write_text(text.replace("</body>", f"<script>{STEPS}</script></body>"), encoding="utf-8")
    assert in_chromium(page, tmp_path / "profile") == {
        "all": "12 of 12 shown",
        "first": "highest",
        "second": "raised",
        "opened": "head%202/report.html",
        "top": "highest",
        "last": "scout",
        "slash": "filter",
        "filtered": "1 of 12 shown",
        "found": "broken",
        "cleared": "12 of 12 shown",
        "raised": "3 of 12 shown",
        "unscored": "5 of 12 shown",
        "home": "no brain",
        "wide": "false",
    }
