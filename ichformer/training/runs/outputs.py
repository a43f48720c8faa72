"""Which outputs of a model its training reached: a head that never had a gradient gives numbers that mean nothing."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import msgspec
from jax.extend import core

from ichformer.errors import InputError
from ichformer.files.json_files import Label, convert
from ichformer.labels import SIX, LabelSet
from ichformer.objectives.classification import Classification
from ichformer.training.runs.label_set import read_label_set

OutputLevel = Literal["slice", "scan"]

TRAINED_NAME = "trained_outputs"
"""The field of a run's ``run.json``; None in it, or no such field, is "unknown"."""

_NO_SLICES = (
    "This model learned from labels of whole scans only. Its slice scores were never trained, mean nothing and are not "
    "given."
)
_SLICES = "Its slice scores were never trained for {0} and are not given: no slices with and without {1} were known."
_SCANS = "The model was never trained for {0}: no scans with and without {1} were known in its training."
_TARGETS = "The model was never trained to estimate {0} of {1}s: no two different values were known in its training."


class RecordedOutputs(msgspec.Struct):
    """``TrainedOutputs`` as ``run.json`` holds them."""

    slice: tuple[Label, ...]
    scan: tuple[Label, ...]
    lesion: tuple[Label, ...] = ()


@dataclass(frozen=True, kw_only=True)
class TrainedOutputs:
    """The labels and targets whose output had a gradient in training, by level, in the order of the label set.

    ``lesion`` are the labels whose lesion maps were trained, none for a model without a lesion head.
    """

    slice: tuple[str, ...]
    scan: tuple[str, ...]
    lesion: tuple[str, ...] = ()
    label_set: LabelSet = SIX

    def __or__(self, other: "TrainedOutputs") -> "TrainedOutputs":
        """The labels that either was trained for; lesion maps are those of this one."""
        return _ordered({*self.slice, *other.slice}, {*self.scan, *other.scan}, self.lesion, self.label_set)

    def missing(self, level: OutputLevel) -> tuple[str, ...]:
        """The labels and targets whose output was never trained."""
        return tuple(name for name in self.label_set.columns if name not in getattr(self, level))

    def reason(self, level: OutputLevel) -> str:
        """Why some scores of a level are not given, in words; "" where all are."""
        missing = self.missing(level)
        targets = tuple(name for name in missing if name in self.label_set.targets)
        if level == "slice" and missing == self.label_set.columns:
            return _NO_SLICES
        labels = missing[: len(missing) - len(targets)]
        said = [(_SLICES if level == "slice" else _SCANS).format(_listed(labels), "them" if labels[1:] else "it")]
        return " ".join([*said * bool(labels), *[_TARGETS.format(_listed(targets), level)] * bool(targets)])

    def to_json(self) -> dict[str, list[str]]:
        """Plain values for ``run.json``."""
        lesion = {"lesion": list(self.lesion)} if self.lesion else {}
        return {"slice": list(self.slice), "scan": list(self.scan), **lesion}


def describe_outputs(outputs: TrainedOutputs | None) -> str:
    """What a run was trained for, in words."""
    if outputs is None:
        return "unknown: the run was trained before ichformer recorded it"
    columns = outputs.label_set.columns
    given = {"scan": outputs.scan, "slice": outputs.slice, "lesion": outputs.lesion}
    said = {
        level: "all labels" if len(one) == len(columns) else ", ".join(one) or "none" for level, one in given.items()
    }
    maps = f"; maps of lesions: {said['lesion']}" if outputs.lesion else ""
    return f"of scans: {said['scan']}; of slices: {said['slice']}{maps}"


def read_trained(facts: dict[str, Any], *, where: object) -> TrainedOutputs | None:
    """What ``run.json`` says; None where it says nothing. InputError where it makes no sense."""
    values, label_set = facts.get(TRAINED_NAME), read_label_set(facts, where=where)
    if values is None:
        return None
    where, fix = f"{where}, {TRAINED_NAME}", "restore it, or train again"
    found = convert(values, RecordedOutputs, where=where, fix=fix)
    if unknown := {*found.slice, *found.scan, *found.lesion} - {*label_set.columns}:
        raise InputError(f"does not hold what it should ({min(unknown)} is not in the label set)", where=where, fix=fix)
    return _ordered(found.slice, found.scan, found.lesion, label_set)


def outputs_of_all(found: Sequence[TrainedOutputs | None]) -> TrainedOutputs | None:
    """What every member of an ensemble was trained for; None where that is unknown of the members that decide it."""
    known = [one for one in found if one is not None]
    if not known:
        return None
    label_set = known[0].label_set
    common = _ordered(
        set(label_set.columns).intersection(*(one.slice for one in known)),
        set(label_set.columns).intersection(*(one.scan for one in known)),
        set(label_set.columns).intersection(*(one.lesion for one in known)),
        label_set,
    )
    # A mean with an untrained member in it means nothing, whatever the others are.
    return common if len(known) == len(found) or common.missing("slice") or common.missing("scan") else None


def trained_outputs(
    objective: Classification,
    params: Any,
    *,
    slice_labels: Collection[str],
    scan_labels: Collection[str],
    lesion_labels: Collection[str] = (),
    size: int,
) -> TrainedOutputs:
    """The outputs that a training reaches.

    A label's output is trained where it has a loss at the same level. Where the scan's logits are made of the slices'
    (pooling by maximum), a loss at either level trains both outputs; where each has parameters of its own (pooling by
    attention), it trains its own alone. Which of the two holds is read from the traced computation
    (``own_parameters``). A target is trained by a loss at its own level alone: values of slices and of scans are not on
    one scale.

    Args:
      objective: what is optimised.
      params: its parameters or their shapes.
      slice_labels: the labels that have a loss in slices.
      scan_labels: the labels that have a loss in scans.
      lesion_labels: the labels that have a loss of lesions.
      size: rows and columns of a slice.
    """
    scan_labels = scan_labels if objective.scan_weight > 0 else ()
    own_of_slices, own_of_scans = own_parameters(objective, params, size=size)
    names = set(objective.label_set.names)
    return _ordered(
        {*slice_labels, *(() if own_of_slices else names.intersection(scan_labels))},
        {*scan_labels, *(() if own_of_scans else names.intersection(slice_labels))},
        lesion_labels,
        objective.label_set,
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


def _ordered(
    slices: Collection[str], scans: Collection[str], lesions: Collection[str], label_set: LabelSet
) -> TrainedOutputs:
    """Trained outputs in the order of the label set."""
    of_slices, of_scans, of_lesions = (
        tuple(name for name in label_set.columns if name in found) for found in (slices, scans, lesions)
    )
    return TrainedOutputs(slice=of_slices, scan=of_scans, lesion=of_lesions, label_set=label_set)


def _listed(names: Sequence[str]) -> str:
    """ "a, b or c"."""
    *first, last = names or ("",)
    return f"{', '.join(first)} or {last}" if first else last
