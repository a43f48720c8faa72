"""Fills parameters from a file of weights that another library trained."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from flax import traverse_util

from ichformer.errors import InputError, one_line
from ichformer.models.weights.files import read_tensors
from ichformer.models.weights.fit import Inflation, Report, fit_tree
from ichformer.models.weights.layouts.registry import recognise
from ichformer.models.weights.source import Tree
from ichformer.models.weights.torch_files import DAMAGE

_LEAST = 0.5
"""Part of an encoder that has to fit: below, it is of another architecture or size, and a start from it is none."""


def load_weights(params: Tree, source: str | os.PathLike, *, inflation: Inflation = "mean") -> tuple[Tree, Report, str]:
    """``params`` with the weights of a file, changed where channels, depth or size of the input differ.

    Args:
      params: of the whole model, as ``model.init(...)["params"]``; not changed.
      source: a file that ``weights.files.read_tensors`` takes.
      inflation: how 2-D kernels become 3-D ones, see ``weights.fit``.

    Returns:
      The new parameters, what became of the weights (``print`` it), and the name of the layout that was found.

    Raises:
      InputError: a file that cannot be read, of no known layout, or of another architecture or size; tensors whose
        shapes do not go together, or that hold infinite numbers or none.
    """
    path = Path(source)
    found = recognise(read_tensors(path), where=path)
    with _of_one_network(found.layout.name, path):
        tree = found.layout.convert(found.source)
        _check_finite(tree, path)
        merged, report = fit_tree(params, tree, left=found.left, inflation=inflation)
    if report.numbers < _LEAST * report.total:
        name, why = next(iter(report.misfits.items()), ("most of the model", "nothing"))
        raise InputError(
            f"is of another architecture or size than this model: {found.layout.name} fills "
            f"{report.numbers:,} of {report.total:,} numbers; {name} has {why}",
            where=path,
            fix="choose the model that these weights were trained in",
        )
    return merged, report, found.layout.name


@contextlib.contextmanager
def _of_one_network(layout: str, path: Path) -> Iterator[None]:
    """Inside, tensors that have the names of a layout but not its shapes are an InputError."""
    try:
        with np.errstate(all="ignore"):
            yield
    except DAMAGE as error:
        reason = f"{type(error).__name__}: {one_line(error)}"
        raise InputError(
            f"has the names of {layout}, but its tensors do not go together ({reason})",
            where=path,
            fix="fetch it again, or take other weights",
        ) from None


def _check_finite(tree: Tree, path: Path) -> None:
    for name, value in traverse_util.flatten_dict(tree, sep="/").items():
        if not np.isfinite(value).all():
            raise InputError(
                f"has infinite numbers, or none, where {name} would come from",
                where=path,
                fix="fetch it again, or take other weights",
            )
