"""Every model by name: the one registry that training, the command line and the tests over all models read."""

import difflib
import inspect
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
from ichformer.models.vit3d import vit3d


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One size of a family.

    Attributes:
      build: constructor; keyword arguments override ``options``.
      options: what makes this size.
      params: how many numbers it learns, with three windows as channels; a test counts them.
      gflops: 10**9 floating-point operations of the forward pass over one scan of ``flops.SCAN_SHAPE``, to four digits;
        the same test counts them.
    """

    build: Callable[..., nn.Module]
    options: dict[str, Any]
    params: int
    gflops: float

    @property
    def family(self) -> str:
        """What the sizes of one architecture have in common."""
        return self.build.__name__.lower()

    @property
    def about(self) -> str:
        """Its family in a few words."""
        return _ABOUT[self.family]


_ABOUT = {
    "slice_vit": "a 2-D vision transformer in every slice, a transformer over slices",
    "vit3d": "a vision transformer over 3-D patches of the scan",
    "swin3d": "shifted windows over the whole scan, slices as the third axis",
    "hybrid": "an encoder of a slice (CNN, MaxViT, CNN beside ViT), a transformer over slices",
    "cnn2d": "an encoder of a slice; only the scan's logits know all slices",
    "cnn3d": "a 3-D ResNet over the scan",
    "cnn_gru": "an encoder of a slice, two GRUs over slices: the recipe that won RSNA 2019",
}


def _vit(params: int, gflops: float, width: int, depth: int, heads: int) -> Entry:
    """The sizes of DeiT and ViT (Touvron et al. 2021, table 1; Dosovitskiy et al. 2021, table 1)."""
    options = {"width": width, "depth": depth, "num_heads": heads, "context_heads": heads}
    return Entry(build=slice_vit, options=options, params=params, gflops=gflops)


def _hybrid(params: int, gflops: float, encoder: str, width: int | None = None, heads: int = 8) -> Entry:
    return Entry(
        build=hybrid, options={"encoder": encoder, "width": width, "context_heads": heads}, params=params, gflops=gflops
    )


def _encoded(
    build: Callable[..., nn.Module], params: int, gflops: float, encoder: str, width: int | None = None
) -> Entry:
    """A baseline on an encoder; where that gives thousands of features, they are projected to ``width``."""
    return Entry(build=build, options={"encoder": encoder, "width": width}, params=params, gflops=gflops)


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

_NANO_VIT3D = {"patch_size": (1, 8, 8), "width": 72, "depth": 3, "num_heads": 3, "scan_pool": "max"}

# Liu et al. 2022, "Video Swin Transformer", section 3.3.
_DEEP_SWIN = {"depths": (2, 2, 18, 2)}
_BASE_SWIN = _DEEP_SWIN | {"width": 128, "num_heads": (4, 8, 16, 32)}

MODELS: dict[str, Entry] = {
    "slice_vit_nano": Entry(build=slice_vit, options=_NANO_VIT, params=490_062, gflops=61.92),
    "slice_vit_ti": _vit(6_489_900, 109.1, 192, 12, 3),
    "slice_vit_s": _vit(25_587_276, 392.8, 384, 12, 6),
    "slice_vit_b": _vit(101_604_492, 1484, 768, 12, 12),
    "slice_vit_l": _vit(331_453_964, 5177, 1024, 24, 16),
    "vit3d_nano": Entry(build=vit3d, options=_NANO_VIT3D, params=280_500, gflops=47.28),
    "vit3d_s": Entry(build=vit3d, options={}, params=29_143_116, gflops=513.4),
    "vit3d_b": Entry(build=vit3d, options={"width": 768, "num_heads": 12}, params=115_794_060, gflops=1957),
    "hybrid_nano": Entry(build=hybrid, options=_NANO_HYBRID, params=139_652, gflops=4.27),
    "hybrid_ti": _hybrid(4_581_154, 39.78, "residual_ti", heads=4),
    "hybrid_s": _hybrid(18_293_810, 158.2, "residual_s"),
    "hybrid_resnet18": _hybrid(18_276_172, 152.6, "resnet18"),
    "hybrid_resnet50": _hybrid(31_656_780, 346.9, "resnet50", width=512),
    "hybrid_convnext_t": _hybrid(35_313_516, 375, "convnext_t", width=512),
    "hybrid_efficientnet_lite0": _hybrid(5_479_308, 33.68, "efficientnet_lite0", width=256, heads=4),
    "hybrid_efficientnet_lite1": _hybrid(6_243_980, 43.49, "efficientnet_lite1", width=256, heads=4),
    "hybrid_efficientnet_lite2": _hybrid(6_919_372, 49.67, "efficientnet_lite2", width=256, heads=4),
    "cnn2d_nano": Entry(build=cnn2d, options={"encoder": "residual_nano"}, params=89_540, gflops=4.266),
    "cnn2d_resnet18": _encoded(cnn2d, 11_835_846, 152.2, "resnet18"),
    "cnn2d_resnet50": _encoded(cnn2d, 25_216_454, 346.5, "resnet50", 512),
    "cnn2d_convnext_t": _encoded(cnn2d, 28_873_190, 374.6, "convnext_t", 512),
    "cnn2d_efficientnet_lite0": _encoded(cnn2d, 3_864_774, 33.58, "efficientnet_lite0", 256),
    "cnn3d_nano": Entry(build=cnn3d, options=_NANO_CNN3D, params=251_622, gflops=26.42),
    "cnn3d_resnet18": Entry(build=cnn3d, options=_RESNET18_3D, params=33_823_948, gflops=490),
    "cnn3d_resnet50": Entry(build=cnn3d, options=_RESNET50_3D, params=48_041_932, gflops=715),
    "cnn_gru_nano": Entry(build=cnn_gru, options=_NANO_GRU, params=151_492, gflops=4.27),
    "cnn_gru_resnet18": _encoded(cnn_gru, 15_906_636, 152.4, "resnet18"),
    "cnn_gru_resnet50": _encoded(cnn_gru, 29_287_244, 346.8, "resnet50", 512),
    "cnn_gru_efficientnet_lite0": _encoded(cnn_gru, 6_757_452, 33.76, "efficientnet_lite0", 256),
    "swin3d_nano": Entry(build=swin3d, options=_NANO_SWIN, params=382_656, gflops=11.5),
    "swin3d_t": Entry(build=swin3d, options={}, params=33_463_602, gflops=373),
    "swin3d_s": Entry(build=swin3d, options=_DEEP_SWIN, params=55_117_602, gflops=639.8),
    "swin3d_b": Entry(build=swin3d, options=_BASE_SWIN, params=97_607_380, gflops=1070),
    "maxvit_nano": Entry(build=hybrid, options=_NANO_HYBRID | {"encoder": "maxvit_nano"}, params=238_810, gflops=23.86),
    # Tu et al. 2022 and torchvision train the size T with this rate.
    "maxvit_t": Entry(build=hybrid, options={"encoder": "maxvit_t", "drop_path": 0.2}, params=37_253_012, gflops=470),
    "dual_nano": Entry(build=hybrid, options=_NANO_HYBRID | {"encoder": "dual_nano"}, params=379_959, gflops=39.81),
    "dual_s": _hybrid(35_301_045, 627.6, "dual_s", heads=6),
}
"""By the name that ``--model.name`` takes."""


def build_model(name: str, **options: Any) -> nn.Module:
    """The model called ``name``, with some of its settings changed; InputError for a name that is not there."""
    entry = _entry(name)
    return entry.build(**entry.options | options)


def model_options(name: str) -> set[str]:
    """The settings that ``build_model`` can change in the model called ``name``."""
    return set(inspect.signature(_entry(name).build).parameters)


def _entry(name: str) -> Entry:
    if name not in MODELS:
        near = [f"perhaps you meant {model}" for model in difflib.get_close_matches(name, MODELS, n=1)]
        choice = f"choose one of {', '.join(MODELS)}"
        raise InputError("there is no such model", where=name, mend=", or ".join([*near, choice]))
    return MODELS[name]
