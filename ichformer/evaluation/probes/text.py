"""What a probe found as aligned text, and as the files of its folder."""

from ichformer.errors import one_line
from ichformer.evaluation.probes.results import Counts, ProbeResult
from ichformer.evaluation.summary import NOT_ESTIMABLE, aligned, figure
from ichformer.evaluation.tables.checked import check_table
from ichformer.evaluation.tables.files import predictions_csv
from ichformer.evaluation.thresholds import json_bytes
from ichformer.files.csv_fields import csv_bytes
from ichformer.statistics.probes.fits import ShareOfPatients

METHODS = {
    "ridge": "ridge regression",
    "knn": "votes of the 20 nearest training scans",
    "attentive": "a learned query over the slices of each scan",
}
"""How text calls a method."""


def probe_files(result: ProbeResult) -> dict[str, bytes]:
    """What each file of a probe's folder holds: ``probe.csv`` (one row a draw), ``predictions.csv``, ``probe.json``."""
    draws = result.to_json()["draws"]
    return {
        "predictions.csv": predictions_csv(check_table(result.predictions, labels=(result.label,))),
        "probe.csv": csv_bytes({name: [draw[name] for draw in draws] for name in draws[0]}),
        "probe.json": json_bytes(result.to_json()),
    }


def format_probe(result: ProbeResult) -> str:
    """Format what a probe found as a table with a row for each share of the training patients."""
    rows = [_cells(share, result) for share in result.shares]
    lines = [
        f"{one_line(result.label)} from {result.dimensions} frozen features: {METHODS[result.method]}",
        f"{_counted('fitted on', result.train)}; {_counted('evaluated on', result.test)}",
        *aligned([["share", "patients", "draws", "mean AUROC", "spread"], *rows]),
    ]
    spread = "Spread is the standard deviation over draws of training patients."
    notes = [f"{spread} The AUROC on all of them has a 95 % interval over test patients."]
    if (found := result.collapse) is not None:
        notes.append(
            f"Features of {found.scans} training scans: effective rank {found.effective_rank:.1f} of "
            f"{min(found.scans, found.dimensions)}, spread {found.spread:.4f} (0 after a collapse, at most "
            f"{found.full_spread:.4f}), mean similarity {found.similarity:.3f} (1 after a collapse)."
        )
    for share in result.shares:
        notes += [f"! {_percent(share.fraction)} not scored. {reason}" for reason in share.not_scored]
    return "\n".join([*lines, "", *(f"  {note}" for note in notes)])


def _cells(share: ShareOfPatients, result: ProbeResult) -> list[str]:
    if share.mean_auroc is None:
        mean = NOT_ESTIMABLE
    else:
        mean = figure(result.auroc) if share.fraction == 1 else f"{share.mean_auroc:.3f}"
    spread = "" if share.spread is None else f"{share.spread:.3f}"
    return [_percent(share.fraction), str(share.patients), f"{share.scored}/{share.draws}", mean, spread]


def _counted(what: str, counts: Counts) -> str:
    left_out = f", {counts.left_out} not scored" * bool(counts.left_out)
    return (
        f"{what} {counts.scans} scans ({one_line(counts.split)}) of {counts.patients} patients, "
        f"{counts.positive_patients} positive{left_out}"
    )


def _percent(fraction: float) -> str:
    return f"{100 * fraction:g} %"
