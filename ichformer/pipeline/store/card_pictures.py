"""Draws the pictures of the data card, as the bytes of PNG files."""

import contextlib
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ichformer.pipeline.preparation.facts import EDGES_HU, ScanFacts

_INK = "#30506e"
_MAX_SITES = 9
_BRAIN_HU = (-40, 120)


def draw_geometry(scans: Sequence[ScanFacts], n_slices: Sequence[int]) -> bytes:
    """Draws histograms over scans: number of slices, their distance, thickness and lean."""
    panels = (
        ("slices", n_slices),
        ("between slices (mm)", [scan.spacing_mm[0] for scan in scans]),
        ("nominal thickness (mm)", [scan.thickness_mm for scan in scans if scan.thickness_mm is not None]),
        ("lean of the slices (degrees)", [scan.lean_deg for scan in scans]),
    )
    with _figure(len(panels), width_in=12) as (figure, axes):
        for axis, (name, values) in zip(axes, panels, strict=True):
            axis.hist(values, bins=_bins(values), color=_INK)
            axis.set_xlabel(name)
        axes[0].set_ylabel("scans")
        return _png(figure)


def draw_hu(scans: Sequence[ScanFacts], sites: Sequence[str]) -> bytes:
    """Draws the share of voxels for each HU, a line for each site: the whole range, and that of brain and blood."""
    largest = [site for site, _ in sorted(Counter(sites).items(), key=lambda item: (-item[1], item[0]))[:_MAX_SITES]]
    counts: dict[str, Any] = {site: np.zeros(len(EDGES_HU)) for site in sorted(largest)}
    for scan, site in zip(scans, sites, strict=True):
        name = site if site in counts else "other sites"
        counts[name] = counts.get(name, np.zeros(len(EDGES_HU))) + scan.hu_counts
    edges = np.array([*EDGES_HU, EDGES_HU[-1] + 64])
    brain = (edges[:-1] >= _BRAIN_HU[0]) & (edges[1:] <= _BRAIN_HU[1])
    with _figure(2, width_in=12) as (figure, axes):
        for name, of_site in counts.items():
            density = of_site / max(of_site.sum(), 1) / np.diff(edges)
            axes[0].stairs(density, edges, label=name)
            inside = of_site[brain] / max(of_site[brain].sum(), 1) / np.diff(edges)[brain]
            axes[1].stairs(inside, np.append(edges[:-1][brain], _BRAIN_HU[1]))
        axes[0].set_yscale("log")
        axes[0].set_xlabel("HU, all voxels")
        axes[0].set_ylabel("share of voxels per HU")
        axes[1].set_xlabel(f"HU, voxels from {_BRAIN_HU[0]} to {_BRAIN_HU[1]}")
        axes[1].set_xlim(*_BRAIN_HU)
        axes[1].set_ylim(bottom=0)
        axes[0].legend(fontsize=7, frameon=False)
        return _png(figure)


def _bins(values: Sequence[float]) -> Any:
    """Twenty-four bins, or one as wide as a twentieth of the value where there is only one."""
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    margin = max(abs(low), 1.0) / 40 if high - low < 1e-6 else 0.0
    return np.linspace(low - margin, high + margin, 2 if margin else 25)


@contextlib.contextmanager
def _figure(panels: int, *, width_in: float) -> Iterator[tuple[Any, Any]]:
    """A figure that neither the user's settings nor a display have a say in."""
    import matplotlib.style
    from matplotlib.figure import Figure

    with matplotlib.style.context("default"):
        figure = Figure(figsize=(width_in, 3), dpi=100)
        axes = figure.subplots(1, panels, gridspec_kw={"left": 0.06, "right": 0.99, "bottom": 0.17, "top": 0.96})
        for axis in axes:
            axis.spines[["top", "right"]].set_visible(False)
            axis.tick_params(labelsize=8)
        yield figure, axes


def _png(figure: Any) -> bytes:
    out = io.BytesIO()
    figure.savefig(out, format="png", metadata={"Software": None})
    return out.getvalue()
