"""What a run computes from a prepared scan, as one function of arrays, and a description for whoever calls it."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, get_args

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from ichformer import __version__
from ichformer.inference.recipes import recipe_of
from ichformer.inference.trained import Trained
from ichformer.objectives.classification import Level
from ichformer.training.runs.contract import AXES, VALUES

Shapes = tuple[jax.ShapeDtypeStruct, jax.ShapeDtypeStruct, jax.ShapeDtypeStruct]

INPUTS = ("hu", "slice_mask", "spacing_mm")
"""The names of the inputs, in their order."""

VERSION = 1
"""Of the description's layout."""


def computation_of(run: Trained) -> Callable[[Array, Array, Array], dict[str, Array]]:
    """A function of HU [B,S,H,W], the slice mask [B,S] and the spacing [B,3], with the run's parameters inside.

    It gives what ``inference.scoring`` gives, to the bit: "scan_scores" [B,labels], "slice_scores" [B,S,labels] and,
    where the run has a lesion head, "lesion_scores" [B,S,h,w,labels].
    """
    objective = run.objective

    def compute(hu: Array, slice_mask: Array, spacing_mm: Array) -> dict[str, Array]:
        # XLA rounds otherwise where it knows the parameters beforehand.
        variables = lax.optimization_barrier(run.variables)
        x = objective.inputs(hu, slice_mask)
        prediction = objective.model.apply(variables, x, slice_mask, spacing_mm, False)
        slice_scores, scan_scores = objective.scores(prediction)
        found = {"scan_scores": scan_scores, "slice_scores": slice_scores}
        lesions = objective.lesion_scores(prediction)
        return found if lesions is None else found | {"lesion_scores": lesions}

    return compute


def input_shapes(run: Trained, scans: Any, slices: Any) -> Shapes:
    """The shapes and types of the inputs; ``scans`` and ``slices`` may be symbols of ``jax.export``."""
    size = run.prepare.size
    return (
        jax.ShapeDtypeStruct((scans, slices, size, size), jnp.int16),
        jax.ShapeDtypeStruct((scans, slices), jnp.bool_),
        jax.ShapeDtypeStruct((scans, 3), jnp.float32),
    )


def describe(run: Trained, inputs: Shapes, outputs: Mapping[str, Any]) -> dict[str, Any]:
    """Plain values for JSON: what goes in, what comes out, and how a scan has to be prepared.

    Args:
      run: the opened run.
      inputs: as ``input_shapes`` gave them.
      outputs: by name, with ``shape`` and ``dtype``.
    """
    meanings = (
        f"{VALUES}; {AXES}. Windows are applied inside",
        "whether a slice is real; slices that only fill up to the shape are False, and their HU are -1024",
        "distance of slices, rows and columns in mm",
    )
    said = {
        "scan_scores": "probability of each label for the scan, then the targets in their units",
        "slice_scores": "the same for each slice",
        "lesion_scores": "probability of a lesion of each label on a grid over each slice; NaN where not trained",
    }
    columns, levels = run.objective.label_set.columns, get_args(Level)
    trained = {level: run.objective.labels_with_loss(level) for level in levels}
    return {
        "format": "ichformer computation",
        "version": VERSION,
        "model": run.name,
        "inputs": [
            {"name": name, **_array(one), "meaning": meaning}
            for name, one, meaning in zip(INPUTS, inputs, meanings, strict=True)
        ],
        "outputs": [{"name": name, **_array(one), "meaning": said[name]} for name, one in outputs.items()],
        "labels": list(run.objective.label_set.names),
        "targets": list(run.objective.label_set.targets),
        "not_trained": {level: [name for name in columns if name not in of] for level, of in trained.items()},
        "windows_hu": [
            [window.center_hu - window.width_hu / 2, window.center_hu + window.width_hu / 2]
            for window in run.objective.windows
        ],
        "prepare": dataclasses.asdict(run.prepare),
        "recipe": recipe_of(run),
        "versions": {"ichformer": __version__, "jax": jax.__version__},
    }


def _array(one: Any) -> dict[str, Any]:
    return {"dtype": str(one.dtype), "shape": [size if isinstance(size, int) else str(size) for size in one.shape]}
