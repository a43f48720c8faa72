"""The parameters of an exported run: one safetensors file in the place of checkpoints."""

from pathlib import Path
from typing import Any, Literal

import jax
import ml_dtypes
import numpy as np
import safetensors
import safetensors.numpy

from ichformer.errors import InputError, one_line
from ichformer.models.weights.files import read_tensors
from ichformer.training.runs.outputs import parameter_names

WEIGHTS_NAME = "weights.safetensors"
"""The file of parameters in the folder of an exported run."""

EXPORTED_NAMES = (
    "README.md",
    "config.json",
    "explanations.json",
    "labels.json",
    "lesions.json",
    "ood.npz",
    "run.json",
    "seen.csv",
    "thresholds.json",
    "validation.csv",
    WEIGHTS_NAME,
)
"""Every file that an exported run may have; a bundle or a hub is asked for no other."""

StoredType = Literal["float16", "bfloat16", "float32"]

_STEP = "step"


def exported_weights(params: Any, *, step: int, dtype: StoredType, where: object) -> bytes:
    """A safetensors file of the parameters, rounded to ``dtype``, that says after how many steps they are.

    InputError, which names ``where``, for a parameter that is no finite number in ``dtype``.
    """
    tensors = {}
    for name, leaf in zip(parameter_names(params), jax.tree.leaves(params), strict=True):
        with np.errstate(over="ignore"):
            stored = np.asarray(leaf).astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
        if not np.isfinite(stored.astype(np.float32)).all():
            raise InputError(f"{name} does not fit into {dtype}", where=where, fix="export it as float32")
        tensors[name] = stored
    return bytes(safetensors.numpy.save(tensors, metadata={_STEP: str(step)}))


def read_exported(file: Path, shapes: Any) -> tuple[Any, int]:
    """The float32 parameters of an exported run, and the steps that they took.

    Args:
      file: its ``WEIGHTS_NAME``.
      shapes: the tree of the parameters that its model has.

    Raises:
      InputError: the file is damaged, or of another model.
    """
    fix = "fetch it again"
    found, names = read_tensors(file), parameter_names(shapes)
    if found.keys() != set(names):
        name = min(found.keys() ^ set(names))
        raise InputError(f"is of another model: {one_line(name)} is in one of them only", where=file, fix=fix)
    leaves = []
    for name, leaf in zip(names, jax.tree.leaves(shapes), strict=True):
        value = found[name]
        if value.shape != leaf.shape or value.dtype != np.float32 or not np.isfinite(value).all():
            raise InputError(f"{name} is not {list(leaf.shape)} finite numbers", where=file, fix=fix)
        leaves.append(value)
    with safetensors.safe_open(file, framework="np") as opened:
        step = (opened.metadata() or {}).get(_STEP, "")
    if not step.isdecimal() or len(step) > 18:
        raise InputError("does not say after how many steps", where=file, fix=fix)
    return jax.tree.unflatten(jax.tree.structure(shapes), leaves), int(step)
