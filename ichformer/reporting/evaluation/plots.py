"""Plots of one level as SVG images in data URIs. Of a table they name the labels only."""

import base64
import io
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from ichformer.errors import one_line
from ichformer.evaluation.recalibration import AS_GIVEN, LabelCalibration
from ichformer.evaluation.tables.table import Level
from ichformer.reporting.plot_style import COLORS, STYLE
from ichformer.statistics.calibration import Calibration
from ichformer.statistics.curves import Curve, decision_curve, pr_curve, risk_coverage, roc_curve

_THRESHOLDS = np.arange(0.01, 0.6, 0.01)
_SCORES = {AS_GIVEN: "#000000", "temperature": "#0072b2", "platt": "#d55e00", "isotonic": "#009e73"}


@dataclass(frozen=True, kw_only=True)
class Plot:
    """A picture, and a text that says what it shows."""

    title: str
    text: str
    uri: str
    wide: bool


def level_plots(
    level: Level,
    labels: Sequence[str],
    calibration: Sequence[LabelCalibration],
    thresholds: Mapping[str, float | None],
) -> list[Plot]:
    """Draw the ROC, precision-recall, risk-coverage, calibration and decision curves of one level.

    Args:
      level: the rows.
      labels: in the order of its columns.
      calibration: of this level's labels, in their order.
      thresholds: by label. The risk-coverage curve measures the certainty of a call from them; 0.5 for other labels.
    """
    columns = [(truth, scores, level.weights) for truth, scores in zip(level.labels.T, level.scores.T, strict=True)]
    names = [one_line(label, max_chars=24) for label in labels]
    at = [thresholds.get(label) for label in labels]
    risks = [
        risk_coverage(*column, threshold=0.5 if value is None else value)
        for column, value in zip(columns, at, strict=True)
    ]
    return [
        _curves("ROC", "1 - specificity", "sensitivity", names, [roc_curve(*c) for c in columns], diagonal=True),
        _curves("Precision and recall", "recall", "precision", names, [pr_curve(*c) for c in columns]),
        _curves(
            "Risk and coverage",
            "coverage: share that is not left to a reader",
            "risk: share of wrong calls",
            [f"{n}, AURC {r.aurc:.3f}" if r else n for n, r in zip(names, risks, strict=True)],
            [None if r is None else Curve(x=r.coverage, y=r.risk) for r in risks],
            top=None,
        ),
        _small_multiples(
            "Calibration", "score", "share of positives", names, [_draw_calibration(found) for found in calibration]
        ),
        _small_multiples(
            "Decision curves", "threshold probability", "net benefit", names, [_draw_decision(*c) for c in columns]
        ),
    ]


def _curves(
    title: str,
    x: str,
    y: str,
    names: Sequence[str],
    curves: Sequence[Curve | None],
    *,
    diagonal: bool = False,
    top: float | None = 1.0,
) -> Plot:
    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        if diagonal:
            axes.plot([0, 1], [0, 1], color="#8a929c", lw=0.8, ls=":")
        for i, (name, curve) in enumerate(zip(names, curves, strict=True)):
            # An underscore in front would keep a name out of the legend.
            said = f"\u200b{name}" if name.startswith("_") else name
            if curve is None:
                axes.plot([], [], color=COLORS[i % len(COLORS)], label=f"{said} (not estimable)")
            else:
                axes.plot(*_thin(curve), color=COLORS[i % len(COLORS)], lw=1.4, label=said)
        axes.set(xlabel=x, ylabel=y, xlim=(-0.01, 1.01))
        axes.set_ylim(-0.01, axes.get_ylim()[1] if top is None else top + 0.01)
        axes.set_yticks([tick for tick in axes.get_yticks() if -0.001 < tick < 1.001])  # they are shares
        figure.legend(loc="outside lower center", ncols=2, fontsize=7)  # curves go anywhere in the axes

    size = (3.8, 3.4 + 0.16 * -(-len(names) // 2))
    return draw_plot(title, f"{title}: {y} against {x}, one curve for each label", draw, size=size, wide=False)


def _thin(curve: Curve) -> tuple[np.ndarray, np.ndarray]:
    """The points that differ at the resolution of a picture, with the first and the last."""
    rounded = np.round(np.column_stack([curve.x, curve.y]), 3)
    changed = np.any(np.diff(rounded, axis=0) != 0, axis=1)
    keep = np.concatenate([[True], changed])
    keep[-1] = True
    return curve.x[keep], curve.y[keep]


def _small_multiples(
    title: str, x: str, y: str, names: Sequence[str], drawings: Sequence[Callable[[Any], None]]
) -> Plot:
    rows = -(-len(names) // 3)

    def draw(figure: Figure) -> None:
        every = figure.subplots(rows, 3, squeeze=False).ravel()
        for axes, name, drawing in zip(every, names, drawings, strict=False):
            drawing(axes)
            axes.set_title(name, fontsize=9)
        for axes in every[len(names) :]:
            axes.set_axis_off()
        figure.supxlabel(x, fontsize=9)
        figure.supylabel(y, fontsize=9)
        # A panel without an estimate lacks some of the curves.
        lines = {said: line for axes in every for line, said in zip(*axes.get_legend_handles_labels(), strict=True)}
        if lines:
            figure.legend(lines.values(), lines.keys(), loc="outside upper right", ncols=len(lines), fontsize=8)

    return draw_plot(
        title, f"{title}: {y} against {x}, one picture for each label", draw, size=(11.4, 0.5 + 2.5 * rows), wide=True
    )


def _draw_calibration(found: LabelCalibration) -> Callable[[Any], None]:
    every: dict[str, Calibration | None] = {AS_GIVEN: found.before, **found.after}

    def draw(axes: Any) -> None:
        axes.plot([0, 1], [0, 1], color="#8a929c", lw=0.8, ls=":")
        for name, calibration in every.items():
            bins = () if calibration is None else calibration.curve
            # Equal scores make bins of which several share their place.
            axes.plot(
                [b.mean_score for b in bins],
                [b.positive_share for b in bins],
                "o-",
                ms=3,
                lw=1.2,
                color=_SCORES[name],
                label=name,
            )
        for b in found.before.curve:
            if b.interval is not None:
                axes.plot([b.mean_score] * 2, [b.interval.low, b.interval.high], color="#000000", lw=0.6)
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))

    return draw


def _draw_decision(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> Callable[[Any], None]:
    curve = decision_curve(labels, scores, _THRESHOLDS, weights)

    def draw(axes: Any) -> None:
        axes.axhline(0, color="#8a929c", lw=1, label="treat nobody")
        if curve is None:
            return
        axes.plot(curve.thresholds, curve.treat_all, color="#e69f00", lw=1.2, label="treat everybody")
        axes.plot(curve.thresholds, curve.model, color="#0072b2", lw=1.4, label="model")
        top = max(float(curve.model.max()), float(curve.treat_all.max()), 0.01)
        axes.set_ylim(-0.25 * top, 1.1 * top)

    return draw


def draw_plot(title: str, text: str, draw: Callable[[Figure], None], *, size: tuple[float, float], wide: bool) -> Plot:
    """What ``draw`` makes of a figure of ``size`` (inches), as a plot."""
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure = Figure(figsize=size, layout="constrained")
        draw(figure)
        file = io.BytesIO()
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    uri = "data:image/svg+xml;base64," + base64.b64encode(file.getvalue()).decode("ascii")
    return Plot(title=title, text=text, uri=uri, wide=wide)
