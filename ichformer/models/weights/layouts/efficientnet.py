"""Reads EfficientNet-Lite weights of other libraries into ``EfficientNet``."""

import re

from ichformer.models.weights.source import Source, Tree

_EPSILON = 1e-3  # TensorFlow's


def pytorch_efficientnet(source: Source) -> Tree:
    """The names of EfficientNet-PyTorch, which ``efficientnet_lite_pytorch`` and MONAI share; "_fc" is left.

    Batch norms are folded: the encoder's norm is "affine".
    """
    tree: Tree = {
        "stem": source.conv("_conv_stem"),
        "stem_norm": source.batch_norm("_bn0", epsilon=_EPSILON),
        "head": source.conv("_conv_head"),
        "head_norm": source.batch_norm("_bn1", epsilon=_EPSILON),
    }
    found = (re.fullmatch(r"_blocks\.([\d.]+)\._depthwise_conv\.weight", name) for name in source.names)
    # MONAI counts stages and blocks inside them, the others blocks alone.
    places = sorted((match[1] for match in found if match), key=lambda place: [int(k) for k in place.split(".")])
    for i, place in enumerate(places):
        parts = {"expand": ("_expand_conv", "_bn0"), "depthwise": ("_depthwise_conv", "_bn1")}
        parts["project"] = ("_project_conv", "_bn2")
        if f"_blocks.{place}._expand_conv.weight" not in source:
            del parts["expand"]
        tree[f"block{i}"] = {}
        for part, (convolution, norm) in parts.items():
            tree[f"block{i}"] |= {
                part: source.conv(f"_blocks.{place}.{convolution}"),
                f"{part}_norm": source.batch_norm(f"_blocks.{place}.{norm}", epsilon=_EPSILON),
            }
    return tree
