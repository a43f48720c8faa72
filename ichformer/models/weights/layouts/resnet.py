"""Reads ResNet weights of other libraries into ``ResNet`` and ``ResNet3D``."""

import re

from ichformer.models.weights.source import Source, Tree

_EPSILON = 1e-5  # torch's default, which all of them keep


def torchvision_resnet(source: Source) -> Tree:
    """torchvision's names, which timm, MONAI (2-D and 3-D) and MedicalNet share; the classifier is left.

    Batch norms are folded: the encoder's norm is "affine".
    """
    tree = {"stem": source.conv("conv1"), "stem_norm": source.batch_norm("bn1", epsilon=_EPSILON)}
    for stage, block in _blocks(source, r"layer(\d+)\.(\d+)\.conv1\.weight"):
        name = f"layer{stage}.{block}"
        ours: Tree = {}
        for i in (1, 2, 3):
            if f"{name}.conv{i}.weight" in source:
                ours[f"conv{i}"] = source.conv(f"{name}.conv{i}")
                ours[f"norm{i}"] = source.batch_norm(f"{name}.bn{i}", epsilon=_EPSILON)
        if f"{name}.downsample.0.weight" in source:
            ours |= _shortcut(source, f"{name}.downsample.0", f"{name}.downsample.1")
        tree[f"stage{stage - 1}_block{block}"] = ours
    return tree


def huggingface_resnet(source: Source) -> Tree:
    """``ResNetModel``; batch norms are folded."""

    def layer(name: str, i: int | str = "") -> Tree:
        return {
            f"conv{i}": source.conv(f"{name}.convolution"),
            f"norm{i}": source.batch_norm(f"{name}.normalization", epsilon=_EPSILON),
        }

    stem = layer("embedder.embedder")
    tree = {"stem": stem["conv"], "stem_norm": stem["norm"]}
    for stage, block in _blocks(source, r"encoder\.stages\.(\d+)\.layers\.(\d+)\.layer\.0\.convolution\.weight"):
        name = f"encoder.stages.{stage}.layers.{block}"
        ours: Tree = {}
        for i in (0, 1, 2):
            if f"{name}.layer.{i}.convolution.weight" in source:
                ours |= layer(f"{name}.layer.{i}", i + 1)
        if f"{name}.shortcut.convolution.weight" in source:
            ours |= _shortcut(source, f"{name}.shortcut.convolution", f"{name}.shortcut.normalization")
        tree[f"stage{stage}_block{block}"] = ours
    return tree


def _shortcut(source: Source, convolution: str, norm: str) -> Tree:
    shortcut, affine = source.conv(convolution), source.batch_norm(norm, epsilon=_EPSILON)
    if "bias" in shortcut:
        # MONAI's has one in front of the norm, which takes it up.
        affine["bias"] = affine["bias"] + affine["scale"] * shortcut.pop("bias")
    return {"shortcut": shortcut, "shortcut_norm": affine}


def _blocks(source: Source, pattern: str) -> list[tuple[int, int]]:
    found = [match for match in (re.fullmatch(pattern, name) for name in source.names) if match]
    return sorted((int(match[1]), int(match[2])) for match in found)
