"""Reads ConvNeXt weights of other libraries into ``ConvNext``, without their classifiers."""

import re
from typing import NamedTuple

from ichformer.models.weights.source import Source, Tree


class _Names(NamedTuple):
    """Of the parts of the network; ``{stage}`` and ``{block}`` stand for numbers."""

    stem: str
    stem_norm: str
    down: str
    block: str
    depthwise: str
    block_norm: str
    up: str
    back: str
    scale: str
    norm: str


_HUGGING_FACE = _Names(
    "embeddings.patch_embeddings",
    "embeddings.layernorm",
    "encoder.stages.{stage}.downsampling_layer",
    "encoder.stages.{stage}.layers.{block}",
    "dwconv",
    "layernorm",
    "pwconv1",
    "pwconv2",
    "layer_scale_parameter",
    "layernorm",
)
_AUTHORS = _Names(
    "downsample_layers.0.0",
    "downsample_layers.0.1",
    "downsample_layers.{stage}",
    "stages.{stage}.{block}",
    "dwconv",
    "norm",
    "pwconv1",
    "pwconv2",
    "gamma",
    "norm",
)
_TIMM = _Names(
    "stem.0",
    "stem.1",
    "stages.{stage}.downsample",
    "stages.{stage}.blocks.{block}",
    "conv_dw",
    "norm",
    "mlp.fc1",
    "mlp.fc2",
    "gamma",
    "head.norm",
)


def huggingface_convnext(source: Source) -> Tree:
    """``ConvNextModel``."""
    return _convnext(source, _HUGGING_FACE)


def authors_convnext(source: Source) -> Tree:
    """facebookresearch/ConvNeXt."""
    return _convnext(source, _AUTHORS)


def timm_convnext(source: Source) -> Tree:
    """timm, the sizes whose MLP is of dense layers (tiny and larger)."""
    return _convnext(source, _TIMM)


def torchvision_convnext(source: Source) -> Tree:
    """torchvision, which numbers stages and what stands before them in one row."""
    tree = {
        "stem": source.conv("features.0.0"),
        "stem_norm": source.norm("features.0.1"),
        "norm": source.norm("classifier.0"),
    }
    found = (re.fullmatch(r"features\.(\d+)\.(\d+)\.layer_scale", name) for name in source.names)
    for match in filter(None, found):
        place, block = int(match[1]), match[2]
        stage = place // 2
        if block == "0" and stage > 0:
            tree[f"down{stage}_norm"] = source.norm(f"features.{place - 1}.0")
            tree[f"down{stage}"] = source.conv(f"features.{place - 1}.1")
        at = f"features.{place}.{block}"
        tree[f"stage{stage}_block{block}"] = {
            "depthwise": source.conv(f"{at}.block.0"),
            "norm": source.norm(f"{at}.block.2"),
            "up": source.dense(f"{at}.block.3"),
            "down": source.dense(f"{at}.block.5"),
            "scale": source.take(f"{at}.layer_scale").reshape(-1),
        }
    return tree


def _convnext(source: Source, names: _Names) -> Tree:
    tree = {
        "stem": source.conv(names.stem),
        "stem_norm": source.norm(names.stem_norm),
        "norm": source.norm(names.norm),
    }
    block_at = re.escape(names.block).replace(r"\{stage\}", r"(\d+)").replace(r"\{block\}", r"(\d+)")
    found = (re.fullmatch(rf"{block_at}\.{names.scale}", name) for name in source.names)
    for match in filter(None, found):
        stage, block = match.groups()
        if block == "0" and stage != "0":
            down = names.down.format(stage=stage)
            tree[f"down{stage}_norm"] = source.norm(f"{down}.0")
            tree[f"down{stage}"] = source.conv(f"{down}.1")
        at = names.block.format(stage=stage, block=block)
        tree[f"stage{stage}_block{block}"] = {
            "depthwise": source.conv(f"{at}.{names.depthwise}"),
            "norm": source.norm(f"{at}.{names.block_norm}"),
            "up": source.dense(f"{at}.{names.up}"),
            "down": source.dense(f"{at}.{names.back}"),
            "scale": source.take(f"{at}.{names.scale}"),
        }
    return tree
