"""What a run knows about itself, in words for the page and the cards."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

from ichformer import LABELS
from ichformer.evaluation.cards import Facts
from ichformer.objectives.classification import LABEL_WEIGHTS
from ichformer.pipeline.records import Store
from ichformer.training.run import Run, seen_scans


def run_facts(run: Run, store: Store, split: str) -> Facts:
    """The facts of a run that is judged on a split of a store."""
    config, parameters = run.config, sum(leaf.size for leaf in jax.tree.leaves(run.params))
    judged = store.index[store.index["split"] == split]
    origins = ", ".join(sorted(set(judged["origin"])))
    sites = sorted(set(judged["site"]) - {""})
    seen = seen_scans(run.path)
    trained = "" if seen is None else f"trained on {len(seen)} series of {_patients(seen)} patients; "
    given = {k: v for k, v in run.facts.get("versions", {}).items() if v}
    start = (
        f"parameters of the run {Path(config.init_from).name}" if config.init_from else f"random, seed {config.seed}"
    )
    return Facts(
        name=config.model.name,
        model=f"{config.model.name}, {parameters:,} parameters",
        preprocessing=f"prepared with {_said(store.config)}; {config.objective.channels}",
        data=f"judged on scans of {origins}" + (f", sites {', '.join(sites)}" if sites else ""),
        partitions=f"{trained}judged on {len(judged)} series of {_patients(judged)} patients (split {split})",
        disjoint=(
            ""
            if seen is None
            else "training and judged scans share no patient, study, series or pixels, which was checked"
        ),
        training=(
            f"{run.step} of {config.steps} steps, {config.data.batch_size} scans a step, {config.optim.name}, learning "
            f"rate {config.optim.learning_rate:g}, weight decay {config.optim.weight_decay:g}; "
            f"augmentation {_said(vars(config.data.augmentation))}"
        ),
        initialisation=start,
        selection=(
            "the last parameters"
            if config.ema_decay == 0
            else f"averaged parameters (decay {config.ema_decay:g}), last step"
        ),
        imbalance=(
            "no scan was drawn more often than others; weights of the labels in the loss as in RSNA 2019: "
            + ", ".join(f"{label} {weight:g}" for label, weight in zip(LABELS, LABEL_WEIGHTS, strict=True))
        ),
        software=_said(given),
        hardware=_hardware(run.facts.get("hardware", {})),
        code=f"commit {run.facts['commit']}" if run.facts.get("commit") else "",
    )


def _patients(index: Any) -> int:
    return len(index[["origin", "patient"]].drop_duplicates())


def _said(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


def _hardware(found: Mapping[str, Any]) -> str:
    devices = found.get("devices", [])
    kinds = ", ".join(f"{devices.count(kind)} x {kind}" for kind in sorted(set(devices)))
    return f"trained on {kinds}" if kinds else ""
