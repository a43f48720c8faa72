"""Every model by name: the one registry that training, the command line and the tests over all models read."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import flax.linen as nn

from ichformer.errors import InputError
from ichformer.models.cnn import cnn2d, cnn3d
from ichformer.models.hybrid import hybrid
from ichformer.models.recurrent import cnn_gru
from ichformer.models.slice_vit import slice_vit
from ichformer.models.swin3d import swin3d


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One size of a family.

    Attributes:
      build: constructor; keyword arguments override ``options``.
      options: what makes this size.
      params: how many numbers it learns, with three windows as channels; a test counts them.
    """

    build: Callable[..., nn.Module]
    options: dict[str, Any]
    params: int


def _vit(params: int, width: int, depth: int, heads: int) -> Entry:
    """The sizes of DeiT and ViT (Touvron et al. 2021, table 1; Dosovitskiy et al. 2021, table 1)."""
    options = {"width": width, "depth": depth, "num_heads": heads, "context_heads": heads}
    return Entry(build=slice_vit, options=options, params=params)


def _hybrid(params: int, encoder: str, width: int | None = None, heads: int = 8) -> Entry:
    return Entry(build=hybrid, options={"encoder": encoder, "width": width, "context_heads": heads}, params=params)


def _encoded(build: Callable[..., nn.Module], params: int, encoder: str, width: int | None = None) -> Entry:
    """A baseline on an encoder; where that gives thousands of features, they are projected to ``width``."""
    return Entry(build=build, options={"encoder": encoder, "width": width}, params=params)


# "nano" is for laptops and tests.
_NANO_VIT = {
    "patch_size": 8,
    "width": 96,
    "depth": 3,
    "num_heads": 3,
    "context_depth": 1,
    "context_heads": 3,
    "scan_pool": "max",
}
_NANO_HYBRID = {"encoder": "residual_nano", "context_depth": 1, "context_heads": 4, "scan_pool": "max"}
_NANO_CNN3D = {"depths": (1, 1, 1), "widths": (16, 32, 64), "scan_pool": "max"}
_NANO_GRU = {"encoder": "residual_nano", "hidden": 32, "scan_pool": "max"}
# Med3D's ResNet-18 has shortcuts without parameters, its ResNet-50 convolutions (Chen et al. 2019).
_RESNET18_3D = {"depths": (2, 2, 2, 2), "shortcut": "pad"}
_RESNET50_3D = {"depths": (3, 4, 6, 3), "bottleneck": True, "width": 512}

_NANO_SWIN = {"width": 24, "depths": (2, 2, 2), "num_heads": (1, 2, 4), "window": (2, 4, 4), "scan_pool": "max"}

# Liu et al. 2022, "Video Swin Transformer", section 3.3.
_DEEP_SWIN = {"depths": (2, 2, 18, 2)}
_BASE_SWIN = _DEEP_SWIN | {"width": 128, "num_heads": (4, 8, 16, 32)}

MODELS: dict[str, Entry] = {
    "slice_vit_nano": Entry(build=slice_vit, options=_NANO_VIT, params=490_063),
    "slice_vit_ti": _vit(6_489_902, 192, 12, 3),
    "slice_vit_s": _vit(25_587_278, 384, 12, 6),
    "slice_vit_b": _vit(101_604_494, 768, 12, 12),
    "slice_vit_l": _vit(331_453_966, 1024, 24, 16),
    "hybrid_nano": Entry(build=hybrid, options=_NANO_HYBRID, params=139_599),
    "hybrid_ti": _hybrid(4_581_054, "residual_ti", heads=4),
    "hybrid_s": _hybrid(18_293_614, "residual_s"),
    "hybrid_resnet18": _hybrid(18_276_174, "resnet18"),
    "hybrid_resnet50": _hybrid(31_656_782, "resnet50", width=512),
    "hybrid_convnext_t": _hybrid(35_313_518, "convnext_t", width=512),
    "hybrid_efficientnet_lite0": _hybrid(5_479_310, "efficientnet_lite0", width=256, heads=4),
    "hybrid_efficientnet_lite1": _hybrid(6_243_982, "efficientnet_lite1", width=256, heads=4),
    "hybrid_efficientnet_lite2": _hybrid(6_919_374, "efficientnet_lite2", width=256, heads=4),
    "cnn2d_nano": Entry(build=cnn2d, options={"encoder": "residual_nano"}, params=89_487),
    "cnn2d_resnet18": _encoded(cnn2d, 11_835_847, "resnet18"),
    "cnn2d_resnet50": _encoded(cnn2d, 25_216_455, "resnet50", 512),
    "cnn2d_convnext_t": _encoded(cnn2d, 28_873_191, "convnext_t", 512),
    "cnn2d_efficientnet_lite0": _encoded(cnn2d, 3_864_775, "efficientnet_lite0", 256),
    "cnn3d_nano": Entry(build=cnn3d, options=_NANO_CNN3D, params=251_623),
    "cnn3d_resnet18": Entry(build=cnn3d, options=_RESNET18_3D, params=33_823_950),
    "cnn3d_resnet50": Entry(build=cnn3d, options=_RESNET50_3D, params=48_041_934),
    "cnn_gru_nano": Entry(build=cnn_gru, options=_NANO_GRU, params=151_439),
    "cnn_gru_resnet18": _encoded(cnn_gru, 15_906_638, "resnet18"),
    "cnn_gru_resnet50": _encoded(cnn_gru, 29_287_246, "resnet50", 512),
    "cnn_gru_efficientnet_lite0": _encoded(cnn_gru, 6_757_454, "efficientnet_lite0", 256),
    "swin3d_nano": Entry(build=swin3d, options=_NANO_SWIN, params=382_657),
    "swin3d_t": Entry(build=swin3d, options={}, params=33_463_604),
    "swin3d_s": Entry(build=swin3d, options=_DEEP_SWIN, params=55_117_604),
    "swin3d_b": Entry(build=swin3d, options=_BASE_SWIN, params=97_607_382),
}
"""By the name that ``--model.name`` takes."""


def build_model(name: str, **options: Any) -> nn.Module:
    """The model called ``name``, with some of its settings changed; InputError for a name that is not there."""
    if name not in MODELS:
        raise InputError("there is no such model", where=name, mend=f"choose one of {', '.join(MODELS)}")
    return MODELS[name].build(**MODELS[name].options | options)
