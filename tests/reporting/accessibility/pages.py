"""Every page that people read, as full as it gets."""

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from ichformer import LABELS
from ichformer.reporting.explanation.methods_page import render_methods_page
from ichformer.reporting.scan.page import render_page
from ichformer.reporting.scan.reading import Familiarity, Reading
from ichformer.reporting.worklist.order import order_scans
from ichformer.reporting.worklist.page import render_worklist
from ichformer.workflows.evaluate_table import evaluate
from tests.evaluation.test_explanations import CONTROLS, maps_table
from tests.reporting.test_lesions import SCAN, report
from tests.reporting.test_page import HOSTILE, reading
from tests.reporting.test_page_without_scores import not_scored
from tests.reporting.test_worklist import table


def scan() -> str:
    """A lesion map beside a heat map, with all that can stand on the page."""
    heat = np.linspace(0, 1, 6 * 16).reshape(6, 4, 4)
    return render_page(
        Reading(
            volume=replace(SCAN, audit=reading().volume.audit),
            scan_scores=np.linspace(0.2, 0.7, len(LABELS)),
            slice_scores=np.full((6, len(LABELS)), 0.2),
            slice_targets=np.zeros((6, 0)),
            thresholds={"any": 0.5, "subdural": 0.3},
            slice_thresholds={"any": 0.1},
            threshold_rule="sensitivity>=0.90 on validation",
            familiarity=Familiarity(percentile=99.5, scans=40),
            heat_maps={"any": heat, "subdural": heat},
            lesions=report(),
            remarks=("No slice scores.", HOSTILE),
            identity={"Name": HOSTILE, "ID": "7"},
            model={"Name": "hybrid_nano", "Run": "x" * 60},
        )
    )


def evaluation(folder: Path) -> str:
    """Two sites, a subgroup, and warnings."""
    n = 120
    rng = np.random.default_rng(0)
    truth = (rng.random(n) < 0.4).astype(np.float64)
    score = 1 / (1 + np.exp(2 - 2 * truth - rng.normal(size=n)))
    columns = {"patient": [f"p{i}" for i in range(n)], "site": ["a", "b"] * (n // 2), "any": truth, "score_any": score}
    rows = pd.DataFrame(columns | {"group_scanner": np.where(rng.random(n) < 0.5, "x", "y")})
    evaluate(rows.assign(study="", series="", slice="", split=""), out=folder, labels=("any",), replicates=20)
    return (folder / "evaluation.html").read_text(encoding="utf-8")


def explanations() -> str:
    picture = io.BytesIO()
    Image.new("RGB", (64, 32)).save(picture, "PNG")
    pictures = {("first", i, method): picture.getvalue() for i in range(9) for method in ("good", "half")}
    return render_methods_page(maps_table(), pictures, controls=CONTROLS, title="Explanations")


PAGES: dict[str, Callable[[Path], str]] = {
    "report": lambda _: scan(),
    "not_scored": lambda _: render_page(not_scored()),
    "worklist": lambda _: render_worklist(
        order_scans(table(), where="scores.csv", with_page={"head 1", "head 2", "head 8"})
    ),
    "explanations": lambda _: explanations(),
    "evaluation": evaluation,
}
