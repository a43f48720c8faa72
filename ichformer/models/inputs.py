"""Example inputs of a model, and checks that say what was expected and what was found."""

import math
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from ichformer.errors import InputError
from ichformer.models.contract import Prediction
from ichformer.settings import check_ranges, described, fit

EXAMPLE_CHANNELS = 3
"""Channels of an example where the model does not say how many it takes: three windows."""


def example_inputs(model: Any, *, scans: int = 1, slices: int = 4, size: int = 64) -> dict[str, Any]:
    """Inputs of the right shapes for ``model.init(key, **inputs)`` and ``model.apply(variables, **inputs)``.

    Example:
      >>> import ichformer as ich
      >>> model = ich.create_model("swin3d_t", channels=3)
      >>> ich.example_inputs(model, scans=2)["x"].shape
      (2, 4, 64, 64, 3)

    Args:
      model: a classifier; its ``channels`` are taken where it has any.
      scans: B, how many scans.
      slices: S, slices of a scan.
      size: H and W, rows and columns of a slice.

    Returns:
      ``x`` [B,S,H,W,C] of zeros, ``slice_mask`` [B,S] of True, ``spacing_mm`` [B,3] (z, y, x), ``train`` False.

    Raises:
      InputError: no model but its name, or a size that is no whole number above 0.
    """
    if not isinstance(model, nn.Module):
        fix = "give the module that ichformer.create_model returns"
        raise InputError(f"expected a model, found {described(model)}", where="model", fix=fix)
    for name, value in (("scans", scans), ("slices", slices), ("size", size)):
        check_ranges("", (name, value, fit(int, value, where=name) >= 1, "1 or more"))
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
            fix="apply windows to the HU first: ichformer.apply_windows",
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


def check_prediction(prediction: Any, *, scans: int, slices: int, labels: int, lesions: bool = False) -> None:
    """InputError where a model gives something else than its contract says; only shapes are read.

    Args:
      prediction: what the model gave, or its shapes.
      scans: B.
      slices: S.
      labels: how many labels the model scores.
      lesions: whether it gives lesion logits.
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
    shape = list(jnp.shape(prediction.lesion_logits)) if lesions else []
    if lesions and (len(shape) != 5 or [*shape[:2], shape[4]] != [scans, slices, labels]):
        raise InputError(
            f"expected the shape [{scans}, {slices}, rows, columns, {labels}], found {shape}",
            where="model, lesion_logits",
            fix="give a logit for each label and each place of a slice, or set no field lesions to True",
        )
    if "slices" not in prediction.features:
        raise InputError(
            "the features lack 'slices'",
            where="model, features",
            fix="give one vector a slice: features={'slices': array of [scans, slices, D]}",
        )


def check_key(rngs: Any) -> None:
    """InputError where ``init`` gets something else than a key, or keys by name."""
    for key in rngs.values() if isinstance(rngs, Mapping) else (rngs,):
        if not hasattr(key, "dtype") or not hasattr(key, "shape"):
            raise InputError(
                f"expected a random key, found {described(key)}",
                where="rngs",
                fix="give jax.random.key(0), for example",
            )


def check_values(x: Any, spacing_mm: Any) -> None:
    """InputError where values are no numbers, or lie outside of 0 to 1 as raw HU do; rounding of a window may pass.

    Args:
      x: windowed slices.
      spacing_mm: of the scans.
    """
    for name, value in (("x", x), ("spacing_mm", spacing_mm)):
        if value is not None and not (hasattr(value, "shape") and hasattr(value, "dtype")):
            raise InputError(
                f"expected an array, found {described(value)}", where=name, fix="give a JAX or NumPy array"
            )
    if (found := _range(spacing_mm)) is not None and not 0 < found[0] <= found[1] < np.inf:
        raise InputError(
            f"expected positive numbers, found {found[0]:g} to {found[1]:g}",
            where="spacing_mm",
            fix="give each scan the distance of its slices, rows and columns in mm",
        )
    if (found := _range(x)) is None or -0.01 <= found[0] <= found[1] <= 1.01:
        return
    if np.isnan(found[0]):
        raise InputError("expected values in [0, 1], found NaN", where="x", fix="replace what is not a number")
    raise InputError(
        f"expected values in [0, 1], found {found[0]:g} to {found[1]:g}",
        where="x",
        fix="apply windows to the HU first: ichformer.apply_windows",
    )


def _range(array: Any) -> tuple[float, float] | None:
    """The least and the largest value; None where they are not at hand: no array, or shared by several processes."""
    is_here = isinstance(array, np.ndarray) or (isinstance(array, jax.Array) and array.is_fully_addressable)
    if not is_here or not array.size or array.dtype == object:
        return None
    # NumPy's, as JAX would trace it where this is called inside of a function that is being compiled.
    values = np.asarray(array)
    return float(values.min()), float(values.max())


def check_channels_of(model: nn.Module, params: Any, x: Any) -> None:
    """InputError where parameters are made for another number of channels than ``x`` has.

    Args:
      model: takes any number of channels when it is initialised.
      params: its parameters.
      x: [B,S,H,W,C].
    """

    def shapes(channels: int) -> Any:
        inputs = example_inputs(model, slices=x.shape[1])

        def init() -> Any:
            fresh = jnp.zeros((1, *x.shape[1:4], channels), x.dtype)
            return nn.Module.init(model, jax.random.key(0), **{**inputs, "x": fresh})["params"]

        return jax.tree.map(lambda leaf: leaf.shape, jax.eval_shape(init))

    def count(of: Any) -> int:
        return sum(math.prod(shape) for shape in jax.tree.leaves(of, is_leaf=lambda leaf: isinstance(leaf, tuple)))

    found = x.shape[-1]
    given = jax.tree.map(jnp.shape, dict(params))
    # The number of parameters grows by as many with each channel.
    fewer, more = count(shapes(found)), count(shapes(found + 1))
    expected = found + (count(given) - fewer) // max(more - fewer, 1)
    if expected > 0 and shapes(expected) == given:
        raise InputError(
            f"expected {expected} channels, for which the parameters were made; found {found} in the shape "
            f"{list(x.shape)}",
            where="x",
            fix="give as many windows as at init, or init the model again",
        )
