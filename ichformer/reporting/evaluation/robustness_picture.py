"""The heat map of a corruption benchmark."""

import io

import numpy as np

from ichformer.ct.corruptions import SEVERITIES
from ichformer.evaluation.robustness import LevelRobustness, Robustness


def draw_robustness(found: Robustness) -> bytes:
    """Draw the AUROC that is lost as a PNG, with one panel for each level and a cell for each corruption and severity.

    White is no loss, red is a loss, blue is a gain and grey is not estimable. All panels have the same scale.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = list(found.levels[0].by_corruption)
    figure = Figure(figsize=(2.2 + 4.4 * len(found.levels), 1.6 + 0.42 * len(names)), layout="constrained")
    FigureCanvasAgg(figure)
    grids = [_grid(level, names) for level in found.levels]
    largest = max(0.05, *(float(np.nanmax(np.abs(grid), initial=0)) for grid in grids))
    for axes, level, grid in zip(figure.subplots(1, len(grids), squeeze=False)[0], found.levels, grids, strict=True):
        image = axes.imshow(grid, cmap="RdBu_r", vmin=-largest, vmax=largest, aspect="auto")
        axes.set_facecolor("0.8")
        axes.set_xticks(range(len(SEVERITIES)), [str(severity) for severity in SEVERITIES])
        axes.set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
        axes.set_xlabel("severity")
        clean = "not estimable" if level.clean.value is None else f"{level.clean.value:.3f}"
        axes.set_title(f"{level.level}s, {found.label}: clean AUROC {clean}", fontsize=10)
        for (row, column), value in np.ndenumerate(grid):
            dark = abs(value) > 0.6 * largest
            text = "-" if np.isnan(value) else f"{value:+.3f}"
            axes.text(column, row, text, ha="center", va="center", fontsize=8, color="white" if dark else "black")
    figure.colorbar(image, ax=figure.axes, label="AUROC lost", shrink=0.9)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return buffer.getvalue()


def _grid(level: LevelRobustness, names: list[str]) -> np.ndarray:
    grid = np.full((len(names), len(SEVERITIES)), np.nan)
    for cell in level.cells:
        if cell.loss.value is not None:
            grid[names.index(cell.corruption), cell.severity - 1] = cell.loss.value
    return grid
