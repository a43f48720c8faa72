"""Parameters of one label set made to fit another: the outputs of labels of the same name are kept."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from flax import traverse_util

from ichformer.labels import LabelSet
from ichformer.training.build import build_objective
from ichformer.training.config import TrainConfig
from ichformer.training.runs.run import initial_state

Path = tuple[str, ...]


def label_axes(config: TrainConfig, label_set: LabelSet, size: int) -> dict[Path, int]:
    """The parameters of a classifier that have an axis of labels, and which axis that is.

    They are those whose shape depends on the number of labels, so it holds for every model, whatever its layers are
    called.

    Args:
      config: of the classifier's training.
      label_set: its label set.
      size: rows and columns of a slice.
    """
    columns = label_set.columns
    other = columns[:-1] or ("second" if columns[0] == "first" else "first", columns[0])
    shapes = [_shapes(config, one, size) for one in (label_set, LabelSet(names=other))]
    found = {}
    for path, shape in shapes[0].items():
        if differing := [
            axis for axis, pair in enumerate(zip(shape, shapes[1][path], strict=True)) if len({*pair}) > 1
        ]:
            found[path] = differing[0]
    return found


def keep_labels(params: Any, found: Any, axes: Mapping[Path, int], before: LabelSet, after: LabelSet) -> Any:
    """``found`` with the outputs of ``after``: those that ``before`` has by the same name, the others as in ``params``.

    Args:
      params: parameters of a model for ``after``.
      found: parameters of a model for ``before``.
      axes: ``label_axes`` of ``found``.
      before: the label set that ``found`` was trained for.
      after: the label set of ``params``.
    """
    if before == after:
        return found
    theirs, ours = (dict(traverse_util.flatten_dict(jax.device_get(tree))) for tree in (found, params))
    pairs = [(after.columns.index(name), before.columns.index(name)) for name in kept_labels(before, after)]
    for path, axis in axes.items():
        if path not in ours or ours[path].ndim != theirs[path].ndim:
            continue
        outputs = np.moveaxis(np.array(ours[path]), axis, 0)
        source = np.moveaxis(np.asarray(theirs[path]), axis, 0)
        if outputs.shape[1:] != source.shape[1:]:
            continue
        for to, of in pairs:
            outputs[to] = source[of]
        theirs[path] = np.moveaxis(outputs, 0, axis)
    return traverse_util.unflatten_dict(theirs)


def kept_labels(before: LabelSet, after: LabelSet) -> tuple[str, ...]:
    """The labels and the targets that both sets have."""
    return tuple(
        name
        for theirs, ours in ((before.names, after.names), (before.targets, after.targets))
        for name in ours
        if name in theirs
    )


def _shapes(config: TrainConfig, label_set: LabelSet, size: int) -> dict[Path, tuple[int, ...]]:
    objective = build_objective(config, label_set)
    params = jax.eval_shape(lambda: initial_state(objective, config, size)).params
    return {path: leaf.shape for path, leaf in traverse_util.flatten_dict(params).items()}
