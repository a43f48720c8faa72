"""Parameters filled from a file of weights that another library trained."""

import os
from pathlib import Path

from ichformer.errors import InputError
from ichformer.models.weights.files import read_tensors
from ichformer.models.weights.fit import Inflation, Report, fit_tree
from ichformer.models.weights.layouts import recognise
from ichformer.models.weights.source import Tree

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
      InputError: a file that cannot be read, of no known layout, or of another architecture or size.
    """
    path = Path(source)
    found = recognise(read_tensors(path), where=path)
    tree = found.layout.convert(found.source)
    merged, report = fit_tree(params, tree, left=found.left, inflation=inflation)
    if report.numbers < _LEAST * report.total:
        name, why = next(iter(report.misfits.items()), ("most of the model", "nothing"))
        raise InputError(
            f"is of another architecture or size than this model: {found.layout.name} fills "
            f"{report.numbers:,} of {report.total:,} numbers; {name} has {why}",
            where=path,
            mend="choose the model that these weights were trained in",
        )
    return merged, report, found.layout.name
