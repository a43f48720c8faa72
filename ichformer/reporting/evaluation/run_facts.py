"""What is known about a run, in words for the page and the cards."""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import jax

from ichformer.cohorts.patients import count_patients, same_nobody
from ichformer.ct.geometry.missing import Missing
from ichformer.inference.ensembles import EnsembleRun
from ichformer.inference.trained import Trained
from ichformer.pipeline.store.records import Store
from ichformer.reporting.evaluation.cards import Facts
from ichformer.training.runs.outputs import describe_outputs
from ichformer.training.runs.run import Run, seen_scans

_MISSING: dict[Missing, str] = {
    "keep": "missing slices stay gaps, which a scan's audit notes",
    "refuse": "scans that lack slices were left out",
    "interpolate": "missing slices were interpolated between their neighbours, which a scan's audit notes",
}


def run_facts(run: Trained, store: Store, split: str) -> Facts:
    """The facts of a run, or of an ensemble and its members, that is evaluated on a split of a store."""
    parameters = sum(leaf.size for leaf in jax.tree.leaves(run.params))
    evaluated = store.index[store.index["split"] == split]
    origins = _some(set(evaluated["origin"]))
    sites = _some(set(evaluated["site"]) - {""})
    seen = seen_scans(run.path)
    trained = "" if seen is None else f"trained on {len(seen)} series of {count_patients(seen).n_patients} patients; "
    patients = count_patients(evaluated)
    return Facts(
        name=run.name,
        model=f"{run.name}, {parameters:,} parameters",
        preprocessing=f"prepared with {_said(store.config)}; {_of_each(run, lambda m: m.config.objective.channels)}",
        data=f"evaluated on scans of {origins}" + (f", sites {sites}" if sites else ""),
        partitions=f"{trained}evaluated on {len(evaluated)} series of {patients.n_patients} patients (split {split})",
        patients=f"evaluated scans: {patients.known_from()}",
        disjoint="" if seen is None else same_nobody(seen, evaluated),
        training=_of_each(run, _training),
        initialisation=_of_each(run, _initialisation),
        # An ensemble may hold any of a run's checkpoints, or their mean.
        selection=_selection(run) if isinstance(run, Run) else "",
        ensemble="none (it is one model)" if isinstance(run, Run) else _ensemble(run),
        missing=_MISSING[run.prepare.missing],
        imbalance=(
            _of_each(run, _drawn)
            + "; weights of the labels in the loss"
            + " as in RSNA 2019" * run.objective.label_set.has_subtypes
            + ": "
            + ", ".join(
                f"{label} {weight:g}"
                for label, weight in zip(run.objective.label_set.columns, run.objective.weights, strict=True)
            )
        ),
        software=_of_each(run, lambda m: _said({k: v for k, v in m.facts.get("versions", {}).items() if v})),
        hardware=_of_each(run, lambda m: _hardware(m.facts.get("hardware", {}))),
        code=_of_each(run, lambda m: f"commit {m.facts['commit']}" if m.facts.get("commit") else ""),
    )


def _some(names: Collection[str]) -> str:
    """A list of names, cut after the first twenty."""
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    return ", ".join(sorted(names)[:20]) + more


def _of_each(run: Trained, said: Callable[[Run], str]) -> str:
    """The text about each member, once where it is the same for all."""
    return "; ".join(dict.fromkeys(filter(None, map(said, run.members))))


def _training(run: Run) -> str:
    config = run.config
    share = f"{100 * config.data.fraction:g} % of the training patients (draw {config.data.draw}); "
    return (
        share
        * (config.data.fraction < 1)
        + f"{run.step} of {config.steps} steps, {config.data.batch_size} scans a step, {config.optim.name}, learning "
        f"rate {config.optim.learning_rate:g}, weight decay {config.optim.weight_decay:g}; "
        f"augmentation {_said(vars(config.data.augmentation))}; "
        f"trained outputs {describe_outputs(run.trained_outputs)}"
    )


def _drawn(run: Run) -> str:
    data = run.config.data
    if not data.weights:
        return "no scan was drawn more often than others"
    return f"scans of {len(data.weights)} stores were drawn {' to '.join(f'{weight:g}' for weight in data.weights)}"


def _initialisation(run: Run) -> str:
    config, weights = run.config, run.facts.get("pretrained", {})
    if config.init_from:
        return f"parameters of the run {Path(config.init_from).name}"
    if config.model.pretrained:
        digest = f", SHA-256 {weights['sha256']}" if "sha256" in weights else ""
        return f"weights {weights.get('file', Path(config.model.pretrained).name)}{digest}, the rest random"
    return f"random, seed {config.seed}"


def _selection(run: Run) -> str:
    config = run.config
    kept = f"averaged parameters (decay {config.ema_decay:g})" if config.ema_decay else "parameters"
    smallest = f', the smallest loss on the split "val", which was evaluated every {config.evaluate_every} steps'
    return f"{kept} of step {run.step}{smallest if config.evaluate_every else ''}"


def _ensemble(run: EnsembleRun) -> str:
    views = f", each scan seen as {', '.join(run.views)}" if len(run.views) > 1 else ""
    weights = ", ".join(f"{weight:.3g}" for weight in run.weights)
    return f"logits of {len(run.members)} models added with the weights {weights}{views}"


def _said(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


def _hardware(found: Mapping[str, Any]) -> str:
    devices = found.get("devices", [])
    kinds = ", ".join(f"{devices.count(kind)} x {kind}" for kind in sorted(set(devices)))
    return f"trained on {kinds}" if kinds else ""
