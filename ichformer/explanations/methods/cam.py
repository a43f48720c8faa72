"""Class activation maps: which places of the feature grid moved the score, from one backward pass."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ichformer.explanations.layers import Changed, features_at, to_slices
from ichformer.explanations.score import CannotExplainError, ExplainedScore, Explanation
from ichformer.models.contract import CAM_LAYER, Prediction


def grad_cam(score: ExplainedScore) -> Explanation:
    """Grad-CAM of Selvaraju et al. 2017 ("Grad-CAM", ICCV), equations 1 and 2, for each slice of each scan.

    For a slice's feature grid A [h,w,d] and a score y, the weight of channel k is the mean over the grid of dy/dA_k,
    and the map is ReLU(sum over k of weight_k A_k). The channels' weights are taken slice by slice.

    Args:
      score: of a model that perturbs its feature grid under ``CAM_LAYER``, or with a layer named.

    Raises:
      CannotExplainError: the model perturbs nothing under that name, or not in its feature grid's shape; or it has no
        such layer.
    """
    gradient, grid = _gradient_and_grid(score)
    return explained_by(score, gradient.mean(axis=(2, 3), keepdims=True) * grid)


def grad_cam_plus_plus(score: ExplainedScore) -> Explanation:
    """Grad-CAM++ of Chattopadhay et al. 2018 ("Grad-CAM++", WACV), equations 10 and 19.

    Each place of a channel has a weight of its own. Of the gradient g the weight of channel k is the sum over the grid
    of a ReLU(g), with a = g^2 / (2 g^2 + g^3 sum(A_k)). It is exact for the exponential of the score, as in the paper.
    Argument and errors are those of ``grad_cam``.
    """
    gradient, grid = _gradient_and_grid(score)
    # g^2 is cancelled, since the square of a small gradient is lost in float32.
    below = 2 + gradient * grid.sum(axis=(2, 3), keepdims=True)
    shares = jnp.where(gradient != 0, 1 / jnp.where(below == 0, 1.0, below), 0.0)
    weights = (shares * jax.nn.relu(gradient)).sum(axis=(2, 3), keepdims=True)
    return explained_by(score, weights * grid)


def layer_cam(score: ExplainedScore) -> Explanation:
    """LayerCAM of Jiang et al. 2021 ("LayerCAM", IEEE TIP 30), equation 5: ReLU(sum over k of ReLU(dy/dA_k) A_k).

    Each place has its own weight, and places whose features held the score down have none. Argument and errors are
    those of ``grad_cam``.
    """
    gradient, grid = _gradient_and_grid(score)
    return explained_by(score, jax.nn.relu(gradient) * grid)


def hires_cam(score: ExplainedScore) -> Explanation:
    """HiResCAM of Draelos & Carin 2020 ("Use HiResCAM instead of Grad-CAM", arXiv 2011.08891), equation 4.

    The map is ReLU(sum over k of dy/dA_k A_k), place by place: a gradient is not averaged over the grid first, so it
    cannot lend its weight to a place that did not raise the score. The two agree where the features are averaged over
    the grid; they part where attention or a maximum picks places, as all our families do. Argument and errors are those
    of ``grad_cam``.
    """
    gradient, grid = _gradient_and_grid(score)
    return explained_by(score, gradient * grid)


def explained_by(score: ExplainedScore, weighted: Float[Array, "b s gh gw d"]) -> Explanation:
    """ReLU(sum over k of what channel k gives) at each place."""
    return Explanation(maps=score.only_real(to_slices(jax.nn.relu(weighted.sum(axis=-1)), score.slice_mask.shape[1])))


def features(score: ExplainedScore) -> tuple[tuple[int, ...], Changed]:
    """The shape of the features that are explained, and the score as a function of a change of them.

    They are those of ``score.layer``, or where none is named the grid that the model perturbs as ``CAM_LAYER``.
    """
    if score.layer:
        return features_at(score)
    shapes, windowed = score.perturbations(), score.windowed

    def changed(change: Array) -> tuple[Array, Array]:
        prediction = score.predict(windowed, added_to_features(shapes, change))
        return score.of(prediction), feature_grid(prediction, shapes)

    return _leaf(shapes).shape, changed


def _gradient_and_grid(score: ExplainedScore) -> tuple[Float[Array, "b s gh gw d"], Float[Array, "b s gh gw d"]]:
    """The score's gradient at the features, and the features, in float32."""
    shape, changed = features(score)

    def summed(change: Array) -> tuple[Array, Array]:
        scores, grid = changed(change)
        return scores.sum(), grid

    gradient, grid = jax.grad(summed, has_aux=True)(jnp.zeros(shape))
    return gradient.astype(jnp.float32), grid.astype(jnp.float32)


def feature_grid(prediction: Prediction, perturbations: Any) -> Float[Array, "b s gh gw d"]:
    """The feature grid of a prediction.

    Args:
      prediction: of the model.
      perturbations: shapes of what can be added to it, as ``ExplainedScore.perturbations`` gives them.

    Raises:
      CannotExplainError: nothing or something else is perturbed under this name.
    """
    wanted, grid = _leaf(perturbations).shape, prediction.features.get(CAM_LAYER)
    if grid is None or grid.shape != wanted:
        returned = "nothing" if grid is None else grid.shape
        raise CannotExplainError(f"it perturbs {wanted} but returns {returned} as {CAM_LAYER!r}")
    return grid


def added_to_features(perturbations: Any, change: Float[Array, "b s gh gw d"]) -> Any:
    """Perturbations that add ``change`` to the feature grid, and nothing to anything else that the model perturbs."""

    def add(path: tuple[object, ...], shape: jax.ShapeDtypeStruct) -> Array:
        return change.astype(shape.dtype) if _is_cam(path) else jnp.zeros(shape.shape, shape.dtype)

    return jax.tree_util.tree_map_with_path(add, perturbations)


def _leaf(perturbations: Any) -> Any:
    """The one leaf named ``CAM_LAYER``, an array or its shape, wherever in the tree of modules it was perturbed."""
    found = [leaf for path, leaf in jax.tree_util.tree_leaves_with_path(perturbations) if _is_cam(path)]
    if len(found) != 1:
        raise CannotExplainError(f"it must perturb one array as {CAM_LAYER!r}, found {len(found)}")
    return found[0]


def _is_cam(path: tuple[object, ...]) -> bool:
    return getattr(path[-1], "key", None) == CAM_LAYER
