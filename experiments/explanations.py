"""Which explanation deserves belief: methods beside two controls, on phantoms whose blood is known voxel by voxel.

Every phantom is made twice from one seed, with its bleed and without. While voxels are taken out in the order of a map,
what stands in their place is the healthy tissue of the same head, so every scan on the way is one that could be.

Claim: none yet; figures are in experiments/RESULTS.md where they were measured.
Cost: not measured yet; some minutes a phantom and model on two cores.
Command: python -m experiments.explanations default --phantoms 20 --out explanations.csv
Expected: ``explanations.csv`` with a row for each model, phantom and method, a folder of pictures, and beside them
``explanations.html``: for each model a table of methods and figures, each a mean over the phantoms that the model finds
with a 95 % interval over them, and examples in which the highest voxel lies in the bleed and in which it does not.
``ichformer.evaluation.explanations.map_figures`` says how each figure is read. Rows that the table has are not computed
again, so models and methods can be added.
"""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jax import Array

import ichformer as ich
from experiments.explained_families import LARGE
from ichformer import SUBTYPES
from ichformer.ct.anatomy.brain import brain_mask
from ichformer.ct.anatomy.head import SKIN_HU
from ichformer.ct.phantom.acquisition.sites import SITES, Site
from ichformer.ct.phantom.make import make_phantom
from ichformer.ct.windows import apply_windows
from ichformer.errors import InputError
from ichformer.evaluation.explanations.compare_maps import MapCell, compare_maps
from ichformer.evaluation.explanations.map_figures import MAP_FIGURES
from ichformer.evaluation.summary import figure
from ichformer.explanations.controls import CONTROLS
from ichformer.explanations.display import upsample
from ichformer.explanations.faithfulness.concentration import complexity, sparseness
from ichformer.explanations.faithfulness.fillings import from_neighbours, from_scan
from ichformer.explanations.faithfulness.flipping import flipping_curves
from ichformer.explanations.faithfulness.infidelity import infidelity
from ichformer.explanations.faithfulness.localisation import best_iou, mass_accuracy, points_into, rank_accuracy
from ichformer.explanations.faithfulness.stability import max_sensitivity, similarity
from ichformer.explanations.registry import find_method
from ichformer.explanations.score import CannotExplainError, ExplainedScore
from ichformer.inference.scoring import batch_of_one
from ichformer.pipeline.preparation.recipe import prepare_scan, prepare_volume
from ichformer.pipeline.store.records import PreparedScan
from ichformer.reporting.explanation.example import example_picture
from ichformer.reporting.explanation.methods_page import render_methods_page
from ichformer.training.process import own_process
from ichformer.training.runs.run import Run, initial_state

METHODS = ("hires_cam", "grad_cam", "layer_cam", "input_x_gradient", "integrated_gradients", "lesions")
FIGURES = tuple(one.name for one in MAP_FIGURES)
COLUMNS = ["model", "phantom", "bleed", "method", "why", *FIGURES]
NOISE_SAMPLES = 2
LONGEST = 40
"""Shorter phantoms are padded to so many slices, so that one program serves nearly all of them."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", help="each is a model of the page, under the name of its folder")
    parser.add_argument("--phantoms", type=int, default=20)
    parser.add_argument("--seed", type=int, default=900, help="of the first phantom")
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--steps", type=int, default=10, help="of pixel flipping")
    parser.add_argument(
        "--large-bleeds",
        action="store_true",
        help="the phantoms are those of experiments/explained_families.py, of its first scanner",
    )
    parser.add_argument("--out", type=Path, required=True, help="the table of all phantoms, to which rows are added")
    options = parser.parse_args()
    own_process()
    runs = {Path(name).name: name for name in options.runs}
    if len(runs) < len(options.runs):
        raise InputError("two runs have one name", where="runs", fix="copy one of them to a folder of another name")
    pictures = options.out.with_name(f"{options.out.stem}-pictures")
    pictures.mkdir(parents=True, exist_ok=True)
    sites = LARGE[:1] if options.large_bleeds else tuple(SITES.values())
    for model, name in runs.items():
        run = ich.open_run(name)
        for seed in range(options.seed, options.seed + options.phantoms):
            done = rows_of(options.out)
            have = set(done.loc[(done["model"].astype(str) == model) & (done["phantom"] == seed), "method"])
            wanted = [method for method in (*CONTROLS, *options.methods) if method not in have]
            if wanted:
                found = of_phantom(run, seed, wanted, options.steps, sites)
                rows = [{"model": model, "phantom": seed, "bleed": bleed_of(seed), **one.row} for one in found]
                for one in found:
                    if one.picture is not None:
                        (pictures / picture_name(model, seed, str(one.row["method"]))).write_bytes(one.picture)
                # All columns, also where the first rows have no figures: later ones go below the same header.
                added = pd.DataFrame(rows, columns=COLUMNS)
                added.to_csv(options.out, index=False, mode="a", header=not options.out.exists())
    report(rows_of(options.out), pictures, options.out.with_suffix(".html"))


def rows_of(path: Path) -> pd.DataFrame:
    """The table so far."""
    table = pd.read_csv(path) if path.exists() else pd.DataFrame(columns=COLUMNS)
    if [*table.columns] != COLUMNS:
        raise InputError("the table has other columns", where=str(path), fix="name a file that is not there yet")
    return table


def bleed_of(seed: int) -> str:
    """What a phantom has, by its seed."""
    return SUBTYPES[seed % len(SUBTYPES)]


def picture_name(model: str, seed: int, method: str) -> str:
    return f"{model}-{seed}-{method}.png".replace("/", "-")


@dataclass(frozen=True, kw_only=True)
class Found:
    """The row of a method, and its picture where the model found the bleed."""

    row: Mapping[str, object]
    picture: bytes | None = None


def of_phantom(
    run: ich.TrainedModel, seed: int, methods: list[str], steps: int, sites: tuple[Site, ...]
) -> list[Found]:
    """The methods on a phantom with one bleed, without figures where the model does not find it."""
    site = sites[seed % len(sites)]
    bleeding = make_phantom(seed, site=site, subtypes=(bleed_of(seed),))
    brain, prepare = brain_mask(bleeding.volume), run.run.prepare
    unknown = np.full((len(bleeding.mask) + 1, len(run.labels)), np.nan, np.float32)
    scan = PreparedScan(volume=bleeding.volume, mask=bleeding.mask, slice_labels=unknown[1:], scan_labels=unknown[0])
    scan = prepare_scan(scan, prepare, brain)
    healthy = prepare_volume(make_phantom(seed, site=site).volume, prepare, brain)
    objective = run.run.objective
    assert scan.mask is not None
    if not np.allclose(scan.volume.affine, healthy.affine) or not (scan.mask > 0).any():
        return [Found(row={"method": name, "why": "the twin lies on another grid"}) for name in methods]
    found = run.predict(bleeding.volume)
    if found.thresholds.get("any") is None:
        raise InputError("the run has no threshold for any", where="runs", fix="validate on more scans with a bleed")
    if found.not_scored or found.scan_scores["any"] < found.thresholds["any"]:
        return [Found(row={"method": name, "why": "not found"}) for name in methods]
    scans = batch_of_one(scan.volume, longest=LONGEST)
    mask = np.zeros(scans[0].shape[1:], bool)
    mask[: len(scan.mask)] = scan.mask > 0
    score, of_other = (
        ExplainedScore.of_label(objective, run.run.variables, *scans, label=label, level="scan")
        for label in ("any", "intraventricular")
    )
    untrained = replace(score, variables=at_random(run))
    healthy_hu, tissue = batch_of_one(healthy, longest=LONGEST)[0], np.asarray(score.hu[0] >= SKIN_HU)
    made = []
    for name in methods:
        try:
            maps, of_untrained, of_label = (map_of(one, name) for one in (score, untrained, of_other))
        except CannotExplainError as reason:
            made.append(Found(row={"method": name, "why": f"cannot explain this model: {reason}"}))
            continue
        values = np.asarray(maps[0])
        best = best_iou(values, mask)
        figures = (
            float(points_into(values, mask)),
            mass_accuracy(values, mask),
            rank_accuracy(values, mask),
            None if best is None else best[0],
            *(float(figure[0]) for figure in faithfulness(score, maps, healthy_hu, steps=steps)),
            float(max_sensitivity(score, partial(map_of, name=name), samples=NOISE_SAMPLES)[0]),
            complexity(values),
            sparseness(values),
            similarity(values, np.asarray(of_untrained[0]), tissue),
            similarity(values, np.asarray(of_label[0]), tissue),
            float(points_into(np.asarray(of_untrained[0]), mask)),
        )
        row = {"method": name, "why": "", **dict(zip(FIGURES, figures, strict=True))}
        made.append(Found(row=row, picture=example_picture(np.asarray(score.hu[0]), mask, values)))
    return made


def at_random(run: ich.TrainedModel) -> Mapping[str, Any]:
    """Variables of the run's model before any training, with another seed than its own."""
    assert isinstance(run.run, Run), "an ensemble has no parameters of its own"
    config = replace(run.run.config, seed=run.run.config.seed + 1)
    return {"params": initial_state(run.run.objective, config, run.run.prepare.size).params}


@partial(jax.jit, static_argnames="name")
def map_of(score: ExplainedScore, name: str) -> Array:
    """The map of a method or a control on the grid of the scan."""
    explain = CONTROLS[name] if name in CONTROLS else find_method(name).explain
    return upsample(explain(score).maps, (score.hu.shape[2], score.hu.shape[3]))


@partial(jax.jit, static_argnames="steps")
def faithfulness(score: ExplainedScore, maps: Array, healthy_hu: Array, *, steps: int) -> tuple[Array, ...]:
    """What the model says of a map: one program for all methods."""
    fillings = from_scan(apply_windows(healthy_hu, score.objective.windows, jnp)), from_neighbours()
    gains = [flipping_curves(score, maps, fill, steps=steps).symmetric_relevance_gain for fill in fillings]
    return *gains, infidelity(score, maps)


def report(table: pd.DataFrame, folder: Path, page: Path) -> None:
    """Prints means over the phantoms that were found, with intervals, and writes the page."""
    pictures = {}
    for row in table.to_dict("records"):
        key = str(row["model"]), int(row["phantom"]), str(row["method"])
        if (folder / picture_name(*key)).exists():
            pictures[key] = (folder / picture_name(*key)).read_bytes()
    html = render_methods_page(table, pictures, controls=[*CONTROLS], title="Which explanation deserves belief")
    page.write_text(html, encoding="utf-8")
    for model in compare_maps(table, controls=[*CONTROLS]):
        left_out = sum(model.left_out.values())
        print(f"{model.model}: {model.scans} phantoms, of which {model.scans - left_out} were found and compared")
        rows = [
            {"method": found.method, **{name: said(cell) for name, cell in found.cells.items()}}
            for found in model.methods
        ]
        print(pd.DataFrame(rows).to_string(index=False))
    print(f"a star: better than both controls; {page}")


def said(cell: MapCell) -> str:
    """A mean, its interval over phantoms, and a star where it is better than those of both controls."""
    return figure(cell.estimate, digits=2) + "*" * cell.beats_controls


if __name__ == "__main__":
    main()
