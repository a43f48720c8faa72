"""The sizes of the families that come with the package, each with its published or counted figures."""

from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn

from ichformer.models.families.cnn import cnn2d, cnn3d
from ichformer.models.families.hybrid import hybrid
from ichformer.models.families.recurrent import cnn_gru
from ichformer.models.families.slice_vit import slice_vit
from ichformer.models.families.swin3d import swin3d
from ichformer.models.families.vit3d import vit3d
from ichformer.models.registry import Entry

_ABOUT = {
    "slice_vit": "a 2-D vision transformer in every slice, a transformer over slices",
    "vit3d": "a vision transformer over 3-D patches of the scan",
    "swin3d": "shifted windows over the whole scan, slices as the third axis",
    "hybrid": "an encoder of a slice (CNN, MaxViT, CNN beside ViT), a transformer over slices",
    "cnn2d": "an encoder of a slice; only the scan's logits know all slices",
    "cnn3d": "a 3-D ResNet over the scan",
    "cnn_gru": "an encoder of a slice, two GRUs over slices: the recipe that won RSNA 2019",
}


def _size(build: Callable[..., nn.Module], options: Mapping[str, Any], params: int, gflops: float) -> Entry:
    family = build.__name__
    return Entry(build=build, options=options, family=family, about=_ABOUT[family], params=params, gflops=gflops)


def _vit(params: int, gflops: float, width: int, depth: int, heads: int) -> Entry:
    """The sizes of DeiT and ViT (Touvron et al. 2021, table 1; Dosovitskiy et al. 2021, table 1)."""
    options = {"width": width, "depth": depth, "num_heads": heads, "context_heads": heads}
    return _size(slice_vit, options, params, gflops)


def _hybrid(params: int, gflops: float, encoder: str, width: int | None = None, heads: int = 8) -> Entry:
    return _size(hybrid, {"encoder": encoder, "width": width, "context_heads": heads}, params, gflops)


def _encoded(
    build: Callable[..., nn.Module], params: int, gflops: float, encoder: str, width: int | None = None
) -> Entry:
    """A baseline on an encoder; where that gives thousands of features, they are projected to ``width``."""
    return _size(build, {"encoder": encoder, "width": width}, params, gflops)


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

SIZES: Mapping[str, Entry] = {
    "slice_vit_nano": _size(slice_vit, _NANO_VIT, 490_062, 61.92),
    "slice_vit_ti": _vit(6_489_900, 109.1, 192, 12, 3),
    "slice_vit_s": _vit(25_587_276, 392.8, 384, 12, 6),
    "slice_vit_b": _vit(101_604_492, 1484, 768, 12, 12),
    "slice_vit_l": _vit(331_453_964, 5177, 1024, 24, 16),
    "vit3d_nano": _size(vit3d, _NANO_VIT3D, 280_500, 47.28),
    "vit3d_s": _size(vit3d, {}, 29_143_116, 513.4),
    "vit3d_b": _size(vit3d, {"width": 768, "num_heads": 12}, 115_794_060, 1957),
    "hybrid_nano": _size(hybrid, _NANO_HYBRID, 139_652, 4.27),
    "hybrid_ti": _hybrid(4_581_154, 39.78, "residual_ti", heads=4),
    "hybrid_s": _hybrid(18_293_810, 158.2, "residual_s"),
    "hybrid_resnet18": _hybrid(18_276_172, 152.6, "resnet18"),
    "hybrid_resnet50": _hybrid(31_656_780, 346.9, "resnet50", width=512),
    "hybrid_convnext_t": _hybrid(35_313_516, 375, "convnext_t", width=512),
    "hybrid_efficientnet_lite0": _hybrid(5_479_308, 33.68, "efficientnet_lite0", width=256, heads=4),
    "hybrid_efficientnet_lite1": _hybrid(6_243_980, 43.49, "efficientnet_lite1", width=256, heads=4),
    "hybrid_efficientnet_lite2": _hybrid(6_919_372, 49.67, "efficientnet_lite2", width=256, heads=4),
    "cnn2d_nano": _size(cnn2d, {"encoder": "residual_nano"}, 89_540, 4.266),
    "cnn2d_resnet18": _encoded(cnn2d, 11_835_846, 152.2, "resnet18"),
    "cnn2d_resnet50": _encoded(cnn2d, 25_216_454, 346.5, "resnet50", 512),
    "cnn2d_convnext_t": _encoded(cnn2d, 28_873_190, 374.6, "convnext_t", 512),
    "cnn2d_efficientnet_lite0": _encoded(cnn2d, 3_864_774, 33.58, "efficientnet_lite0", 256),
    "cnn3d_nano": _size(cnn3d, _NANO_CNN3D, 251_622, 26.42),
    "cnn3d_resnet18": _size(cnn3d, _RESNET18_3D, 33_823_948, 490),
    "cnn3d_resnet50": _size(cnn3d, _RESNET50_3D, 48_041_932, 715),
    "cnn_gru_nano": _size(cnn_gru, _NANO_GRU, 151_492, 4.27),
    "cnn_gru_resnet18": _encoded(cnn_gru, 15_906_636, 152.4, "resnet18"),
    "cnn_gru_resnet50": _encoded(cnn_gru, 29_287_244, 346.8, "resnet50", 512),
    "cnn_gru_efficientnet_lite0": _encoded(cnn_gru, 6_757_452, 33.76, "efficientnet_lite0", 256),
    "swin3d_nano": _size(swin3d, _NANO_SWIN, 382_656, 11.5),
    "swin3d_t": _size(swin3d, {}, 33_463_602, 373),
    "swin3d_s": _size(swin3d, _DEEP_SWIN, 55_117_602, 639.8),
    "swin3d_b": _size(swin3d, _BASE_SWIN, 97_607_380, 1070),
    "maxvit_nano": _size(hybrid, _NANO_HYBRID | {"encoder": "maxvit_nano"}, 238_810, 23.86),
    # Tu et al. 2022 and torchvision train the size T with this rate.
    "maxvit_t": _size(hybrid, {"encoder": "maxvit_t", "drop_path": 0.2}, 37_253_012, 470),
    "dual_nano": _size(hybrid, _NANO_HYBRID | {"encoder": "dual_nano"}, 379_959, 39.81),
    "dual_s": _hybrid(35_301_045, 627.6, "dual_s", heads=6),
}
"""By the name that ``create_model`` and ``--model.name`` take. A test counts parameters and operations."""
