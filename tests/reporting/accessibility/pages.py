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
from ichformer.reporting.follow_up.page import render_follow_up
from ichformer.reporting.scan.page import render_page
from ichformer.reporting.scan.reading import Familiarity, Reading
from ichformer.reporting.worklist.order import order_scans
from ichformer.reporting.worklist.page import render_worklist
from ichformer.serving.status.page import render_status
from ichformer.serving.status.values import STATES, Failed, Result, Share, Status, Waiting
from ichformer.statistics.intervals import Estimate, Interval
from ichformer.workflows.evaluate_table import evaluate
from tests.evaluation.test_explanations import CONTROLS, maps_table
from tests.reporting.follow_ups import compared_of
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


def node() -> str:
    """With results, failures, a destination that does not answer, and a change."""
    results = [
        Result(study=f"{at:024x}", at=at, state=state, score=0.7, familiarity=40.0, seconds_to_report=12.0)
        for at, state in enumerate(("raised", "not raised", "not scored"))
    ]
    few, many = (
        Estimate(value=value, interval=Interval(low=value - 0.1, high=value + 0.1, method="wilson"))
        for value in (0.2, 0.8)
    )
    status = Status(
        paused=True,
        draining=True,
        counts=dict.fromkeys(STATES, 1),
        last=tuple(results),
        failed=(Failed(study="ab" * 12, at=0.0, reason=HOSTILE),),
        destinations=(Waiting(destination="dicomweb http://pacs/dicom-web", waiting=1, failed=1, reason="http_503"),),
        drift=(Share(name="raised", recent=few, earlier=many, n_recent=90, n_earlier=400),),
    )
    return render_status(status, is_ready=False, run="default", aet="NODE", associations=1)


PAGES: dict[str, Callable[[Path], str]] = {
    "report": lambda _: scan(),
    "not_scored": lambda _: render_page(not_scored()),
    "worklist": lambda _: render_worklist(
        order_scans(table(), where="scores.csv", with_page={"head 1", "head 2", "head 8"})
    ),
    "explanations": lambda _: explanations(),
    "evaluation": evaluation,
    "follow_up": lambda _: render_follow_up(compared_of(remarks=(HOSTILE,))),
    "node": lambda _: node(),
}
