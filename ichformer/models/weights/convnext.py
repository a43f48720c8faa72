"""ConvNeXt of other libraries as our ``ConvNext``."""

import re

from ichformer.models.weights.source import Source, Tree


def huggingface_convnext(source: Source) -> Tree:
    """``ConvNextModel``."""
    tree = {
        "stem": source.conv("embeddings.patch_embeddings"),
        "stem_norm": source.norm("embeddings.layernorm"),
        "norm": source.norm("layernorm"),
    }
    pattern = r"encoder\.stages\.(\d+)\.layers\.(\d+)\.dwconv\.weight"
    for match in filter(None, (re.fullmatch(pattern, name) for name in source.names)):
        stage, block = match[1], match[2]
        at = f"encoder.stages.{stage}"
        if block == "0" and stage != "0":
            tree[f"down{stage}_norm"] = source.norm(f"{at}.downsampling_layer.0")
            tree[f"down{stage}"] = source.conv(f"{at}.downsampling_layer.1")
        layer = f"{at}.layers.{block}"
        tree[f"stage{stage}_block{block}"] = {
            "depthwise": source.conv(f"{layer}.dwconv"),
            "norm": source.norm(f"{layer}.layernorm"),
            "up": source.dense(f"{layer}.pwconv1"),
            "down": source.dense(f"{layer}.pwconv2"),
            "scale": source.take(f"{layer}.layer_scale_parameter"),
        }
    return tree
