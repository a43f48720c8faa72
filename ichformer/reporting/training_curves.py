"""A training as pictures: its losses and rates over the steps, and the loss over the rate of a range test."""

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from jaxtyping import Float64
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ichformer.errors import InputError
from ichformer.files.json_files import parse_json
from ichformer.files.writing import write_bytes
from ichformer.reporting.plot_style import COLORS, STYLE

CURVES_NAME = "curves.png"
"""In the folder of a run."""

_LOSSES = {"loss": "training", "val_loss": "validation"}


def write_curves(run: Path) -> bool:
    """Draws the metrics of a run into its folder; False where there are none yet."""
    if not (metrics := read_metrics(run)):
        return False
    write_bytes(draw_curves(metrics), run / CURVES_NAME)
    return True


def read_metrics(run: Path) -> list[dict[str, float]]:
    """What a training wrote of its steps, in their order; lines that are no numbers by name are left out.

    Args:
      run: the run's folder, with or without a ``metrics.jsonl``.
    """
    file, found = run / "metrics.jsonl", []
    for line in file.read_bytes().splitlines() if file.is_file() else ():
        try:
            told = parse_json(line, dict, where=file, fix="leave the line out")
        except InputError:
            continue
        values = {name: float(value) for name, value in told.items() if isinstance(value, int | float)}
        if "step" in values:
            found.append(values)
    return sorted(found, key=lambda values: values["step"])


def draw_curves(metrics: Sequence[Mapping[str, float]]) -> bytes:
    """A PNG with the losses, the learning rate, and the probes of a pretraining where there are some.

    Args:
      metrics: of steps, in their order; each with "step" and whatever was measured then.
    """
    probes = sorted({name for values in metrics for name in values if name.startswith("probe_")})
    panels: list[tuple[str, dict[str, str]]] = [("loss", _LOSSES), ("learning rate", {"learning_rate": ""})]
    if probes:
        panels.append(("AUROC of probes", {name: name.removeprefix("probe_").replace("_", " ") for name in probes}))
    return _png(lambda figure: _draw_panels(figure, panels, metrics), size=(4.2 * len(panels), 3.2))


def draw_range(
    rates: Float64[np.ndarray, "n"],
    losses: Float64[np.ndarray, "n"],
    smooth: Float64[np.ndarray, "n"],
    suggested: float | None,
) -> bytes:
    """A PNG of a learning rate range test: the loss after each step over the rate of that step.

    Args:
      rates, losses: of the steps.
      smooth: the smoothed losses.
      suggested: the rate to mark, if any.
    """

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.plot(rates, losses, color=COLORS[0], lw=0.8, alpha=0.4, label="loss")
        axes.plot(rates, smooth, color=COLORS[0], lw=1.6, label="smoothed")
        if suggested is not None:
            axes.axvline(suggested, color=COLORS[1], lw=1.2, ls="--", label=f"suggested: {suggested:.2g}")
        axes.set(xscale="log", xlabel="learning rate", ylabel="training loss")
        axes.xaxis.set_major_formatter("{x:.0e}")
        axes.legend()

    return _png(draw, size=(5.5, 3.6))


def _draw_panels(
    figure: Figure, panels: Sequence[tuple[str, dict[str, str]]], metrics: Sequence[Mapping[str, float]]
) -> None:
    for axes, (title, curves) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        for color, (name, label) in zip(COLORS * (len(curves) // len(COLORS) + 1), curves.items(), strict=False):
            points = [(values["step"], values[name]) for values in metrics if math.isfinite(values.get(name, math.nan))]
            if points:
                axes.plot(*zip(*points, strict=True), color=color, lw=1.4, marker="." * (len(points) < 60), label=label)
        axes.set(title=title, xlabel="step")
        axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
        if any(curves.values()) and axes.lines:
            axes.legend()


def _png(draw: Any, *, size: tuple[float, float]) -> bytes:
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure)
        file = io.BytesIO()
        figure.savefig(file, format="png", dpi=120, metadata={"Software": None})
    return file.getvalue()
