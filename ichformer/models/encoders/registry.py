"""Encoders of a slice by name: hybrid, cnn2d and cnn_gru are built on them."""

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar, overload

import flax.linen as nn
import jax.numpy as jnp

from ichformer.errors import InputError
from ichformer.models.encoders.convnext import ConvNext
from ichformer.models.encoders.dual import residual_and_vit
from ichformer.models.encoders.efficientnet import EfficientNet, lite_stages
from ichformer.models.encoders.maxvit import MaxViT
from ichformer.models.encoders.residual import ResidualEncoder
from ichformer.models.encoders.resnet import ResNet
from ichformer.models.layers.channel_norm import Norm
from ichformer.registry import Registry, register

_OWN: Mapping[str, Callable[..., nn.Module]] = {
    "residual_nano": partial(ResidualEncoder, widths=(16, 32, 64), blocks=1),
    "residual_ti": partial(ResidualEncoder, widths=(32, 64, 128, 256), blocks=2),
    "residual_s": partial(ResidualEncoder, widths=(64, 128, 256, 512), blocks=2),
    "resnet18": partial(ResNet, depths=(2, 2, 2, 2)),
    "resnet50": partial(ResNet, depths=(3, 4, 6, 3), bottleneck=True),
    "convnext_t": ConvNext,
    "maxvit_nano": partial(MaxViT, widths=(32, 64), blocks=(1, 1), stem_width=16, window=4, head_width=16),
    "maxvit_t": MaxViT,
    "dual_nano": partial(residual_and_vit, widths=(16, 32), blocks=1, width=64, depth=2, num_heads=4),
    "dual_s": partial(residual_and_vit, widths=(64, 128, 256), blocks=2, width=384, depth=12, num_heads=6),
    "efficientnet_lite0": partial(EfficientNet, stages=lite_stages(width=1.0, depth=1.0)),
    "efficientnet_lite1": partial(EfficientNet, stages=lite_stages(width=1.0, depth=1.1)),
    "efficientnet_lite2": partial(EfficientNet, stages=lite_stages(width=1.1, depth=1.2)),
}

ENCODERS: Registry[Callable[..., nn.Module]] = Registry("encoder", lambda: _OWN)
"""Each makes ``encoder(x [N,H,W,C] in [0, 1], train=...) -> [N,h,w,D]`` for slices of any size."""

Build = TypeVar("Build", bound=Callable[..., nn.Module])


@overload
def register_encoder(name: Build) -> Build: ...
@overload
def register_encoder(name: str | None = None) -> Callable[[Build], Build]: ...
def register_encoder(name: Build | str | None = None) -> Build | Callable[[Build], Build]:
    """Makes an encoder of a slice known by name, so that ``hybrid``, ``cnn2d`` and ``cnn_gru`` can be built on it.

    It decorates a class of modules, or a function that returns one, with the keyword argument ``dtype``. Where the
    module has the fields ``norm`` and ``drop_path``, ``build_encoder`` sets them.

    Example:
      >>> import flax.linen as nn
      >>> import jax.numpy as jnp
      >>> from ichformer.models.registry import create_model
      >>> @register_encoder
      ... class Squares(nn.Module):
      ...     dtype: Any = jnp.float32
      ...
      ...     @nn.compact
      ...     def __call__(self, x, *, train):  # [N,H,W,C] -> [N,H/8,W/8,32]
      ...         return nn.Conv(32, (8, 8), (8, 8), dtype=self.dtype)(x)
      >>> create_model("hybrid_nano", encoder="Squares").encoder
      Squares(
          # attributes
          dtype = float32
      )

    Args:
      name: what to call it: ``@register_encoder("mine")``. Bare, it takes the name of the class.

    Raises:
      InputError: another encoder has that name, it is no name, or it stands above something else.
    """
    return register(
        ENCODERS,
        name,
        lambda build: build,
        wanted="a class that derives from flax.linen.Module, or a function that returns one, with the argument dtype",
        keywords=("dtype",),
        classes=nn.Module,
    )


def build_encoder(name: str, *, norm: Norm = "group", drop_path: float = 0.0, dtype: Any = jnp.float32) -> nn.Module:
    """The encoder called ``name``; InputError for one that is not there, or that lacks what is asked of it.

    Args:
      name: a key of ``ENCODERS``.
      norm: of a ResNet, MaxViT or EfficientNet; their imported weights need "affine".
      drop_path: of a ConvNeXt, MaxViT or EfficientNet: chance that the last block's branch is left out in training.
      dtype: of the computation; parameters stay float32.
    """
    encoder = ENCODERS.check_made(name, ENCODERS.find(name)(dtype=dtype), nn.Module)
    asked: dict[str, Any] = {
        option: value
        for option, value, neutral in (("norm", norm, "group"), ("drop_path", drop_path, 0.0))
        if value != neutral
    }
    for option, value in asked.items():
        if option not in {field.name for field in dataclasses.fields(encoder)}:
            raise InputError(f"this encoder has no {option} to set to {value}", where=name, fix=f"leave {option} out")
    return encoder.clone(**asked)
