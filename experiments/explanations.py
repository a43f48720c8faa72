"""Which explanation deserves belief: methods beside two controls, on phantoms whose blood is known voxel by voxel.

Every phantom is made twice from one seed, with its bleed and without. While voxels are taken out in the order of a map,
what stands in their place is the healthy tissue of the same head, so every scan on the way is one that could be.

Claim: none yet; figures are in experiments/RESULTS.md where they were measured.
Cost: not measured yet; some minutes a phantom on two cores.
Command: python experiments/explanations.py default --phantoms 20 --out explanations.csv
Expected: one row a method, each figure a mean over the phantoms that the model finds, with a 95 % interval over them.
Rows that the table has are not computed again. The figures: how often the highest voxel lies in the bleed, the share of
the map's sum and of its largest values there, the best overlap; the gain of pixel flipping in logits (insertion less
deletion, 0 for a random order) with healthy tissue and with means of the neighbours; infidelity, largest change under
noise of 4 HU, entropy in nats, Gini index; and the correlation with the maps of a model at random and of another label.
"""

import argparse
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jax import Array

import ichformer as ich
from ichformer import SUBTYPES
from ichformer.ct.anatomy.brain import brain_mask
from ichformer.ct.anatomy.head import SKIN_HU
from ichformer.ct.phantom.acquisition.sites import SITES
from ichformer.ct.phantom.make import make_phantom
from ichformer.ct.windows import apply_windows
from ichformer.explanations.controls import edges, random_map
from ichformer.explanations.display import upsample
from ichformer.explanations.faithfulness.concentration import complexity, sparseness
from ichformer.explanations.faithfulness.fillings import from_neighbours, from_scan
from ichformer.explanations.faithfulness.flipping import flipping_curves
from ichformer.explanations.faithfulness.infidelity import infidelity
from ichformer.explanations.faithfulness.localisation import best_iou, mass_accuracy, rank_accuracy
from ichformer.explanations.faithfulness.stability import max_sensitivity, similarity
from ichformer.explanations.registry import EXPLANATIONS
from ichformer.explanations.score import ExplainedScore
from ichformer.inference.scoring import batch_of_one
from ichformer.objectives.classification import Classification
from ichformer.pipeline.preparation.recipe import prepare_scan, prepare_volume
from ichformer.pipeline.store.records import PreparedScan
from ichformer.statistics.bootstrap import bootstrap, mean_statistic
from ichformer.statistics.intervals import bca
from ichformer.training.process import own_process
from ichformer.training.runs.run import Run, initial_state

CONTROLS = {"random": random_map, "edges": edges}
METHODS = ("hires_cam", "grad_cam", "layer_cam", "input_x_gradient", "integrated_gradients", "lesions")
FIGURES = (
    "peak in bleed",
    "mass in bleed",
    "rank accuracy",
    "best IoU",
    "gain",
    "gain, neighbours",
    "infidelity",
    "sensitivity",
    "entropy",
    "Gini",
    "as random model",
    "as other label",
)
NOISE_SAMPLES = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--phantoms", type=int, default=20)
    parser.add_argument("--seed", type=int, default=900, help="of the first phantom")
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--steps", type=int, default=10, help="of pixel flipping")
    parser.add_argument("--out", type=Path, required=True, help="the table of all phantoms, to which rows are added")
    options = parser.parse_args()
    own_process()
    run = ich.open_run(options.run)
    for seed in range(options.seed, options.seed + options.phantoms):
        done = pd.read_csv(options.out) if options.out.exists() else pd.DataFrame(columns=["phantom", "method"])
        have = set(done.loc[done["phantom"] == seed, "method"])
        wanted = [name for name in (*CONTROLS, *options.methods) if name not in have]
        if wanted:
            # All columns, also where the first rows have no figures: later ones go below the same header.
            rows = pd.DataFrame(
                of_phantom(run, seed, wanted, options.steps), columns=["phantom", "method", "why", *FIGURES]
            )
            rows.to_csv(options.out, index=False, mode="a", header=not options.out.exists())
    report(pd.read_csv(options.out))


def of_phantom(run: ich.TrainedModel, seed: int, methods: list[str], steps: int) -> list[dict[str, object]]:
    """The rows of a phantom with one bleed, without figures where the model does not find it."""
    site = list(SITES.values())[seed % len(SITES)]
    bleeding = make_phantom(seed, site=site, subtypes=(SUBTYPES[seed % len(SUBTYPES)],))
    brain, prepare = brain_mask(bleeding.volume), run.run.prepare
    unknown = np.full((len(bleeding.mask) + 1, len(run.labels)), np.nan, np.float32)
    scan = PreparedScan(volume=bleeding.volume, mask=bleeding.mask, slice_labels=unknown[1:], scan_labels=unknown[0])
    scan = prepare_scan(scan, prepare, brain)
    healthy = prepare_volume(make_phantom(seed, site=site).volume, prepare, brain)
    objective = run.run.objective
    assert scan.mask is not None
    if not np.allclose(scan.volume.affine, healthy.affine) or not (scan.mask > 0).any():
        return [{"phantom": seed, "method": name, "why": "the twin lies on another grid"} for name in methods]
    found = run.predict(bleeding.volume)
    if found.not_scored or found.scan_scores["any"] < found.thresholds["any"]:
        return [{"phantom": seed, "method": name, "why": "not found"} for name in methods]
    hu, slice_mask, spacing_mm = batch_of_one(scan.volume)
    mask = np.zeros(hu.shape[1:], bool)
    mask[: len(scan.mask)] = scan.mask > 0
    columns = objective.label_set.columns
    one_hot = jax.nn.one_hot(jnp.asarray([columns.index("any"), columns.index("intraventricular")]), len(columns))
    scans, healthy_hu = (hu, slice_mask, spacing_mm), batch_of_one(healthy)[0]
    at_start = at_random(run)
    rows: list[dict[str, object]] = []
    for name in methods:
        maps, told = jax.device_get(measured(objective, name, steps, healthy_hu, run.run.variables, *scans, one_hot[0]))
        other = map_of(objective, name, run.run.variables, *scans, one_hot[1])
        untrained = map_of(objective, name, at_start, *scans, one_hot[0])
        values, tissue = maps[0], np.asarray(hu[0] >= SKIN_HU)
        best = best_iou(values, mask)
        figures = (
            float(mask[np.unravel_index(values.argmax(), values.shape)]) if values.max() > values.min() else 0.0,
            mass_accuracy(values, mask),
            rank_accuracy(values, mask),
            None if best is None else best[0],
            *(float(figure[0]) for figure in told),
            complexity(values),
            sparseness(values),
            similarity(values, np.asarray(untrained[0]), tissue),
            similarity(values, np.asarray(other[0]), tissue),
        )
        rows.append({"phantom": seed, "method": name, "why": "", **dict(zip(FIGURES, figures, strict=True))})
    return rows


def at_random(run: ich.TrainedModel) -> Mapping[str, Any]:
    """Variables of the run's model before any training, with another seed than its own."""
    assert isinstance(run.run, Run), "an ensemble has no parameters of its own"
    config = replace(run.run.config, seed=run.run.config.seed + 1)
    return {"params": initial_state(run.run.objective, config, run.run.prepare.size).params}


def explainer(name: str) -> Callable[[ExplainedScore], Array]:
    """From a score to the maps of a method or a control on the grid of the scan."""
    explain = CONTROLS[name] if name in CONTROLS else EXPLANATIONS[name].explain
    return lambda score: upsample(explain(score).maps, (score.hu.shape[2], score.hu.shape[3]))


@partial(jax.jit, static_argnums=(0, 1))
def map_of(
    objective: Classification,
    name: str,
    variables: Mapping[str, Any],
    hu: Array,
    slice_mask: Array,
    spacing_mm: Array,
    weights: Array,
) -> Array:
    """The map of a method."""
    return explainer(name)(score_of(objective, variables, hu, slice_mask, spacing_mm, weights))


@partial(jax.jit, static_argnums=(0, 1, 2))
def measured(
    objective: Classification,
    name: str,
    steps: int,
    healthy: Array,
    variables: Mapping[str, Any],
    hu: Array,
    slice_mask: Array,
    spacing_mm: Array,
    weights: Array,
) -> tuple[Array, tuple[Array, ...]]:
    """The map of a method, and what the model says of it."""
    score = score_of(objective, variables, hu, slice_mask, spacing_mm, weights)
    maps = explainer(name)(score)
    fillings = from_scan(apply_windows(healthy, objective.windows, jnp)), from_neighbours()
    gains = [flipping_curves(score, maps, fill, steps=steps).symmetric_relevance_gain for fill in fillings]
    sensitivity = max_sensitivity(score, explainer(name), samples=NOISE_SAMPLES)
    return maps, (*gains, infidelity(score, maps), sensitivity)


def score_of(
    objective: Classification,
    variables: Mapping[str, Any],
    hu: Array,
    slice_mask: Array,
    spacing_mm: Array,
    weights: Array,
) -> ExplainedScore:
    """The logit of the scan."""
    return ExplainedScore(
        objective=objective,
        variables=variables,
        hu=hu,
        slice_mask=slice_mask,
        spacing_mm=spacing_mm,
        weights=weights,
        level="scan",
    )


def report(table: pd.DataFrame) -> None:
    """Means over the phantoms that were found, with intervals."""
    known = table[table["why"].isna()]
    print(f"{table['phantom'].nunique()} phantoms, of which {known['phantom'].nunique()} were found and compared")
    rows = []
    for name, of_method in known.groupby("method", sort=False):
        row = {"method": name}
        for figure in FIGURES:
            values = of_method[figure].dropna().to_numpy(np.float64)
            row[figure] = said(values)
        rows.append(row)
    print(pd.DataFrame(rows).to_string(index=False))


def said(values: np.ndarray) -> str:
    """A mean and its interval over phantoms, each of which is a patient."""
    statistic = mean_statistic(values, np.arange(len(values)), n_patients=len(values))
    drawn = bootstrap([statistic], n_patients=len(values), replicates=2000, seed=0, jackknife=True)
    interval = bca(float(values.mean()), drawn.replicates[:, 0], drawn.jackknife[:, 0], n_patients=len(values))
    return f"{values.mean():.2f}" + ("" if interval is None else f" ({interval.low:.2f} to {interval.high:.2f})")


if __name__ == "__main__":
    main()
