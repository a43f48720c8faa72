"""A run as ONNX: the one file that knows jax2onnx and ONNX Runtime.

The library translates the operators of JAX one by one. It cannot translate a choice by device, nor a loop over blocks,
so both are resolved before it sees the computation.
"""

import json
from typing import Any

import jax
import numpy as np
from jax.extend.core import jaxpr_as_fun

from ichformer.errors import InputError, one_line
from ichformer.inference.compiled.computation import INPUTS, Shapes, computation_of, describe, input_shapes
from ichformer.inference.compiled.stablehlo import DESCRIPTION_NAME
from ichformer.inference.trained import Trained
from ichformer.models.layers.attention.transformer import without_loops
from ichformer.models.layers.backends.backend import as_on_cpu
from ichformer.process.quiet import silent_log

FILE_NAME = "model.onnx"
"""What ONNX Runtime takes."""

TOLERANCE = 1e-5
"""The largest difference of a score from the run's own, at which the file is written."""

_FIX = "take --to stablehlo or --to bundle, which every family has"


def onnx_files(run: Trained, *, slices: int) -> dict[str, bytes]:
    """``FILE_NAME`` and ``DESCRIPTION_NAME``, for one scan of ``slices`` slices.

    The file is run once, and is given only where its scores are those of the run.

    Args:
      run: the opened run.
      slices: of a scan. Shorter ones are filled up, and the slice mask says so.

    Raises:
      InputError: jax2onnx or ONNX Runtime is not installed, has no translation of an operator of this family, or
        what it gives has other scores than the run.
    """
    try:
        with silent_log("jax2onnx"):
            import jax2onnx
        import onnxruntime
    except ImportError:
        fix = "pip install 'ichformer[onnx]'"
        raise InputError("needs the libraries jax2onnx and onnxruntime", where="--to onnx", fix=fix) from None
    shapes, compute = input_shapes(run, 1, slices), computation_of(run)
    with as_on_cpu(True), without_loops():
        traced, outputs = jax.make_jaxpr(compute, return_shape=True)(*shapes)
    given, quiet = _example(shapes), onnxruntime.SessionOptions()
    quiet.log_severity_level = 4
    names = jax.tree.leaves({name: name for name in outputs})
    try:
        with silent_log("jax2onnx"), silent_log("onnx_ir"):
            model = jax2onnx.to_onnx(
                jaxpr_as_fun(traced), list(shapes), model_name=run.name, input_names=[*INPUTS], output_names=names
            )
        data = bytes(model.SerializeToString())
        session = onnxruntime.InferenceSession(data, quiet, providers=["CPUExecutionProvider"])
        found = session.run(names, dict(zip(INPUTS, given, strict=True)))
    except Exception as error:  # the libraries raise exceptions of many kinds, some of them of their own
        what = f"cannot be translated by jax2onnx ({type(error).__name__}: {one_line(error, max_chars=120)})"
        raise InputError(what, where=run.name, fix=_FIX) from None
    _check_same(run, found, jax.tree.leaves(jax.jit(compute)(*given)))
    description = describe(run, shapes, outputs)
    return {FILE_NAME: data, DESCRIPTION_NAME: (json.dumps(description, indent=2) + "\n").encode()}


def _example(shapes: Shapes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A scan of noise in the range of brain and blood, whose last slice is none."""
    hu, mask, spacing = shapes
    values = np.random.default_rng(0).integers(-20, 120, hu.shape).astype(np.int16)
    real = np.arange(mask.shape[1])[None] < max(1, mask.shape[1] - 1)
    return values, real, np.full(spacing.shape, 2.0, np.float32)


def _check_same(run: Trained, found: list[np.ndarray], wanted: list[Any]) -> None:
    for ours, theirs in zip(map(np.asarray, wanted), found, strict=True):
        same_gaps = ours.shape == theirs.shape and (np.isnan(ours) == np.isnan(theirs)).all()
        if not same_gaps or np.nanmax(np.abs(ours - theirs), initial=0.0) > TOLERANCE:
            what = f"has other scores as jax2onnx translates it, by more than {TOLERANCE:g}"
            raise InputError(what, where=run.name, fix=_FIX)
