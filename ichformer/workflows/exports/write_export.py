"""A run written in one of the forms in which it is passed on, whole or not at all."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from ichformer.errors import InputError
from ichformer.files.bundles import bundle_bytes
from ichformer.files.sets import write_set
from ichformer.files.writing import write_bytes
from ichformer.inference.compiled.onnx import onnx_files
from ichformer.inference.compiled.stablehlo import stablehlo_files
from ichformer.inference.trained import Trained
from ichformer.pipeline.store.records import Store
from ichformer.settings import check_ranges
from ichformer.training.runs.portable import StoredType
from ichformer.training.runs.pretrained_run import PretrainedRun
from ichformer.workflows.exports.export_run import check_new, export_pretraining, export_run

Compiled = Literal["stablehlo", "onnx"]

_FILES = {"stablehlo": stablehlo_files, "onnx": onnx_files}


def export_folder(
    run: Trained | PretrainedRun,
    out: Path,
    *,
    as_bundle: bool,
    store: Store | None = None,
    dtype: StoredType = "float16",
    check: Callable[[Path], None] = lambda _: None,
) -> None:
    """Writes a run as a folder, or as a bundle, which is that folder in one file.

    Args:
      run: an opened run or pretraining.
      out: the new folder or file.
      as_bundle: whether it becomes one file.
      store: as for ``export_run``; a pretraining has no use for it.
      dtype: of the stored parameters.
      check: is called with the finished folder before it gets its place, and raises where it is not to be passed on.

    Raises:
      InputError: as ``export_run``, and what ``check`` raises.
    """
    _check_place(out, as_bundle)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".ichformer-") as place:
        folder = Path(place) / "run"
        if isinstance(run, PretrainedRun):
            export_pretraining(run, folder, dtype=dtype)
        else:
            export_run(run, folder, store=store, dtype=dtype)
        check(folder)
        if as_bundle:
            files = {file.name: file.read_bytes() for file in folder.iterdir() if not file.name.startswith(".")}
            write_bytes(bundle_bytes(files), out)
        else:
            folder.rename(out)


def export_compiled(run: Trained, out: Path, *, form: Compiled, slices: int = 64) -> None:
    """Writes what a run computes, with its parameters inside, into a new folder, and a JSON that describes it.

    Args:
      run: an opened run or ensemble.
      out: the new folder.
      form: for JAX alone ("stablehlo") or for ONNX Runtime ("onnx").
      slices: of a scan, where their number is fixed.

    Raises:
      InputError: the folder holds something, ``slices`` is below 1, or see ``stablehlo_files`` and ``onnx_files``.
    """
    check_ranges("--", ("slices", slices, slices >= 1, "1 or more"))
    check_new(out)
    write_set(_FILES[form](run, slices=slices), out, what="export")


def _check_place(out: Path, as_bundle: bool) -> None:
    if not as_bundle:
        check_new(out)
    elif out.exists():
        raise InputError("is there already", where=out, fix="name a new file")
