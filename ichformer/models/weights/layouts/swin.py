"""Reads Swin and Video Swin weights of other libraries into ``encoders.swin.SwinEncoder``."""

import itertools
from collections.abc import Callable
from typing import Literal

import numpy as np

from ichformer.errors import InputError
from ichformer.models.weights.source import Source, Tree, stack

Corners = tuple[tuple[int, int, int], ...]
"""The tokens that a merge makes one, by slice, row and column, in the order of its features."""

_COLUMNS_FIRST: Corners = ((0, 0, 0), (0, 1, 0), (0, 0, 1), (0, 1, 1))


def huggingface_swin(source: Source) -> Tree:
    """``transformers``' ``SwinModel``, as its files name it; sees a slice at a time."""

    def block(i: int, j: int) -> Tree:
        name = f"encoder.layers.{i}.blocks.{j}"
        return _huggingface_block(source, name) | {
            "attention": _apart(source, f"{name}.attention")
            | {"relative_bias": _table(source, f"{name}.attention.self")}
        }

    return _huggingface(source, block, lambda i: _merge(source, f"encoder.layers.{i - 1}.downsample", _COLUMNS_FIRST))


def huggingface_swinv2(source: Source) -> Tree:
    """``transformers``' ``Swinv2Model``; sees a slice at a time."""

    def block(i: int, j: int) -> Tree:
        name = f"encoder.layers.{i}.blocks.{j}"
        attention = f"{name}.attention.self"
        up = source.dense(f"{attention}.continuous_position_bias_mlp.0")
        return _huggingface_block(source, name) | {
            "attention": _apart(source, f"{name}.attention")
            | {
                "logit_scale": source.take(f"{attention}.logit_scale").reshape(-1),
                # Ours has a third offset, along the slices: 0 within one.
                "bias_up": {"kernel": np.pad(up["kernel"], ((1, 0), (0, 0))), "bias": up["bias"]},
                "bias_down": source.dense(f"{attention}.continuous_position_bias_mlp.2"),
            }
        }

    def merge(i: int) -> Tree:
        name = f"encoder.layers.{i - 1}.downsample"
        kernel = _corners(source.dense(f"{name}.reduction")["kernel"], _COLUMNS_FIRST)
        return {"reduction": {"kernel": kernel}, "norm": source.norm(f"{name}.norm")}

    return _huggingface(source, block, merge)


def microsoft_swin(source: Source) -> Tree:
    """The authors' Swin and Video Swin, and timm's Swin; of timm the merge stands in the stage behind it."""
    early = "layers.0.downsample.reduction.weight" in source
    return _with_joint_qkv(
        source,
        block=lambda i, j: f"layers.{i}.blocks.{j}",
        mlp=("mlp.fc1", "mlp.fc2"),
        merge=lambda i: _merge(source, f"layers.{i - early}.downsample", _COLUMNS_FIRST),
    )


def torchvision_swin3d(source: Source) -> Tree:
    """torchvision's ``SwinTransformer3d`` (Video Swin, Kinetics)."""
    return _with_joint_qkv(
        source,
        block=lambda i, j: f"features.{2 * i}.{j}",
        mlp=("mlp.0", "mlp.3"),
        merge=lambda i: _merge(source, f"features.{2 * i - 1}", _COLUMNS_FIRST),
    )


def monai_swin(source: Source, downsample: Literal["merging", "mergingv2"] = "merging") -> Tree:
    """MONAI's ``SwinTransformer`` in three dimensions, as in ``SwinUNETR``; without the merge behind its last stage.

    It has no norm behind the last stage, and its two ways to merge differ in their order alone, which the names do not
    tell: "merging" is what MONAI does unless told otherwise.
    """
    corners = tuple(itertools.product((0, 1), repeat=3))
    if downsample == "merging":
        corners = ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (1, 0, 1), (0, 1, 1), (1, 1, 1))
    return _with_joint_qkv(
        source,
        block=lambda i, j: f"layers{i + 1}.0.blocks.{j}",
        mlp=("mlp.linear1", "mlp.linear2"),
        merge=lambda i: _merge(source, f"layers{i}.0.downsample", corners),  # type: ignore[arg-type]
    )


def resize_bias(table: np.ndarray, shape: tuple[int, ...]) -> np.ndarray | None:
    """Tables of relative biases [..., 2d-1, 2h-1, 2w-1, heads] for windows of another size; None where they differ in
    more.

    In the slice bicubic, as timm and the authors of Swin do; along the slices linear, and a table of one slice is
    repeated (Liu et al. 2022, "Video Swin Transformer", section 3.3).
    """
    if table.ndim != len(shape) or table.shape[:-4] != shape[:-4] or table.shape[-1] != shape[-1]:
        return None
    for axis, taps in ((-4, _linear), (-3, _cubic), (-2, _cubic)):
        if table.shape[axis] != shape[axis]:
            weights = _resampling(table.shape[axis], shape[axis], taps)
            table = np.moveaxis(np.moveaxis(table, axis, -1) @ weights.T, -1, axis)
    return table


def _resampling(now: int, size: int, taps: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Weights [size, now] as of ``torch.nn.functional.interpolate``: centres at halves, the ends repeated beyond."""
    place = (np.arange(size) + 0.5) * now / size - 0.5
    weights = np.zeros((size, now), np.float32)
    for step in (-1, 0, 1, 2):
        nearby = np.floor(place).astype(int) + step
        np.add.at(weights, (np.arange(size), np.clip(nearby, 0, now - 1)), taps(np.abs(place - nearby)))
    return weights


def _linear(distance: np.ndarray) -> np.ndarray:
    return np.maximum(1 - distance, 0)


def _cubic(distance: np.ndarray, sharpness: float = -0.75) -> np.ndarray:
    """Keys' kernel (1981, eq. 4) with PyTorch's sharpness."""
    near = ((sharpness + 2) * distance - (sharpness + 3)) * distance**2 + 1
    far = sharpness * (((distance - 5) * distance + 8) * distance - 4)
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0))


def repeat_slices(value: np.ndarray, shape: tuple[int, ...]) -> np.ndarray | None:
    """Norm of a merge [1,2,2,c] for one of two slices [2,2,2,c]: both are normed as the one was."""
    if len(shape) != 4 or value.shape != (1, *shape[1:]):
        return None
    return np.repeat(value, shape[0], 0)


def _with_joint_qkv(
    source: Source, *, block: Callable[[int, int], str], mlp: tuple[str, str], merge: Callable[[int], Tree]
) -> Tree:
    """What the layouts share that keep queries, keys and values in one matrix."""

    def read(i: int, j: int) -> Tree:
        name = block(i, j)
        qkv = source.dense(f"{name}.attn.qkv")
        query, key, value = np.split(qkv["bias"], 3)
        del key  # adds the same to all logits of a query
        return {
            "norm1": source.norm(f"{name}.norm1"),
            "attention": {
                "qkv": {"kernel": qkv["kernel"]},
                "query_bias": query,
                "value_bias": value,
                "relative_bias": _table(source, f"{name}.attn"),
                "out": source.dense(f"{name}.attn.proj"),
            },
            "norm2": source.norm(f"{name}.norm2"),
            "mlp": {"up": source.dense(f"{name}.{mlp[0]}"), "down": source.dense(f"{name}.{mlp[1]}")},
        }

    tree = {"patches": _patches(source, "patch_embed.proj")}
    if "patch_embed.norm.weight" in source:
        tree["patch_norm"] = source.norm("patch_embed.norm")
    if "norm.weight" in source:
        tree["norm"] = source.norm("norm")
    return tree | _stages(source, lambda i, j: f"{block(i, j)}.norm1.weight", read, merge)


def _huggingface(source: Source, block: Callable[[int, int], Tree], merge: Callable[[int], Tree]) -> Tree:
    tree = {
        "patches": _patches(source, "embeddings.patch_embeddings.projection"),
        "patch_norm": source.norm("embeddings.norm"),
        "norm": source.norm("layernorm"),
    }
    return tree | _stages(source, lambda i, j: f"encoder.layers.{i}.blocks.{j}.layernorm_before.weight", block, merge)


def _huggingface_block(source: Source, name: str) -> Tree:
    return {
        "norm1": source.norm(f"{name}.layernorm_before"),
        "norm2": source.norm(f"{name}.layernorm_after"),
        "mlp": {"up": source.dense(f"{name}.intermediate.dense"), "down": source.dense(f"{name}.output.dense")},
    }


def _apart(source: Source, name: str) -> Tree:
    """Attention with three matrices, Hugging Face's."""
    query, key, value = (source.dense(f"{name}.self.{part}") for part in ("query", "key", "value"))
    return {
        "qkv": {"kernel": np.concatenate([part["kernel"] for part in (query, key, value)], -1)},
        "query_bias": query["bias"],
        "value_bias": value["bias"],
        "out": source.dense(f"{name}.output.dense"),
    }


def _stages(
    source: Source, mark: Callable[[int, int], str], block: Callable[[int, int], Tree], merge: Callable[[int], Tree]
) -> Tree:
    tree: Tree = {}
    for i in itertools.takewhile(lambda i: mark(i, 0) in source, itertools.count()):
        blocks = [block(i, j) for j in itertools.takewhile(lambda j: mark(i, j) in source, itertools.count())]  # noqa: B023
        if len(blocks) % 2:
            raise InputError(
                f"has {len(blocks)} blocks", where=f"stage {i}", fix="take a Swin whose stages have even depths"
            )
        tree[f"stage{i}"] = {"pair": {"level": stack(blocks[0::2]), "shifted": stack(blocks[1::2])}}
        if i > 0:
            tree[f"merge{i}"] = merge(i)
    return tree


def _patches(source: Source, name: str) -> Tree:
    conv = source.conv(name)
    kernel = conv["kernel"]
    return conv | {"kernel": kernel if kernel.ndim == 5 else kernel[None]}


def _merge(source: Source, name: str, corners: Corners) -> Tree:
    """The merge of version 1, which norms all corners at once."""
    norm = source.norm(f"{name}.norm")
    return {
        "norm": {part: _corners(value[:, None], corners)[..., 0] for part, value in norm.items()},
        "reduction": {"kernel": _corners(source.dense(f"{name}.reduction")["kernel"], corners)},
    }


def _corners(value: np.ndarray, corners: Corners) -> np.ndarray:
    """[corners x c, d] in their order as [slices, 2, 2, c, d]."""
    found = value.reshape(len(corners), -1, value.shape[-1])
    place = np.empty((len(corners) // 4, 2, 2, *found.shape[1:]), value.dtype)
    for corner, part in zip(corners, found, strict=True):
        place[corner] = part
    return place


def _table(source: Source, name: str) -> np.ndarray:
    """The flat table of relative biases [(2d-1)(2h-1)(2w-1), heads] as [2d-1, 2h-1, 2w-1, heads], for h = w.

    Three sides cannot be told from their product alone; the index of pairs, [d h w, d h w], which the authors, MONAI
    and torchvision keep beside the table, says more. Without it, windows are taken to lie in one slice.
    """
    table, index = source.take(f"{name}.relative_position_bias_table"), f"{name}.relative_position_index"
    count, heads = table.shape
    tokens = len(source.take(index)) if index in source else None
    for side in range(1, count + 1, 2):
        slices, rest = divmod(count, side**2)
        fits = slices == 1 if tokens is None else (slices + 1) // 2 * ((side + 1) // 2) ** 2 == tokens
        if fits and not rest:
            return table.reshape(slices, side, side, heads)
    raise InputError(
        f"has biases for {count} offsets, which are those of no square window",
        where=name,
        fix="take a Swin whose windows have as many rows as columns",
    )
