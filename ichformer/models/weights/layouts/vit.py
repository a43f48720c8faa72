"""Vision transformers of other libraries as parameters of ``PatchEncoder`` and ``vit3d``.

A position of a class token or register is added to that token: ours have no place. What a file has of LayerScale, gated
MLPs and biases, the model's ``BlockStyle`` has to have too. All but vit_jax and big_vision, who take "gelu_tanh", were
trained with "gelu".
"""

import itertools
import math

import numpy as np

from ichformer.errors import InputError
from ichformer.models.weights.source import Source, Tree, stack


def huggingface_vit(source: Source) -> Tree:
    """ViT and the encoder of ViTMAE, as transformers writes them."""
    blocks = []
    for name in _numbered(source, "encoder.layer.{}", "layernorm_before.weight"):
        blocks.append(
            {
                "norm1": source.norm(f"{name}.layernorm_before"),
                "attention": _huggingface_attention(source, f"{name}.attention"),
                "norm2": source.norm(f"{name}.layernorm_after"),
                "mlp": {"up": source.dense(f"{name}.intermediate.dense"), "down": source.dense(f"{name}.output.dense")},
            }
        )
    return _huggingface_outside(source) | _loop(blocks)


def huggingface_dinov2(source: Source) -> Tree:
    """DINOv2, with and without registers and SwiGLU, as transformers writes it; the mask token is left."""
    blocks = []
    for name in _numbered(source, "encoder.layer.{}", "norm1.weight"):
        up, down = ("weights_in", "weights_out") if f"{name}.mlp.weights_in.weight" in source else ("fc1", "fc2")
        blocks.append(
            {
                "norm1": source.norm(f"{name}.norm1"),
                "attention": _huggingface_attention(source, f"{name}.attention"),
                "scale1": {"scale": source.take(f"{name}.layer_scale1.lambda1")},
                "norm2": source.norm(f"{name}.norm2"),
                "mlp": {"up": source.dense(f"{name}.mlp.{up}"), "down": source.dense(f"{name}.mlp.{down}")},
                "scale2": {"scale": source.take(f"{name}.layer_scale2.lambda1")},
            }
        )
    return _huggingface_outside(source) | _loop(blocks)


def timm_vit(source: Source) -> Tree:
    """timm's ViT, DeiT and DINOv2, Meta's own DINOv2 and MAE: one naming. Norms of queries and keys are left."""
    blocks = []
    for name in _numbered(source, "blocks.{}", "norm1.weight"):
        up, down = ("w12", "w3") if f"{name}.mlp.w12.weight" in source else ("fc1", "fc2")
        block = {
            "norm1": source.norm(f"{name}.norm1"),
            "attention": _packed_attention(source, f"{name}.attn", "proj"),
            "norm2": source.norm(f"{name}.norm2"),
            "mlp": {"up": source.dense(f"{name}.mlp.{up}"), "down": source.dense(f"{name}.mlp.{down}")},
        }
        for i in (1, 2):
            if f"{name}.ls{i}.gamma" in source:
                block[f"scale{i}"] = {"scale": source.take(f"{name}.ls{i}.gamma")}
        blocks.append(block)
    placeless = {"class_token": "cls_token"}
    for registers in ("reg_token", "register_tokens"):
        if registers in source:
            placeless["registers"] = registers
    outside = {"patches": source.conv("patch_embed.proj")} | _positions(source, "pos_embed", placeless)
    if "norm.weight" in source:  # models that pool the mean have a norm behind the pool in its place
        outside["norm"] = source.norm("norm")
    return outside | _loop(blocks)


def torchvision_vit(source: Source) -> Tree:
    """torchvision's ViT; its files name the layers of the MLP as torchvision did before they were numbered."""
    blocks = []
    for name in _numbered(source, "encoder.layers.encoder_layer_{}", "ln_1.weight"):
        up, down = ("linear_1", "linear_2") if f"{name}.mlp.linear_1.weight" in source else ("0", "3")
        joined = {
            "kernel": source.take(f"{name}.self_attention.in_proj_weight").T,
            "bias": source.take(f"{name}.self_attention.in_proj_bias"),
        }
        blocks.append(
            {
                "norm1": source.norm(f"{name}.ln_1"),
                "attention": {
                    "qkv": {leaf: value.reshape(*value.shape[:-1], 3, -1) for leaf, value in joined.items()},
                    "out": source.dense(f"{name}.self_attention.out_proj"),
                },
                "norm2": source.norm(f"{name}.ln_2"),
                "mlp": {"up": source.dense(f"{name}.mlp.{up}"), "down": source.dense(f"{name}.mlp.{down}")},
            }
        )
    return {
        "patches": source.conv("conv_proj"),
        "norm": source.norm("encoder.ln"),
        **_positions(source, "encoder.pos_embedding", {"class_token": "class_token"}),
        **_loop(blocks),
    }


def vit_jax(source: Source) -> Tree:
    """The ``.npz`` files of google-research/vision_transformer."""
    parts = ("LayerNorm_0", "MultiHeadDotProductAttention_1", "LayerNorm_2", "MlpBlock_3")
    return _google(source, parts, "Transformer/posembed_input/pos_embedding")


def big_vision_vit(source: Source) -> Tree:
    """The ``.npz`` files of google-research/big_vision; a MAP head is left."""
    parts = ("LayerNorm_0", "MultiHeadDotProductAttention_0", "LayerNorm_1", "MlpBlock_0")
    return _google(source, parts, "pos_embedding")


def monai_vit(source: Source) -> Tree:
    """MONAI's 3-D ViT with patches cut by a convolution, as parameters of ``vit3d`` with joint attention.

    The first of its three axes is taken as the slices. Its table of positions has no grid and fits a model whose
    ``position_grid`` counts as many. ``norm_cross_attn`` does nothing there and is left.
    """
    blocks = [
        {
            "norm1": source.norm(f"{name}.norm1"),
            "attention": _packed_attention(source, f"{name}.attn", "out_proj"),
            "norm2": source.norm(f"{name}.norm2"),
            "mlp": {"up": source.dense(f"{name}.mlp.linear1"), "down": source.dense(f"{name}.mlp.linear2")},
        }
        for name in _numbered(source, "blocks.{}", "norm1.weight")
    ]
    return {
        "patches": source.conv("patch_embedding.patch_embeddings"),
        "positions": source.take("patch_embedding.position_embeddings")[0],
        "norm": source.norm("norm"),
        **_loop(blocks),
    }


def _google(source: Source, parts: tuple[str, ...], positions: str) -> Tree:
    norm1, attention, norm2, mlp = parts
    blocks = []
    for name in _numbered(source, "Transformer/encoderblock_{}", f"{norm1}/scale"):
        qkv = [_leaves(source, f"{name}/{attention}/{each}") for each in ("query", "key", "value")]
        blocks.append(
            {
                "norm1": _leaves(source, f"{name}/{norm1}"),
                "attention": {
                    "qkv": {
                        "kernel": np.stack([each["kernel"] for each in qkv], axis=1),
                        "bias": np.stack([each["bias"] for each in qkv]),
                    },
                    "out": _leaves(source, f"{name}/{attention}/out"),
                },
                "norm2": _leaves(source, f"{name}/{norm2}"),
                "mlp": {
                    "up": _leaves(source, f"{name}/{mlp}/Dense_0"),
                    "down": _leaves(source, f"{name}/{mlp}/Dense_1"),
                },
            }
        )
    outside = {"patches": _leaves(source, "embedding"), "norm": _leaves(source, "Transformer/encoder_norm")}
    return outside | _positions(source, positions, {"class_token": "cls"}) | _loop(blocks)


def _leaves(source: Source, name: str) -> Tree:
    return {leaf: source.take(f"{name}/{leaf}") for leaf in ("kernel", "scale", "bias") if f"{name}/{leaf}" in source}


def _huggingface_outside(source: Source) -> Tree:
    placeless = {"class_token": "embeddings.cls_token"}
    if "embeddings.register_tokens" in source:
        placeless["registers"] = "embeddings.register_tokens"
    return {
        "patches": source.conv("embeddings.patch_embeddings.projection"),
        "norm": source.norm("layernorm"),
        **_positions(source, "embeddings.position_embeddings", placeless),
    }


def _huggingface_attention(source: Source, name: str) -> Tree:
    qkv = [source.dense(f"{name}.attention.{each}") for each in ("query", "key", "value")]
    joined = {leaf: np.stack([each[leaf] for each in qkv], axis=-2) for leaf in qkv[0]}
    return {"qkv": joined, "out": source.dense(f"{name}.output.dense")}


def _packed_attention(source: Source, name: str, out: str) -> Tree:
    """Queries, keys and values in one matrix, in that order."""
    qkv = {leaf: value.reshape(*value.shape[:-1], 3, -1) for leaf, value in source.dense(f"{name}.qkv").items()}
    return {"qkv": qkv, "out": source.dense(f"{name}.{out}")}


def _positions(source: Source, table: str, placeless: dict[str, str]) -> Tree:
    """The table of the patches as a square grid, and the tokens without a place: ours to their names there."""
    tokens = {ours: source.take(theirs) for ours, theirs in placeless.items() if theirs in source}
    count = sum(token.shape[1] for token in tokens.values())
    positions = source.take(table)[0]
    for before in (count, 1, 0):
        side = math.isqrt(max(len(positions) - before, 0))
        if side and side**2 == len(positions) - before:
            break
    else:
        raise InputError(
            f"has {len(positions)} positions, which are no square of patches",
            where=table,
            fix="take weights that were trained on square pictures",
        )
    start = 0
    for name, token in tokens.items():
        own = positions[start : min(start + token.shape[1], before)]
        tokens[name] = token + np.pad(own, ((0, token.shape[1] - len(own)), (0, 0)))[None]
        start += token.shape[1]
    return tokens | {"positions": positions[before:].reshape(side, side, -1)}


def _numbered(source: Source, pattern: str, mark: str) -> list[str]:
    """Names of the blocks: ``pattern`` with 0, 1, 2, ... as long as there is a ``mark`` in them."""
    separator = "/" if "/" in pattern else "."
    names = (pattern.format(i) for i in itertools.count())
    return list(itertools.takewhile(lambda name: f"{name}{separator}{mark}" in source, names))


def _loop(blocks: list[Tree]) -> Tree:
    """Where ``PatchEncoder`` and ``VolumeEncoder`` keep their blocks."""
    return {"blocks": {"block": stack(blocks)}}
