"""Example inputs of a model, and checks that say what was expected and what was found."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ichformer.errors import InputError
from ichformer.models.contract import Prediction

EXAMPLE_CHANNELS = 3
"""Channels of an example where the model does not say how many it takes: three windows."""


def example_inputs(model: Any, *, scans: int = 1, slices: int = 4, size: int = 64) -> dict[str, Any]:
    """Inputs of the right shapes for ``model.init(key, **inputs)`` and ``model.apply(variables, **inputs)``.

    Args:
      model: a classifier; its ``channels`` are taken where it has any.
      scans: B, how many scans.
      slices: S, slices of a scan.
      size: H and W, rows and columns of a slice.

    Returns:
      ``x`` [B,S,H,W,C] of zeros, ``slice_mask`` [B,S] of True, ``spacing_mm`` [B,3] (z, y, x), ``train`` False.
    """
    channels = getattr(model, "channels", None) or EXAMPLE_CHANNELS
    return {
        "x": jnp.zeros((scans, slices, size, size, channels)),
        "slice_mask": jnp.ones((scans, slices), bool),
        "spacing_mm": jnp.broadcast_to(jnp.asarray([5.0, 0.5, 0.5]), (scans, 3)),
        "train": False,
    }


def check_inputs(x: Any, slice_mask: Any, spacing_mm: Any, *, channels: int | None = None) -> None:
    """InputError where the inputs of a classifier have another shape or dtype than its contract says.

    Args:
      x: windowed slices [B,S,H,W,C], floating, in [0, 1].
      slice_mask: bool [B,S].
      spacing_mm: [B,3].
      channels: C that is wanted; None takes any.
    """
    x_shape, mask_shape, spacing_shape = jnp.shape(x), jnp.shape(slice_mask), jnp.shape(spacing_mm)
    expected = "expected [scans, slices, rows, columns, channels]"
    if len(x_shape) != 5:
        fix = "add the axis of scans: x[None]" if len(x_shape) == 4 else "give x five axes"
        raise InputError(f"{expected}, found the shape {list(x_shape)}", where="x", fix=fix)
    if not jnp.issubdtype(jnp.result_type(x), jnp.floating):
        raise InputError(
            f"expected floating values in [0, 1], found {jnp.result_type(x)}",
            where="x",
            fix="apply windows to the HU first: ichformer.ct.windows.apply_windows",
        )
    if channels is not None and x_shape[-1] != channels:
        raise InputError(
            f"expected {channels} channels, found {x_shape[-1]} in the shape {list(x_shape)}",
            where="x",
            fix="give as many windows as the model was made for, or make it with channels=None",
        )
    if mask_shape != x_shape[:2]:
        raise InputError(
            f"expected the shape {list(x_shape[:2])} [scans, slices], found {list(mask_shape)}",
            where="slice_mask",
            fix="say for each slice of x whether it is real",
        )
    if jnp.result_type(slice_mask) != jnp.bool_:
        found = jnp.result_type(slice_mask)
        raise InputError(f"expected bool, found {found}", where="slice_mask", fix="give True and False")
    if spacing_shape != (x_shape[0], 3):
        raise InputError(
            f"expected the shape {[x_shape[0], 3]}, found {list(spacing_shape)}",
            where="spacing_mm",
            fix="give each scan the distance of its slices, rows and columns in mm",
        )


def check_prediction(prediction: Any, *, scans: int, slices: int, labels: int) -> None:
    """InputError where a model gives something else than its contract says; only shapes are read.

    Args:
      prediction: what the model gave, or its shapes.
      scans: B.
      slices: S.
      labels: how many labels the model scores.
    """
    if not isinstance(prediction, Prediction):
        raise InputError(
            f"expected a Prediction, found a {type(prediction).__name__}",
            where="model",
            fix="return ichformer.models.contract.Prediction(slice_logits=, scan_logits=, features=)",
        )
    for name, wanted in (("slice_logits", [scans, slices, labels]), ("scan_logits", [scans, labels])):
        if (found := list(jnp.shape(getattr(prediction, name)))) != wanted:
            raise InputError(
                f"expected the shape {wanted}, found {found}",
                where=f"model, {name}",
                fix="give a logit for each label of the store, by default the six of ichformer.LABELS",
            )
    if "slices" not in prediction.features:
        raise InputError(
            "the features lack 'slices'",
            where="model, features",
            fix="give one vector a slice: features={'slices': array of [scans, slices, D]}",
        )


def refuse_raw_hu(x: Any) -> None:
    """InputError where values lie outside of 0 to 1, as raw HU do; rounding of a window is let pass."""
    is_here = isinstance(x, np.ndarray) or (isinstance(x, jax.Array) and x.is_fully_addressable)
    if not is_here or not x.size:
        return
    # NumPy's, as JAX would trace it where this is called inside of a function that is being compiled.
    values = np.asarray(x)
    least, most = float(values.min()), float(values.max())
    if not -0.01 <= least <= most <= 1.01:
        raise InputError(
            f"expected values in [0, 1], found {least:g} to {most:g}",
            where="x",
            fix="apply windows to the HU first: ichformer.ct.windows.apply_windows",
        )
