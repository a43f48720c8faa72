"""The status page of a node as HTML, with its style inside; it runs no script and fetches nothing."""

import time
from pathlib import Path
from typing import Any

from ichformer.evaluation.summary import NOT_ESTIMABLE
from ichformer.reporting.styled_page import render_styled
from ichformer.serving.status.values import UNFAMILIAR_PERCENTILE, Status, shown_time
from ichformer.statistics.intervals import Estimate

_HERE = Path(__file__).parent
_SHARES = {
    "raised": "raised, of those scored",
    "not scored": "not scored",
    "unfamiliar": f"less familiar than {UNFAMILIAR_PERCENTILE:.0f} % of the training's scans (5 % are expected)",
}


def render_status(status: Status, *, is_ready: bool, run: str, aet: str, associations: int) -> str:
    """The page.

    Args:
      status: of the node.
      is_ready: whether studies can be scored.
      run: name of the model.
      aet: AE title.
      associations: that are open.
    """
    return render_styled(
        _HERE / "status.html.j2",
        styles=[_HERE.parents[1] / "reporting" / "evaluation" / "page.css", _HERE / "status.css"],
        title=f"Node {aet}",
        now=shown_time(time.time()),
        status=status,
        is_ready=is_ready,
        run=run,
        associations=associations,
        last=[
            {
                "study": one.study,
                "at": shown_time(one.at),
                "state": one.state,
                "score": "" if one.score is None else f"{one.score:.3f}",
                "familiarity": "" if one.familiarity is None else f"{one.familiarity:.0f}",
                "seconds": "" if one.seconds_to_report is None else f"{one.seconds_to_report:.0f}",
            }
            for one in status.last
        ],
        failed=[{"study": one.study, "at": shown_time(one.at), "reason": one.reason} for one in status.failed],
        drift=[
            {
                "name": _SHARES[one.name],
                "recent": _share(one.recent),
                "earlier": _share(one.earlier),
                "counts": f"{one.n_recent} and {one.n_earlier}",
                "has_changed": one.has_changed,
            }
            for one in status.drift
        ],
    )


def status_json(status: Status, *, is_ready: bool) -> dict[str, Any]:
    """The health of the node: whether it can work, and what waits."""
    return {"ready": is_ready, "paused": status.paused, "draining": status.draining, "studies": status.counts}


def _share(one: Estimate) -> str:
    if one.value is None or one.interval is None:
        return NOT_ESTIMABLE
    return f"{one.value:.0%} ({one.interval.low:.0%} to {one.interval.high:.0%})"
