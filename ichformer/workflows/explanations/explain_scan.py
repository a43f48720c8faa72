"""``ichformer.explain``: the map of a label over a scan; and a folder with the maps of several methods."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float32

from ichformer.ct.io.display import WindowHU
from ichformer.ct.io.scans import read_volume
from ichformer.ct.volume import Volume
from ichformer.errors import InputError
from ichformer.explanations.registry import DEFAULT_METHOD, find_method
from ichformer.files.writing import check_folder
from ichformer.inference.trained import open_trained
from ichformer.reporting.explanation.folder import write_explanations
from ichformer.settings import as_names, described
from ichformer.workflows.opened.explained import explain_volume
from ichformer.workflows.opened.open_run import open_run
from ichformer.workflows.opened.trained_model import TrainedModel


def explain(
    run: TrainedModel | str | os.PathLike[str],
    volume: Volume | str | os.PathLike[str],
    label: str = "any",
    *,
    method: str = DEFAULT_METHOD,
    level: Literal["scan", "slice"] | None = None,
) -> Float32[np.ndarray, "s h w"]:
    """Draws a map of what the score of a label comes from, on the scan's own grid: ``TrainedModel.explain``.

    Example:
      >>> import ichformer as ich
      >>> volume = ich.read_volume("scan/")
      >>> heat = ich.explain("runs/first", volume, "any", method="layer_cam", level="scan")
      >>> heat.shape == volume.hu.shape
      True

    Args:
      run: a run or an ensemble, opened or its folder.
      volume: a scan as ``read_volume`` gives it, or the path of one.
      label: one of the run's labels.
      method: as for ``TrainedModel.explain``.
      level: see there.

    Returns:
      float32 [S,H,W] on the scan's own grid; see ``TrainedModel.explain``.

    Raises:
      InputError: as ``open_run``, ``read_volume`` and ``TrainedModel.explain``.
    """
    opened = run if isinstance(run, TrainedModel) else open_run(run)
    if isinstance(volume, str | os.PathLike):
        volume = read_volume(Path(volume), missing=opened.run.prepare.missing)
    return opened.explain(volume, label, method=method, level=level)


def explain_scan(
    run: Path,
    scan: Path,
    *,
    methods: Sequence[str],
    label: str,
    level: Literal["scan", "slice"] | None,
    out: Path,
    window_hu: WindowHU | None = None,
) -> dict[str, Any]:
    """Writes the maps of several methods over a scan into a folder (``reporting.explanation.folder``).

    Args:
      run: folder of a run or of an ensemble.
      scan: path of one scan.
      methods: of ``explanations.registry.EXPLANATIONS``.
      label: one of the run's labels.
      level: as for ``TrainedModel.explain``.
      out: the folder.
      window_hu: for display pictures, the HU that black and white stand for.

    Returns:
      What ``explanation.json`` holds.

    Raises:
      InputError: as ``explain``; or the folder cannot be written.
    """
    names = tuple(dict.fromkeys(as_names(methods, where="--method")))
    if not names:
        raise InputError(f"found {described(methods)}", where="--method", fix="name a method")
    for name in names:
        find_method(name)
    check_folder(out)
    opened = open_trained(run)
    volume = read_volume(scan, missing=opened.prepare.missing, window_hu=window_hu)
    maps = [explain_volume(opened, volume, label=label, method=name, level=level) for name in names]
    return write_explanations(volume, maps, out, model=opened.name)
