"""Methods of explanation by name: those of the package, and those that others register."""

import functools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal, TypeVar, overload

from ichformer.errors import InputError, one_line
from ichformer.explanations.score import ExplainedScore, Explanation
from ichformer.registry import Registry, register

Explain = Callable[[ExplainedScore], Explanation]
"""From the score that is explained to the maps; pure, as it is compiled."""

Made = TypeVar("Made", bound=Explain)

Grid = Literal["features", "input", "lesions"]
"""What the cells of a map are: of the model's feature grid, of the prepared scan, or of the lesion head."""

DEFAULT_METHOD = "input_x_gradient"
"""Of the methods that cost one gradient the one that found most bleeds over five families of models
(experiments/studies/2026-11-30-explanations.md)."""

_WITHOUT_LAYERS = ("attention_rollout", "gradient_attention", "legrad")
"""They explain all blocks of the encoder."""


@dataclass(frozen=True, kw_only=True)
class Method:
    """A method of explanation.

    Attributes:
      explain: makes the maps.
      signed: whether a map has places below 0, which lowered the score.
      grid: what the cells of a map are.
      about: the method in a few words; "" where nothing was said.
    """

    explain: Explain
    signed: bool
    grid: Grid
    about: str = ""


def _own() -> Mapping[str, Method]:
    from ichformer.explanations.methods.ablation_cam import ablation_cam
    from ichformer.explanations.methods.attention_maps import attention_rollout, gradient_attention, legrad
    from ichformer.explanations.methods.attn_lrp import attn_lrp
    from ichformer.explanations.methods.cam import grad_cam, grad_cam_plus_plus, hires_cam, layer_cam
    from ichformer.explanations.methods.input_gradient import input_x_gradient
    from ichformer.explanations.methods.integrated_gradients import integrated_gradients
    from ichformer.explanations.methods.lesion_map import lesions
    from ichformer.explanations.methods.occlusion import occlusion
    from ichformer.explanations.methods.rise import rise
    from ichformer.explanations.methods.smooth_grad import smooth_grad

    def on_features(explain: Explain, about: str) -> Method:
        return Method(explain=explain, signed=False, grid="features", about=about)

    def on_input(explain: Explain, about: str) -> Method:
        return Method(explain=explain, signed=True, grid="input", about=about)

    return {
        "hires_cam": on_features(hires_cam, "features times gradient, place by place"),
        "grad_cam": on_features(grad_cam, "features times the mean gradient of their channel"),
        "grad_cam_plus_plus": on_features(grad_cam_plus_plus, "Grad-CAM in which each place of a channel weighs apart"),
        "layer_cam": on_features(layer_cam, "features times the positive gradient, place by place"),
        "ablation_cam": on_features(ablation_cam, "features times the fall of the score without their channel"),
        "attention_rollout": on_features(
            attention_rollout, "what tokens attended to, from the last block to the first"
        ),
        "gradient_attention": on_features(gradient_attention, "rollout of the attention that raised the score"),
        "legrad": on_features(legrad, "positive gradients of the attention of all blocks"),
        "input_x_gradient": on_input(input_x_gradient, "difference to plain brain times gradient"),
        "attn_lrp": on_input(attn_lrp, "difference to plain brain times gradient, by rules for attention"),
        "integrated_gradients": on_input(integrated_gradients, "gradients on the way from plain brain to the scan"),
        "smooth_grad": on_input(smooth_grad, "difference to plain brain times the mean gradient under noise"),
        "occlusion": on_input(occlusion, "fall of the score where a block becomes plain brain"),
        "rise": on_input(rise, "mean score over random masks under which a place is seen"),
        "lesions": Method(explain=lesions, signed=False, grid="lesions", about="probability of the finding"),
    }


EXPLANATIONS: Registry[Method] = Registry("explanation", _own)
"""Every method of explanation by the name that ``--method`` takes."""


def find_method(name: str) -> Method:
    """The method of a name, or of a name and a layer of the model: ``layer_cam@encoder/stage1_block0``.

    Example:
      >>> find_method("layer_cam@encoder/stage1_block0").grid
      'features'

    Raises:
      InputError: there is no such method, or it is none on features and a layer is named.
    """
    base, at, layer = name.partition("@")
    method = EXPLANATIONS.find(base, where="method")
    if not at:
        return method
    if method.grid != "features" or base in _WITHOUT_LAYERS:
        raise InputError("is not a method that takes a layer", where=one_line(name), fix=f"name {base} alone")
    if not re.fullmatch(r"\w+(/\w+)*", layer):
        raise InputError(
            "names no layer", where=one_line(name), fix="give a path such as encoder/stage1_block0 after @"
        )
    return replace(method, explain=_at_layer(method.explain, layer))


@functools.lru_cache
def _at_layer(explain: Explain, layer: str) -> Explain:
    """The same function each time, so that what was compiled for it is found again."""
    return lambda score: explain(replace(score, layer=layer))


@overload
def register_explanation(name: Made) -> Made: ...
@overload
def register_explanation(
    name: str | None = None, *, signed: bool = False, grid: Grid = "input", about: str = ""
) -> Callable[[Made], Made]: ...
def register_explanation(
    name: Made | str | None = None, *, signed: bool = False, grid: Grid = "input", about: str = ""
) -> Made | Callable[[Made], Made]:
    """Makes a method of explanation known by name, to ``ichformer.explain`` and to ``--method``.

    It decorates a function ``explain(score)`` from an ``explanations.score.ExplainedScore`` to an
    ``explanations.score.Explanation``. It is compiled, so it has to be pure. Where a model has not what it needs, it
    raises ``explanations.score.CannotExplainError``.

    Example:
      >>> from ichformer.explanations.score import Explanation
      >>> @register_explanation("brightness", about="what is not as bright as plain brain")
      ... def brightness(score):
      ...     return Explanation(maps=abs(score.windowed - score.reference).sum(axis=-1))
      >>> EXPLANATIONS["brightness"].grid
      'input'

    Args:
      name: what to call it: ``@register_explanation("mine")``. Bare, it takes the name of the function.
      signed: whether its maps have places below 0, which lowered the score.
      grid: what the cells of its maps are.
      about: the method in a few words.

    Raises:
      InputError: another method has that name, it is no name, or it stands above something else.
    """
    return register(
        EXPLANATIONS,
        name,
        lambda explain: Method(explain=explain, signed=signed, grid=grid, about=about),
        wanted="a function explain(score) that returns an Explanation",
        arguments=("score",),
    )
