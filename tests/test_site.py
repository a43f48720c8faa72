"""The documentation site: built without a warning, complete, readable on a phone, and searched without a network."""

import os
import re
import subprocess
import sys

import pytest

import ichformer as ich
from ichformer.cli.command import COMMANDS
from tests.pages import ROOT
from tests.reporting.accessibility.chromium import WIDE, chromium

PHONE = (390, 844)
LOOKED_AT = [
    "docs/index.html",
    "docs/how-to/own-model.html",
    "docs/background/comparison.html",
    "docs/reference/rooms.html",
    "docs/reference/runs.html",
    "colab/01_quickstart.html",
    "experiments/RESULTS.html",
]
CUT = """
[...document.querySelectorAll("article *")]
  .filter((e) => e.getBoundingClientRect().right > innerWidth + 1 && !e.closest(".table-wrapper, .highlight, pre"))
  .map((e) => `${e.localName} ${e.textContent.slice(0, 40)}`)
"""
"""What begins or ends outside of the window, and does not scroll by itself as tables and code do."""

pytestmark = pytest.mark.slow(minutes=1)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    pytest.importorskip("sphinx", reason="the extra docs is not installed")
    folder = tmp_path_factory.mktemp("site")
    words = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-c", "docs", "-d", str(folder / "doctrees")]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    built = subprocess.run(
        [*words, ".", str(folder / "html")], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert (built.returncode, built.stderr) == (0, "")  # a warning is an error: a broken link, a page in no list
    return folder / "html"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("chromium")) as found:
        yield found


def test_every_public_name_is_in_the_reference(site):
    from sphinx.util.inventory import InventoryFile

    with (site / "objects.inv").open("rb") as file:
        inventory = InventoryFile.load(file, "", lambda base, name: name)
    documented = {name for kind, names in inventory.items() if kind.startswith("py:") for name in names}
    assert {f"ichformer.{name}" for name in ich.__all__} - documented == set()


def test_every_command_is_in_the_reference(site):
    page = (site / "docs" / "reference" / "commands.html").read_text(encoding="utf-8")
    assert [name for name in COMMANDS if f'id="{name}' not in page] == []
    assert "--optim.learning-rate" in page


def test_every_notebook_and_page_is_a_page_of_the_site(site):
    sources = [*(ROOT / "colab").glob("*.ipynb"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "experiments").glob("*.md")]
    assert len(sources) > 30
    assert [path for path in sources if not (site / path.relative_to(ROOT)).with_suffix(".html").is_file()] == []
    assert "docs/index.html" in (site / "index.html").read_text()


def test_nothing_is_fetched_from_elsewhere(site):
    fetched = re.compile(r"""<(?:script|link|img|iframe)[^>]*(?:src|href)=["'](?:https?:)?//[^"']*""")
    found = {match for page in site.rglob("*.html") for match in fetched.findall(page.read_text(encoding="utf-8"))}
    assert found == set()


def test_a_word_is_found_without_a_server(site, browser):
    browser.open(site / "docs" / "index.html", size=WIDE)
    search = (site / "search.html").as_uri() + "?q=leakage"
    browser.send("Page.navigate", url=search)
    results = "[...document.querySelectorAll('#search-results li a')].map((e) => e.getAttribute('href'))"
    while not browser.run("document.querySelector('.search-summary')?.textContent.includes('matching')"):
        pass
    found = browser.run(results)
    assert any("docs/background/leakage.html" in one for one in found)


@pytest.mark.parametrize("page", LOOKED_AT)
def test_nothing_is_cut_on_a_phone_or_a_desk(site, browser, page):
    for size in (PHONE, (1440, 900)):
        browser.open(site / page, size=size)
        assert browser.run("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
        assert browser.run(CUT) == []
