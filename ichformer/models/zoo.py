"""Every model by name: the one registry that training, the command line and the tests over all models read."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import flax.linen as nn

from ichformer.errors import InputError
from ichformer.models.hybrid import hybrid
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
_NANO_HYBRID = {"widths": (16, 32, 64), "blocks": 1, "context_depth": 1, "context_heads": 4, "scan_pool": "max"}

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
    "hybrid_ti": Entry(build=hybrid, options={"widths": (32, 64, 128, 256), "context_heads": 4}, params=4_581_054),
    "hybrid_s": Entry(build=hybrid, options={"widths": (64, 128, 256, 512), "context_heads": 8}, params=18_293_614),
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
