"""Which outputs of a model its training reached: a head that never had a gradient gives numbers that mean nothing."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax.extend import core

from ichformer import LABELS
from ichformer.files.json_files import Label, convert
from ichformer.objectives.classification import Classification

OutputLevel = Literal["slice", "scan"]

TRAINED_NAME = "trained_outputs"
"""The field of a run's ``run.json``; None in it, or no such field, is "unknown"."""

_NO_SLICES = (
    "This model learned from labels of whole scans only. Its slice scores were never trained, mean nothing and are not "
    "given."
)
_SLICES = "Its slice scores were never trained for {0} and are not given: no slices with and without {1} were known."
_SCANS = "The model was never trained for {0}: no scans with and without {1} were known in its training."


@dataclass(frozen=True, kw_only=True)
class TrainedOutputs:
    """The labels whose output had a gradient in training, by level, in the order of ``LABELS``."""

    slice: tuple[Label, ...]
    scan: tuple[Label, ...]

    def __or__(self, other: "TrainedOutputs") -> "TrainedOutputs":
        """The labels that either was trained for."""
        return TrainedOutputs(slice=_in_order({*self.slice, *other.slice}), scan=_in_order({*self.scan, *other.scan}))

    def missing(self, level: OutputLevel) -> tuple[str, ...]:
        """The labels whose output was never trained."""
        return tuple(label for label in LABELS if label not in getattr(self, level))

    def reason(self, level: OutputLevel) -> str:
        """Why some scores of a level are not given, in words; "" where all are."""
        missing = self.missing(level)
        if not missing:
            return ""
        if level == "slice" and len(missing) == len(LABELS):
            return _NO_SLICES
        *first, last = missing
        named = f"{', '.join(first)} or {last}" if first else last
        return (_SLICES if level == "slice" else _SCANS).format(named, "them" if first else "it")

    def to_json(self) -> dict[str, list[str]]:
        """Plain values for ``run.json``."""
        return {"slice": list(self.slice), "scan": list(self.scan)}


def describe_outputs(outputs: TrainedOutputs | None) -> str:
    """What a run was trained for, in words."""
    if outputs is None:
        return "unknown: the run was trained before ichformer recorded it"
    given = {level: [label for label in LABELS if label not in outputs.missing(level)] for level in ("scan", "slice")}
    said = {
        level: "all labels" if len(one) == len(LABELS) else ", ".join(one) or "none" for level, one in given.items()
    }
    return f"of scans: {said['scan']}; of slices: {said['slice']}"


def read_trained(facts: dict[str, Any], *, where: object) -> TrainedOutputs | None:
    """What ``run.json`` says; None where it says nothing. InputError where it makes no sense."""
    values = facts.get(TRAINED_NAME)
    if values is None:
        return None
    found = convert(values, TrainedOutputs, where=f"{where}, {TRAINED_NAME}", mend="restore it, or train again")
    return TrainedOutputs(slice=_in_order(set(found.slice)), scan=_in_order(set(found.scan)))


def outputs_of_all(found: Sequence[TrainedOutputs | None]) -> TrainedOutputs | None:
    """What every member of an ensemble was trained for; None where that is unknown of the members that decide it."""
    known = [one for one in found if one is not None]
    common = TrainedOutputs(
        slice=_in_order(set(LABELS).intersection(*(one.slice for one in known))),
        scan=_in_order(set(LABELS).intersection(*(one.scan for one in known))),
    )
    # A mean with an untrained member in it means nothing, whatever the others are.
    return common if len(known) == len(found) or common.missing("slice") or common.missing("scan") else None


def trained_outputs(
    objective: Classification, params: Any, *, slice_labels: Collection[str], scan_labels: Collection[str], size: int
) -> TrainedOutputs:
    """The outputs that a training reaches.

    A label's output is trained where it has a loss at the same level. Where the scan's logits are made of the slices'
    (pooling by maximum), a loss at either level trains both outputs; where each has parameters of its own (pooling by
    attention), it trains its own alone. Which of the two holds is read from the traced computation
    (``own_parameters``).

    Args:
      objective: what is optimised.
      params: its parameters or their shapes.
      slice_labels: the labels that have a loss in slices.
      scan_labels: the labels that have a loss in scans.
      size: rows and columns of a slice.
    """
    scan_labels = scan_labels if objective.scan_weight > 0 else ()
    own_of_slices, own_of_scans = own_parameters(objective, params, size=size)
    return TrainedOutputs(
        slice=_in_order({*slice_labels, *(() if own_of_slices else scan_labels)}),
        scan=_in_order({*scan_labels, *(() if own_of_scans else slice_labels)}),
    )


def own_parameters(objective: Classification, params: Any, *, size: int) -> tuple[set[str], set[str]]:
    """Parameters on which the logits of slices depend and those of scans do not, and the other way round.

    A loss of one level has no gradient in the other level's own parameters. The dependence is that of the traced
    computation, so it holds for every model of the contract, whatever its layers are called.
    """

    def logits(params: Any, hu: Any, slice_mask: Any, spacing_mm: Any) -> tuple[jax.Array, jax.Array]:
        x = objective.inputs(hu, slice_mask)
        found = objective.model.apply({"params": params}, x, slice_mask, spacing_mm, False)
        return found.slice_logits, found.scan_logits

    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), params)
    closed = jax.make_jaxpr(logits)(
        shapes,
        jax.ShapeDtypeStruct((1, 1, size, size), jnp.int16),
        jax.ShapeDtypeStruct((1, 1), jnp.bool_),
        jax.ShapeDtypeStruct((1, 3), jnp.float32),
    )
    names = parameter_names(params)
    of_slices, of_scans = (_inputs_of(closed.jaxpr, output) for output in (0, 1))
    used_by_slices, used_by_scans = (
        {name for name, variable in zip(names, closed.jaxpr.invars, strict=False) if variable in used}
        for used in (of_slices, of_scans)
    )
    return used_by_slices - used_by_scans, used_by_scans - used_by_slices


def parameter_names(params: Any) -> list[str]:
    """Of each array, in the order of ``jax.tree.leaves``: ``head/slice_logits/kernel``."""
    return ["/".join(str(key.key) for key in path) for path, _ in jax.tree_util.tree_leaves_with_path(params)]


def _inputs_of(jaxpr: core.Jaxpr, output: int) -> set[core.Var]:
    """All variables that an output depends on; an operation's results depend on all of its arguments."""
    used = {variable for variable in jaxpr.outvars[output : output + 1] if not isinstance(variable, core.Literal)}
    for operation in reversed(jaxpr.eqns):
        if not used.isdisjoint(operation.outvars):
            used |= {variable for variable in operation.invars if not isinstance(variable, core.Literal)}
    return used


def _in_order(labels: Collection[str]) -> tuple[str, ...]:
    return tuple(label for label in LABELS if label in labels)
