"""AttnLRP: relevance that is handed from layer to layer, by rules for what transformers consist of."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jax.lax import stop_gradient
from jaxtyping import Array, Float

from ichformer.explanations.score import CannotExplainError, ExplainedScore, Explanation


def attn_lrp(score: ExplainedScore) -> Explanation:
    """AttnLRP of Achtibat et al. 2024 ("AttnLRP: attention-aware layer-wise relevance propagation", ICML).

    Relevance divided by the value is handed on like a gradient, so the rules change gradients. The factors of a product
    get half each: queries and keys, weights and values, gates. A nonlinearity hands on the ratio of its output to its
    input, and the deviation that a LayerNorm divides by is held still. Softmax and dense layers have their usual
    gradients. So have all other layers, such as convolutions with ReLU, for which that is the rule LRP-0.

    The input is counted from ``ExplainedScore.reference``, plain brain, as for ``input_x_gradient``.

    Args:
      score: of a model with attention.
    """
    seen: list[str] = []

    def changed(call: Callable[..., Any], args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
        seen.append(context.method_name)
        rule = _RULES.get(context.method_name)
        if isinstance(context.module, nn.LayerNorm) and context.method_name == "__call__":
            rule = _layer_norm
        return call(*args, **kwargs) if rule is None else rule(call, context.module, args, kwargs)

    windowed = score.windowed
    with nn.intercept_methods(changed):
        gradient = score.gradient(windowed)
    if "attend" not in seen:
        raise CannotExplainError("it has no attention")
    return Explanation(maps=score.only_real(((windowed - score.reference) * gradient).sum(axis=-1)))


def _less(x: Array, share: float) -> Array:
    """``x``, of whose gradient a share goes on."""
    return share * x + stop_gradient((1 - share) * x)


def _attend(call: Callable[..., Any], module: Any, args: Any, kwargs: Any) -> Any:
    """Values get half, and queries and keys half of the half that the weights get."""
    del module
    query, key, value, *rest = args
    return call(_less(query, 0.25), _less(key, 0.25), _less(value, 0.5), *rest, **kwargs)


def _product(call: Callable[..., Any], module: Any, args: Any, kwargs: Any) -> Any:
    del module
    return call(*(_less(each, 0.5) for each in args), **kwargs)


def _activate(call: Callable[..., Any], module: Any, args: Any, kwargs: Any) -> Any:
    del module
    return _by_ratio(lambda x: call(x, **kwargs), *args)


def _gate(call: Callable[..., Any], module: Any, args: Any, kwargs: Any) -> Any:
    """A gate is SiLU times values: first the rule of the nonlinearity, then that of the product."""
    del call, module, kwargs
    gate, values = args
    return _less(_by_ratio(nn.silu, gate), 0.5) * _less(values, 0.5)


def _by_ratio(function: Callable[[Array], Array], x: Float[Array, "..."]) -> Float[Array, "..."]:
    y = stop_gradient(function(x))
    ratio = jnp.where(x == 0, 0.0, y / jnp.where(x == 0, 1.0, stop_gradient(x)))
    return y + ratio * (x - stop_gradient(x))


def _layer_norm(call: Callable[..., Any], module: Any, args: Any, kwargs: Any) -> Any:
    """The same values, and the gradient of ``scale * (x - mean) / deviation`` with the deviation held still."""
    (x,) = args
    y = stop_gradient(call(x, **kwargs))
    axes = module.reduction_axes
    centred = x - x.mean(axis=axes, keepdims=True)
    deviation = stop_gradient(jnp.sqrt((centred**2).mean(axis=axes, keepdims=True) + module.epsilon))
    linear = centred / deviation
    if module.use_scale:
        features = np.arange(x.ndim)[np.array(module.feature_axes).reshape(-1)]
        scale = module.get_variable("params", "scale")
        linear = linear * scale.reshape([size if axis in features else 1 for axis, size in enumerate(x.shape)])
    return y + (linear - stop_gradient(linear)).astype(y.dtype)


_RULES = {"attend": _attend, "weigh": _product, "activate": _activate, "gate": _gate}
