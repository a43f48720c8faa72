"""Bland-Altman and FROC plots of lesion maps. Of the table they name the labels only."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ichformer.errors import one_line
from ichformer.evaluation.lesions.results import LesionFigures
from ichformer.reporting.evaluation.plots import Plot, draw_plot
from ichformer.reporting.plot_style import COLORS
from ichformer.statistics.froc import froc_curve


def lesion_plots(table: pd.DataFrame, found: tuple[LesionFigures, ...]) -> list[Plot]:
    """Draw a Bland-Altman plot of the volumes for each label, and the FROC curves of all labels.

    Args:
      table: of lesions (``evaluation.lesions.rows``).
      found: the figures of its labels.
    """
    rows = -(-len(found) // 3)

    def agreement(figure: Figure) -> None:
        every = figure.subplots(rows, 3, squeeze=False).ravel()
        for axes, one in zip(every, found, strict=False):
            _draw_agreement(axes, table[table["label"] == one.label], one)
        for axes in every[len(found) :]:
            axes.set_axis_off()
        figure.supxlabel("mean of true and predicted volume, ml", fontsize=9)
        figure.supylabel("predicted less true volume, ml", fontsize=9)

    def detection(figure: Figure) -> None:
        axes = figure.subplots()
        for i, one in enumerate(found):
            _draw_froc(axes, table[table["label"] == one.label], one, COLORS[i % len(COLORS)])
        axes.set(xlabel="false positives a scan", ylabel="sensitivity for lesions", ylim=(-0.01, 1.01))
        axes.legend(fontsize=8)

    said = "Bland-Altman plot: difference of predicted and true volumes against their mean, one picture for each label"
    curves = "FROC: sensitivity for lesions against false positives a scan, one curve for each label"
    return [
        draw_plot("Volumes (Bland-Altman)", said, agreement, size=(11.4, 0.5 + 2.5 * rows), wide=True),
        draw_plot("FROC", curves, detection, size=(3.8, 3.5), wide=False),
    ]


def _draw_agreement(axes: Any, rows: pd.DataFrame, one: LesionFigures) -> None:
    scans = rows[(rows["kind"] == "scan") & (rows["not_scored"] == "")]
    true_ml, predicted_ml = (scans[name].to_numpy(np.float64) for name in ("true_ml", "predicted_ml"))
    compared = (true_ml > 0) | (predicted_ml > 0)
    mean_ml, difference_ml = (true_ml + predicted_ml)[compared] / 2, (predicted_ml - true_ml)[compared]
    axes.plot(mean_ml, difference_ml, "o", ms=3, color=COLORS[0], alpha=0.6)
    for line, style in ((one.bias_ml, "-"), (one.lower_limit_ml, "--"), (one.upper_limit_ml, "--")):
        if line.value is not None:
            axes.axhline(line.value, color="#000000", lw=0.9, ls=style)
        if line.interval is not None:
            axes.axhspan(line.interval.low, line.interval.high, color="#8a929c", alpha=0.2, lw=0)
    axes.set_title(one_line(one.label, max_chars=24), fontsize=9)


def _draw_froc(axes: Any, rows: pd.DataFrame, one: LesionFigures, color: str) -> None:
    found = rows.loc[rows["kind"] == "true", "score"].to_numpy(np.float64)
    false = rows.loc[(rows["kind"] == "predicted") & (rows["false_positive"] == 1), "score"].to_numpy(np.float64)
    curve, name = froc_curve(found, false, n_scans=one.n), one_line(one.label, max_chars=24)
    # An underscore in front would keep a name out of the legend.
    name = f"\u200b{name}" if name.startswith("_") else name
    if curve is None:
        axes.plot([], [], color=color, label=f"{name} (not estimable)")
    else:
        axes.plot(curve.x, curve.y, color=color, lw=1.4, drawstyle="steps-post", label=name)
