"""A run as StableHLO, which jax.export writes for CPU, CUDA and TPU, and which JAX alone reads."""

import json
from typing import Any

import jax
from jax import export

from ichformer.errors import InputError
from ichformer.inference.compiled.computation import computation_of, describe, input_shapes
from ichformer.inference.trained import Trained

FILE_NAME = "model.stablehlo"
"""What ``jax.export.deserialize`` takes."""

DESCRIPTION_NAME = "model.json"
"""What its inputs and outputs mean."""

PLATFORMS = ("cpu", "cuda", "tpu")


def stablehlo_files(run: Trained, *, slices: int) -> dict[str, bytes]:
    """``FILE_NAME`` and ``DESCRIPTION_NAME``.

    The number of scans is open, and so is that of slices, as a multiple of 8. Where a family decides by these numbers
    how it computes, as swin3d does, there is one scan, of ``slices`` slices.

    Args:
      run: the opened run.
      slices: of a scan where their number cannot be open.

    Raises:
      InputError: flatbuffers is not installed, with which jax.export writes its files.
    """
    compute = jax.jit(computation_of(run))
    scans, open_slices = export.symbolic_shape("scans, 8*eighths")
    try:
        shapes = input_shapes(run, scans, open_slices)
        exported = export.export(compute, platforms=PLATFORMS)(*shapes)
    except (jax.errors.InconclusiveDimensionOperation, jax.errors.ConcretizationTypeError):  # it asks for a number
        shapes = input_shapes(run, 1, slices)
        exported = export.export(compute, platforms=PLATFORMS)(*shapes)
    try:
        data = bytes(exported.serialize())
    except ImportError:
        fix = "pip install 'ichformer[stablehlo]'"
        raise InputError("needs the library flatbuffers", where="--to stablehlo", fix=fix) from None
    outputs: dict[str, Any] = jax.tree.unflatten(exported.out_tree, exported.out_avals)
    description = describe(run, shapes, outputs) | {"platforms": list(PLATFORMS)}
    return {FILE_NAME: data, DESCRIPTION_NAME: (json.dumps(description, indent=2) + "\n").encode()}
