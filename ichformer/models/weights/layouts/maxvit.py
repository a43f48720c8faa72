"""Reads MaxViT weights in torchvision's layout."""

from math import isqrt

import numpy as np

from ichformer.models.weights.source import Source, Tree

_EPSILON = 1e-3
"""Of torchvision's batch norms in ``MaxVit``, after the paper's code."""


def torchvision_maxvit(source: Source) -> Tree:
    """``torchvision.models.maxvit_t`` and its sizes as ``MaxViT(norm="affine")``; the classifier is left."""
    tree = {
        "stem1": source.conv("stem.0.0"),
        "stem_norm": source.batch_norm("stem.0.1", epsilon=_EPSILON),
        "stem2": source.conv("stem.1.0"),
    }
    for name in source.names:
        if name.endswith(".MBconv.layers.pre_norm.weight"):
            _, stage, _, block, *_ = name.split(".")
            theirs, ours = f"blocks.{stage}.layers.{block}.layers", f"stage{stage}_block{block}"
            tree[f"{ours}_conv"] = _mbconv(source, f"{theirs}.MBconv")
            tree[f"{ours}_block"] = _attention(source, f"{theirs}.window_attention")
            tree[f"{ours}_grid"] = _attention(source, f"{theirs}.grid_attention")
    return tree


def _mbconv(source: Source, name: str) -> Tree:
    tree = {
        "norm0": source.batch_norm(f"{name}.layers.pre_norm", epsilon=_EPSILON),
        "expand": source.conv(f"{name}.layers.conv_a.0"),
        "norm1": source.batch_norm(f"{name}.layers.conv_a.1", epsilon=_EPSILON),
        "depthwise": source.conv(f"{name}.layers.conv_b.0"),
        "norm2": source.batch_norm(f"{name}.layers.conv_b.1", epsilon=_EPSILON),
        "squeeze": {
            "down": _dense_of_conv(source, f"{name}.layers.squeeze_excitation.fc1"),
            "up": _dense_of_conv(source, f"{name}.layers.squeeze_excitation.fc2"),
        },
        "project": source.conv(f"{name}.layers.conv_c"),
    }
    if f"{name}.proj.1.weight" in source:
        tree["shortcut"] = source.conv(f"{name}.proj.1")
    return tree


def _attention(source: Source, name: str) -> Tree:
    inner = f"{name}.attn_layer.1"
    table = source.take(f"{inner}.relative_position_bias_table")
    source.take(f"{inner}.relative_position_index")
    qkv, out = source.dense(f"{inner}.to_qkv"), source.dense(f"{inner}.merge")
    (offsets, heads), width = table.shape, out["kernel"].shape[1]
    split = (3, heads, width // heads)
    # torchvision divides by the root of the whole width, we by that of a head's: the queries take the difference.
    scale = np.asarray([heads**-0.5, 1, 1], np.float32)[:, None, None]
    return {
        "norm1": source.norm(f"{name}.attn_layer.0"),
        "qkv": {
            "kernel": qkv["kernel"].reshape(width, *split) * scale,
            "bias": qkv["bias"].reshape(split) * scale,
        },
        "relative_bias": table.reshape(1, isqrt(offsets), isqrt(offsets), heads),
        "out": {"kernel": out["kernel"].reshape(heads, width // heads, width), "bias": out["bias"]},
        "norm2": source.norm(f"{name}.mlp_layer.0"),
        "mlp": {"up": source.dense(f"{name}.mlp_layer.1"), "down": source.dense(f"{name}.mlp_layer.3")},
    }


def _dense_of_conv(source: Source, name: str) -> Tree:
    tree = source.conv(name)
    return {"kernel": tree["kernel"][0, 0], "bias": tree["bias"]}
