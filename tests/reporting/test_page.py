import base64
import hashlib
import html.parser
import json
import re
import shutil
import subprocess
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ichformer import LABELS
from ichformer.ct.audit import Audit, Note
from ichformer.ct.volume import Volume
from ichformer.ct.windows import WINDOWS, apply_windows
from ichformer.lesions.grid import Grid
from ichformer.lesions.midline import MidlineShift
from ichformer.reporting.scan.lesions import LesionReport
from ichformer.reporting.scan.packing import BITS, pack
from ichformer.reporting.scan.page import render_page, slice_z_mm
from ichformer.reporting.scan.reading import Familiarity, Reading

S, H, W = 5, 40, 48
HOSTILE = (
    "</script><script>alert(1)</script>\"'><img src=http://evil.example/x onerror=alert(2)>\u202eKCIRT\u2028\x1b[31m"
)


def volume(**audit: Any) -> Volume:
    hu = np.random.default_rng(0).integers(-1024, 3072, (S, H, W)).astype(np.int16)
    hu[:, H // 2 - 4 : H // 2 + 4, W // 2 - 4 : W // 2 + 4] = np.arange(30, 30 + 5 * S, 5)[:, None, None]
    affine = np.array([[0, 0, 0.5, -12], [0, 0.5, 0, -10], [5, 0, 0, 20], [0, 0, 0, 1]], np.float64)
    source = tuple(f"1.2.3.{s}" for s in range(S))
    return Volume(hu=hu, spacing_mm=(5.0, 0.5, 0.5), affine=affine, source=source, audit=Audit(**audit))


def reading(**changes: Any) -> Reading:
    slice_scores = np.linspace(0.02, 0.6, S * 6).reshape(S, 6)[[0, 1, 4, 2, 3]]
    heat = np.linspace(0, 1, S * 8 * 8).reshape(S, 8, 8)
    values = {
        "volume": volume(description="HEAD 5MM"),
        "scan_scores": slice_scores.max(axis=0),
        "slice_scores": slice_scores,
        "thresholds": {"any": 0.5, "subdural": 0.9},
        "slice_thresholds": {"any": 0.4},
        "threshold_rule": "sensitivity>=0.90 on validation",
        "heat_maps": {"any": heat},
        "model": {"Name": "hybrid_nano"},
    }
    return Reading(**{**values, **changes})


class Parsed(html.parser.HTMLParser):
    """Every element's attributes, and the text of those whose text the tests look at."""

    def __init__(self, text: str):
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.inside: dict[str, list[str]] = {"script": [], "style": []}
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._open.append(tag)
        if tag in self.inside:
            self.inside[tag].append("")

    def handle_data(self, data: str) -> None:
        last = self._open[-1] if self._open else ""
        if last in self.inside:
            self.inside[last][-1] += data
        else:
            self.words.append(data)

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass


def unpack(text: str, height: int, width: int) -> np.ndarray:
    """The inverse of ``pack``, pixel by pixel as the script does it."""
    planes = np.frombuffer(zlib.decompress(base64.b64decode(text)), np.uint8).reshape(2, height, width).astype(int)
    folded = planes[0] + 256 * planes[1]
    padded = np.zeros((height + 1, width + 1), int)
    for y in range(height):
        for x in range(width):
            left, upper, corner = padded[y + 1, x], padded[y, x + 1], padded[y, x]
            guess = sorted((left, upper, left + upper - corner))[1]
            residual = -(folded[y, x] + 1) // 2 if folded[y, x] % 2 else folded[y, x] // 2
            padded[y + 1, x + 1] = guess + residual
    return padded[1:, 1:]


@given(hnp.arrays(np.int16, hnp.array_shapes(min_dims=3, max_dims=3, max_side=7), elements=st.integers(-2000, 5000)))
def test_packing_is_exact_within_its_range(hu: np.ndarray) -> None:
    for pixels, text in zip(hu, pack(hu, low=-1024), strict=True):
        np.testing.assert_array_equal(unpack(text, *pixels.shape) - 1024, np.clip(pixels, -1024, 2**BITS - 1025))


def test_the_page_is_self_contained() -> None:
    text = render_page(reading())
    page = Parsed(text)
    policy = next(a["content"] for t, a in page.elements if t == "meta" and "http-equiv" in a)
    assert policy is not None
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy
    for kind in ("script", "style"):
        digest = base64.b64encode(hashlib.sha256(page.inside[kind][-1].encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    for tag, attributes in page.elements:
        assert tag not in ("link", "iframe", "object", "embed", "img", "base")
        # An inline style or handler would be refused by the policy, in silence.
        assert not {"src", "href", "srcset", "style"} & set(attributes)
        assert not any(name.startswith("on") for name in attributes)
    assert "@import" not in text
    assert "url(" not in text
    assert re.findall(r"https?://[^\s\"']+", text) == ["http://www.w3.org/2000/svg"]  # the name of SVG, never fetched


def test_the_data_is_what_was_given() -> None:
    given_reading = reading()
    page = Parsed(render_page(given_reading))
    data = json.loads(page.inside["script"][0])
    assert data["shape"] == [S, H, W]
    assert data["opening"] == 2
    assert data["labels"] == list(LABELS)
    np.testing.assert_allclose(data["slice_scores"], given_reading.slice_scores, atol=1e-5)
    slices = page.inside["script"][1].split("\n")
    assert len(slices) == S
    np.testing.assert_array_equal(unpack(slices[3], H, W) + data["low"], given_reading.volume.hu[3])
    assert data["heat"] == [{"label": "any", "shape": [8, 8], "strongest": S - 1, "lesions": False}]
    heat = page.inside["script"][2].split("\n")
    np.testing.assert_allclose(unpack(heat[4], 8, 8) / 255, given_reading.heat_maps["any"][4], atol=0.5 / 255)
    words = " ".join(" ".join(page.words).split())
    assert "Any haemorrhage: 0.600, above the threshold of 0.500. Highest in slice 3." in words
    assert "below 0.900" in words
    assert "no threshold" in words
    assert words.count("Research use only.") >= 2
    assert "Not for diagnosis." in words


def test_a_score_just_below_its_threshold_does_not_look_equal_to_it() -> None:
    scores = np.full(6, 0.478889, np.float32)
    words = " ".join(
        " ".join(Parsed(render_page(reading(scan_scores=scores, thresholds={"any": 0.479052}))).words).split()
    )
    assert "Any haemorrhage: 0.4789, below the threshold of 0.4791." in words
    equal = reading(scan_scores=np.full(6, 0.5), thresholds={"any": 0.5})
    assert "Any haemorrhage: 0.500, above the threshold of 0.500." in " ".join(
        " ".join(Parsed(render_page(equal)).words).split()
    )


def test_hostile_text_stays_text() -> None:
    hostile = volume(description=HOSTILE, manufacturer=HOSTILE, kernel=HOSTILE, modality=HOSTILE)
    notes = (Note(code="tilt", text=HOSTILE),)
    facts = {HOSTILE: HOSTILE}
    text = render_page(reading(volume=hostile, notes=notes, model=facts, identity=facts, threshold_rule=HOSTILE))
    page, clean = Parsed(text), Parsed(render_page(reading(identity={"Name": "x"})))
    assert [tag for tag, _ in page.elements if tag in ("script", "img")] == ["script"] * len(clean.inside["script"])
    assert page.inside["script"][-1] == clean.inside["script"][-1]
    assert json.loads(page.inside["script"][0]) == json.loads(clean.inside["script"][0])
    assert not any(c in text for c in "\u202e\u2028\x1b")
    assert "\\u202eKCIRT" in text


@pytest.mark.parametrize(("percentile", "kind"), [(94.9, "quiet"), (95.0, "unfamiliar"), (100.0, "unfamiliar")])
def test_a_scan_unlike_the_training_is_said_to_be(percentile: float, kind: str) -> None:
    text = render_page(reading(familiarity=Familiarity(percentile=percentile, scans=40)))
    said = f"{percentile:.0f} % of 40 validation scans are more like the training"
    (line,) = re.findall(rf'<p class="{kind}">([^<]*{said}[^<]*)</p>', text)
    assert ("lies outside what the model was trained on" in line) == (kind == "unfamiliar")
    assert "validation scans" not in render_page(reading())


def test_identity_only_where_given() -> None:
    assert "identity" not in {a.get("class") for _, a in Parsed(render_page(reading())).elements}
    shown = render_page(reading(identity={"Name": "DOE^JANE", "Birth date": "19500102"}))
    assert "DOE^JANE" in shown
    assert "1.2.3." not in shown


@pytest.mark.parametrize(("steps_mm", "said"), [((), "5.50 mm"), ((4.0, 4.0, 7.0, 7.0), "median 5.50 mm")])
def test_the_thickness_of_uneven_slices_is_called_a_median(steps_mm: tuple[float, ...], said: str) -> None:
    text = render_page(reading(volume=volume(steps_mm=steps_mm, thickness_mm=5.5)))
    assert f"<dt>Thickness</dt><dd><bdi>{said}</bdi></dd>" in text


@pytest.mark.parametrize("steps_mm", [(), (4.0, 4.0, 7.0, 7.0)])
def test_z_follows_the_steps(steps_mm: tuple[float, ...]) -> None:
    want = 20 + (np.arange(S) * 5.0 if not steps_mm else np.concatenate([[0], np.cumsum(steps_mm)]))
    np.testing.assert_allclose(slice_z_mm(volume(steps_mm=steps_mm)), want)


def in_chromium(page: Path, profile: Path, address: str = "") -> dict[str, str]:
    """The body's data attributes after the page ran in a real browser; fails if the console had anything to say."""
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        pytest.skip("no Chromium on this machine")
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}", "--enable-logging=stderr"]
    done = subprocess.run(
        [browser, *options, "--virtual-time-budget=10000", "--dump-dom", f"{page.as_uri()}{address}"],
        capture_output=True,
        text=True,
        timeout=600,
        check=True,
    )
    assert "CONSOLE" not in done.stderr, done.stderr
    body = next(attributes for tag, attributes in Parsed(done.stdout).elements if tag == "body")
    return {name.removeprefix("data-"): str(value) for name, value in body.items()}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("address", "slice_index", "window"),
    [
        ("", 2, "brain"),
        ("#slice=5&window=subdural", 4, "subdural"),
        ("#slice=1&window=bone&heat=0", 0, "bone"),
        ("#slice=999&window=%3Cscript%3E&label=none&opacity=x", 4, "brain"),
    ],
)
def test_a_browser_draws_the_windowed_slice(tmp_path: Path, address: str, slice_index: int, window: str) -> None:
    given_reading = reading(identity={"Name": HOSTILE})
    page = tmp_path / "report.html"
    page.write_text(render_page(given_reading), encoding="utf-8")
    seen = in_chromium(page, tmp_path / "profile", address)
    assert "error" not in seen
    assert seen["ready"] == "1"
    assert seen["slice"] == str(slice_index + 1)
    pixel = given_reading.volume.hu[slice_index, H // 2, W // 2]
    assert int(seen["center"]) == round(255 * float(apply_windows(pixel, (WINDOWS[window],))[0]))


@pytest.mark.slow
def test_a_browser_lays_the_heat_map_over_the_slice(tmp_path: Path) -> None:
    heat = np.zeros((S, 8, 8))
    heat[2] = 1.0
    given_reading = reading(heat_maps={"any": heat})
    page = tmp_path / "report.html"
    page.write_text(render_page(given_reading), encoding="utf-8")
    # The strongest colour is (252, 255, 164), and at full opacity nothing of the scan is left.
    assert in_chromium(page, tmp_path / "profile", "#heat=1&opacity=1")["center"] == "252"
    without = in_chromium(page, tmp_path / "profile", "#heat=1&opacity=1&slice=2")
    pixel = given_reading.volume.hu[1, H // 2, W // 2]
    assert int(without["center"]) == round(255 * float(apply_windows(pixel, (WINDOWS["brain"],))[0]))


@pytest.mark.slow
@pytest.mark.parametrize(("choice", "left", "panels"), [("0", "grey", "1"), ("1", "heat", "1"), ("both", "grey", "2")])
def test_a_browser_shows_one_of_two_maps_or_both_side_by_side(tmp_path: Path, choice, left, panels) -> None:
    """The lesion map is empty, the heat map is full."""
    lesions = LesionReport(
        labels=(),
        shift=MidlineShift(shift_mm=None, reason="not asked"),
        maps={"any": np.zeros((S, 8, 8))},
        probabilities=np.zeros((S, 8, 8, 6), np.float32),
        grid=Grid.of(volume(), (8, 8)),
    )
    given_reading = reading(heat_maps={"any": np.ones((S, 8, 8))}, lesions=lesions)
    page = tmp_path / "report.html"
    page.write_text(render_page(given_reading), encoding="utf-8")
    seen = in_chromium(page, tmp_path / "profile", f"#heat=1&opacity=1&slice=2&map={choice}")
    pixel = given_reading.volume.hu[1, H // 2, W // 2]
    grey = round(255 * float(apply_windows(pixel, (WINDOWS["brain"],))[0]))
    assert int(seen["center"]) == {"grey": grey, "heat": 252}[left]
    assert seen["panels"] == panels


STEPS = """
(async () => {
  const pause = (ms) => new Promise((go) => setTimeout(go, ms));
  const until = async (isSo) => { for (let n = 0; n < 200 && !isSo(); n++) await pause(20); };
  await until(() => document.body.dataset.ready === "1");
  const told = document.body.dataset;
  // Only real pointers can be captured.
  const captured = { setPointerCapture() {}, hasPointerCapture: () => true };
  for (const id of ["scan", "coronal", "sagittal"]) Object.assign($(id), captured);
  const fire = (id, type, x, y) => {
    const element = $(id), box = element.getBoundingClientRect();
    const clientX = box.left + ((x + 0.5) / element.width) * box.width;
    const clientY = box.top + ((y + 0.5) / element.height) * box.height;
    element.dispatchEvent(new PointerEvent(type, { clientX, clientY, pointerId: 1, pointerType: "mouse" }));
  };
  $("measure").click();
  fire("scan", "pointerdown", 4, 6);
  fire("scan", "pointermove", 10, 14);
  fire("scan", "pointerup", 10, 14);
  told.length = $("at-length").textContent;
  $("measure").click();
  told.cleared = $("at-length").textContent;
  $("planes").open = true;
  await until(() => planes.point && $("coronal").width === WIDTH);
  fire("scan", "pointerdown", 8, 5);
  fire("scan", "pointerup", 8, 5);
  await until(() => planes.point[1] === 5);
  await pause(200);
  const greyAt = (id, x, y) => $(id).getContext("2d").getImageData(x, y, 1, 1).data[0];
  told.rows = $("coronal").height;
  Object.assign(told, { coronal: greyAt("coronal", 3, 0), sagittal: greyAt("sagittal", 3, 0) });
  fire("coronal", "pointerdown", 6, 0);
  await until(() => state.slice === SLICES - 1);
  Object.assign(told, { now: state.slice + 1, point: planes.point.join() });
})();
"""


@pytest.mark.slow
def test_a_browser_measures_and_shows_the_other_planes(tmp_path: Path) -> None:
    given_reading = reading()
    digest = base64.b64encode(hashlib.sha256(STEPS.encode()).digest()).decode()
    text = render_page(given_reading).replace("script-src ", f"script-src 'sha256-{digest}' ", 1)
    page = tmp_path / "report.html"
    page.write_text(text.replace("</body>", f"<script>{STEPS}</script></body>"), encoding="utf-8")
    seen = in_chromium(page, tmp_path / "profile")
    shown = given_reading.volume
    z_mm, row_mm, column_mm = shown.spacing_mm
    assert seen["length"] == f"{np.hypot(6 * column_mm, 8 * row_mm):.1f} mm"
    assert seen["cleared"] == ""
    top = apply_windows(shown.hu[-1], (WINDOWS["brain"],))[..., 0]
    assert int(seen["coronal"]) == round(255 * float(top[5, 3]))
    assert int(seen["sagittal"]) == round(255 * float(top[3, 8]))
    assert int(seen["rows"]) == round((S - 1) * z_mm / column_mm) + 1
    assert (seen["now"], seen["point"]) == (str(S), "6,5")


def test_few_validation_scans_tell_little():
    told = str(Familiarity(percentile=100.0, scans=1))
    assert "only 1, too few to say how unusual that is" in told
    assert Familiarity(percentile=100.0, scans=1).is_unusual
    assert "lies outside" in str(Familiarity(percentile=100.0, scans=20))
