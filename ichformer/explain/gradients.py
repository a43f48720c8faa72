"""Grad-CAM and HiResCAM: which places of the feature grid moved a label's score, for every family of the contract."""

from collections.abc import Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Bool, Float

from ichformer import LABELS
from ichformer.errors import InputError
from ichformer.models.contract import CAM_LAYER, Prediction
from ichformer.settings import check_known

_COLLECTION = "perturbations"


def grad_cam(
    model: nn.Module,
    variables: Mapping[str, Any],
    x: Float[Array, "b s h w c"],
    slice_mask: Bool[Array, "b s"],
    spacing_mm: Float[Array, "b 3"],
    *,
    label: str | int | Float[Array, "labels"],
    level: Literal["scan", "slice"],
) -> Float[Array, "b s gh gw"]:
    """Grad-CAM of Selvaraju et al. 2017 ("Grad-CAM", ICCV), equations 1 and 2, for each slice of each scan.

    For a slice's feature grid A [h,w,d] and a score y, the weight of channel k is the mean over the grid of dy/dA_k,
    and the map is ReLU(sum over k of weight_k A_k). The channels' weights are taken slice by slice.

    One backward pass serves every slice. At level "scan", y is the scan's logit. At level "slice", y is the sum of the
    logits of the scan's real slices: where a model lets slices see each other, a slice's map then holds what the slice
    did for its neighbours' scores too; where it does not, each map belongs to its own slice's score alone.

    Maps are not normalised, so slices of a scan can be compared with each other; `for_display` scales them.

    Args:
      model: a module that obeys ``Classifier`` and perturbs its feature grid under ``CAM_LAYER``.
      variables: its variables, as for ``apply``.
      x: windowed slices in [0, 1].
      slice_mask: False where a slice is padding.
      spacing_mm: (z, y, x) of each scan.
      label: one of the model's labels, its position among them, or one weight for each of them; the score is the
        weighted sum of the logits. Under ``jit``, weights let one compilation serve every label.
      level: whose logit is explained.

    Returns:
      float32 on the model's feature grid, at least 0, and 0 at masked slices.

    Raises:
      InputError: the model has no such label.
      ValueError: the model perturbs nothing under ``CAM_LAYER``, or not in its feature grid's shape.
    """
    gradient, grid = _gradient_and_grid(model, variables, x, slice_mask, spacing_mm, label=label, level=level)
    return _map(gradient.mean(axis=(2, 3), keepdims=True) * grid, slice_mask)


def hires_cam(
    model: nn.Module,
    variables: Mapping[str, Any],
    x: Float[Array, "b s h w c"],
    slice_mask: Bool[Array, "b s"],
    spacing_mm: Float[Array, "b 3"],
    *,
    label: str | int | Float[Array, "labels"],
    level: Literal["scan", "slice"],
) -> Float[Array, "b s gh gw"]:
    """HiResCAM of Draelos & Carin 2020 ("Use HiResCAM instead of Grad-CAM", arXiv 2011.08891), equation 4.

    The map is ReLU(sum over k of dy/dA_k A_k), place by place: a gradient is not averaged over the grid first, so it
    cannot lend its weight to a place that did not raise the score. The two agree where the features are averaged over
    the grid; they part where attention or a maximum picks places, as all our families do.

    Arguments, result and errors are those of ``grad_cam``.
    """
    gradient, grid = _gradient_and_grid(model, variables, x, slice_mask, spacing_mm, label=label, level=level)
    return _map(gradient * grid, slice_mask)


def _map(weighted: Float[Array, "b s gh gw d"], slice_mask: Bool[Array, "b s"]) -> Float[Array, "b s gh gw"]:
    return jnp.where(slice_mask[:, :, None, None], jax.nn.relu(weighted.sum(axis=-1)), 0.0)


def _gradient_and_grid(
    model: nn.Module,
    variables: Mapping[str, Any],
    x: Float[Array, "b s h w c"],
    slice_mask: Bool[Array, "b s"],
    spacing_mm: Float[Array, "b 3"],
    *,
    label: str | int | Float[Array, "labels"],
    level: Literal["scan", "slice"],
) -> tuple[Float[Array, "b s gh gw d"], Float[Array, "b s gh gw d"]]:
    """The score's gradient at the feature grid, and the grid, in float32."""
    weights = _weights(model, label)
    state = {name: values for name, values in variables.items() if name != _COLLECTION}

    def grown() -> Any:
        return model.apply(state, x, slice_mask, spacing_mm, False, mutable=[_COLLECTION])[1].get(_COLLECTION, {})

    def score(perturbations: Any) -> tuple[Array, Array]:
        prediction: Prediction = model.apply({**state, _COLLECTION: perturbations}, x, slice_mask, spacing_mm, False)
        if level == "scan":
            logits = prediction.scan_logits
        else:
            # where, not a product: what stands at masked slices means nothing and may be NaN.
            logits = jnp.where(slice_mask[..., None], prediction.slice_logits, 0.0).sum(axis=1)
        return (logits.astype(jnp.float32) @ weights).sum(), prediction.features[CAM_LAYER]

    shapes = jax.eval_shape(grown)
    zeros = jax.tree.map(lambda shape: jnp.zeros(shape.shape, shape.dtype), shapes)
    gradients, grid = jax.grad(score, has_aux=True)(zeros)
    gradient = _cam_leaf(gradients)
    if gradient.shape != grid.shape:
        raise ValueError(f"{type(model).__name__} perturbs {gradient.shape} but returns {grid.shape} as {CAM_LAYER!r}")
    return gradient.astype(jnp.float32), grid.astype(jnp.float32)


def _weights(model: nn.Module, label: str | int | Float[Array, "labels"]) -> Float[Array, "labels"]:
    if not isinstance(label, str | int):
        return label
    labels = tuple(getattr(model, "labels", LABELS))
    if isinstance(label, str):
        check_known("label", label, labels)
        label = labels.index(label)
    if not 0 <= label < len(labels):
        raise InputError(f"found {label}", where="label", fix=f"give 0 to {len(labels) - 1}, or a label by its name")
    return jax.nn.one_hot(label, len(labels))


def upsample(maps: Float[Array, "*scans gh gw"], size: tuple[int, int]) -> Float[Array, "*scans h w"]:
    """Maps on a feature grid laid over the slices they came from, bilinearly.

    Pixel centres are aligned: a cell of the grid covers ``size / grid`` pixels and its value stands at the middle of
    them, so a map neither shifts nor shrinks. Beyond the outermost centres the outermost value goes on.
    """
    return jax.image.resize(maps, (*maps.shape[:-2], *size), method="linear", antialias=False)


def for_display(maps: Float[Array, "*scans s h w"]) -> Float[Array, "*scans s h w"]:
    """Maps scaled to [0, 1] by the largest value of each scan, so that slices keep their rank; 0 where all is 0."""
    top = maps.max(axis=(-3, -2, -1), keepdims=True)
    return jnp.where(top > 0, maps / jnp.where(top > 0, top, 1.0), 0.0)


def _cam_leaf(perturbations: Any) -> Array:
    """The one leaf named ``CAM_LAYER``, wherever in the tree of modules it was perturbed."""
    leaves = jax.tree_util.tree_leaves_with_path(perturbations)
    found = [leaf for path, leaf in leaves if getattr(path[-1], "key", None) == CAM_LAYER]
    if len(found) != 1:
        raise ValueError(f"the model must perturb exactly one array as {CAM_LAYER!r}, found {len(found)}")
    return found[0]
