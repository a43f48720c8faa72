"""Every layout of weights that can be read: its architecture, its library and how it is recognised."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ichformer.errors import InputError
from ichformer.models.layers.attention.transformer import BlockStyle
from ichformer.models.weights.layouts import convnext, efficientnet, gru, maxvit, resnet, swin, vit
from ichformer.models.weights.source import Source, Tree


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How one library names the tensors of one architecture.

    Attributes:
      name: for people, "library architecture".
      marks: names that every file of this layout has and that no other layout has together; whatever stands before them
        ("module.", "vit.", "params/") stands before all others too.
      convert: the tensors as the parameters of our encoder (or 3-D network), nested as Flax nests them. Features of
        attention heads need not be split: ``fit`` does it.
      needs: how the model has to be built for them, as far as it has these options.
    """

    name: str
    marks: tuple[str, ...]
    convert: Callable[[Source], Tree]
    needs: Mapping[str, Any] = field(default_factory=dict)


def _vit(**style: Any) -> dict[str, Any]:
    return {"positions": "learned", "class_token": True, "style": BlockStyle(**style)}


_FOLDED = {"norm": "affine"}
"""Batch norms with frozen statistics."""


_DINOV2 = _vit(mlp="gelu", layer_scale=1.0)
_DINOV2_REGISTERS = _DINOV2 | {"num_registers": 4}
"""As all that are published have (Darcet et al. 2024)."""


LAYOUTS: tuple[Layout, ...] = (
    Layout(
        name="Hugging Face ViT",
        marks=("encoder.layer.0.layernorm_before.weight", "embeddings.patch_embeddings.projection.weight"),
        convert=vit.huggingface_vit,
        needs=_vit(mlp="gelu", epsilon=1e-12),
    ),
    Layout(
        name="Hugging Face DINOv2 with registers",
        marks=("encoder.layer.0.layer_scale1.lambda1", "embeddings.register_tokens"),
        convert=vit.huggingface_dinov2,
        needs=_DINOV2_REGISTERS,
    ),
    Layout(
        name="Hugging Face DINOv2",
        marks=("encoder.layer.0.layer_scale1.lambda1", "embeddings.patch_embeddings.projection.weight"),
        convert=vit.huggingface_dinov2,
        needs=_DINOV2,
    ),
    Layout(
        name="timm ViT with LayerScale and registers (DINOv2)",
        marks=("blocks.0.attn.qkv.weight", "patch_embed.proj.weight", "reg_token", "blocks.0.ls1.gamma"),
        convert=vit.timm_vit,
        needs=_DINOV2_REGISTERS,
    ),
    Layout(
        name="facebookresearch DINOv2 with registers",
        marks=("blocks.0.attn.qkv.weight", "patch_embed.proj.weight", "register_tokens", "blocks.0.ls1.gamma"),
        convert=vit.timm_vit,
        needs=_DINOV2_REGISTERS,
    ),
    Layout(
        name="timm ViT with LayerScale (DINOv2)",
        marks=("blocks.0.attn.qkv.weight", "patch_embed.proj.weight", "pos_embed", "blocks.0.ls1.gamma"),
        convert=vit.timm_vit,
        needs=_DINOV2,
    ),
    Layout(
        name="timm ViT",
        marks=("blocks.0.attn.qkv.weight", "patch_embed.proj.weight", "pos_embed"),
        convert=vit.timm_vit,
        needs=_vit(mlp="gelu"),
    ),
    Layout(
        name="torchvision ViT",
        marks=("encoder.layers.encoder_layer_0.self_attention.in_proj_weight", "conv_proj.weight"),
        convert=vit.torchvision_vit,
        needs=_vit(mlp="gelu"),
    ),
    Layout(
        name="vit_jax ViT",
        marks=("Transformer/encoderblock_0/MultiHeadDotProductAttention_1/query/kernel", "embedding/kernel"),
        convert=vit.vit_jax,
        needs=_vit(),
    ),
    Layout(
        name="big_vision ViT",
        marks=("Transformer/encoderblock_0/MultiHeadDotProductAttention_0/query/kernel", "embedding/kernel"),
        convert=vit.big_vision_vit,
        needs=_vit(),
    ),
    Layout(
        name="MONAI ViT",
        marks=("blocks.0.attn.qkv.weight", "patch_embedding.patch_embeddings.weight"),
        convert=vit.monai_vit,
    ),
    Layout(
        name="transformers Swin",
        marks=(
            "encoder.layers.0.blocks.0.attention.self.relative_position_bias_table",
            "embeddings.patch_embeddings.projection.weight",
        ),
        convert=swin.huggingface_swin,
    ),
    Layout(
        name="transformers Swin v2",
        marks=(
            "encoder.layers.0.blocks.0.attention.self.continuous_position_bias_mlp.0.weight",
            "embeddings.patch_embeddings.projection.weight",
        ),
        convert=swin.huggingface_swinv2,
        needs={"version": "v2"},
    ),
    Layout(
        name="Swin or Video Swin of its authors or timm",
        marks=("layers.0.blocks.0.attn.relative_position_bias_table", "patch_embed.proj.weight"),
        convert=swin.microsoft_swin,
    ),
    Layout(
        name="torchvision Swin3D",
        marks=("features.0.0.attn.relative_position_bias_table", "patch_embed.proj.weight"),
        convert=swin.torchvision_swin3d,
    ),
    Layout(
        name="MONAI Swin",
        marks=("layers1.0.blocks.0.attn.relative_position_bias_table", "patch_embed.proj.weight"),
        convert=swin.monai_swin,
    ),
    Layout(
        name="torchvision ResNet (timm, MONAI, MedicalNet)",
        marks=("conv1.weight", "bn1.running_var", "layer1.0.conv1.weight"),
        convert=resnet.torchvision_resnet,
        needs=_FOLDED,
    ),
    Layout(
        name="Hugging Face ResNet",
        marks=("embedder.embedder.convolution.weight", "encoder.stages.0.layers.0.layer.0.convolution.weight"),
        convert=resnet.huggingface_resnet,
        needs=_FOLDED,
    ),
    Layout(
        name="Hugging Face ConvNeXt",
        marks=("embeddings.patch_embeddings.weight", "encoder.stages.0.layers.0.dwconv.weight"),
        convert=convnext.huggingface_convnext,
    ),
    Layout(
        name="timm ConvNeXt",
        marks=("stem.0.weight", "stages.0.blocks.0.conv_dw.weight", "stages.0.blocks.0.mlp.fc1.weight"),
        convert=convnext.timm_convnext,
    ),
    Layout(
        name="facebookresearch ConvNeXt",
        marks=("downsample_layers.0.0.weight", "stages.0.0.dwconv.weight", "stages.0.0.gamma"),
        convert=convnext.authors_convnext,
    ),
    Layout(
        name="torchvision ConvNeXt",
        marks=("features.0.0.weight", "features.1.0.layer_scale", "features.1.0.block.0.weight"),
        convert=convnext.torchvision_convnext,
    ),
    Layout(
        name="torchvision MaxViT",
        marks=("stem.0.0.weight", "blocks.0.layers.0.layers.MBconv.layers.pre_norm.weight"),
        convert=maxvit.torchvision_maxvit,
        needs=_FOLDED,
    ),
    Layout(
        name="torch.nn.GRU, bidirectional",
        marks=("weight_ih_l0", "weight_hh_l0_reverse"),
        convert=gru.torch_gru,
    ),
    Layout(
        name="EfficientNet-PyTorch (Lite; MONAI)",
        marks=("_conv_stem.weight", "_conv_head.weight", "_bn1.running_var"),
        convert=efficientnet.pytorch_efficientnet,
        needs=_FOLDED,
    ),
)
"""The first that recognises a file is taken: those with more marks stand before those with fewer."""


@dataclass(frozen=True, kw_only=True)
class Recognised:
    """A file's layout and its tensors without what stands before their names; ``others`` have names of other parts."""

    layout: Layout
    source: Source
    prefix: str
    others: tuple[str, ...]

    @property
    def left(self) -> tuple[str, ...]:
        """Names in the file, all that ``layout.convert`` has not taken."""
        return (*(self.prefix + name for name in self.source.left), *self.others)


def named_layout(name: str) -> Layout:
    """The layout called ``name``; InputError for one that is not there."""
    for layout in LAYOUTS:
        if layout.name == name:
            return layout
    raise InputError(
        f"there is no layout {name!r}", where="--model.pretrained-layout", fix="leave it out: the file says it"
    )


def recognise(tensors: Mapping[str, np.ndarray], *, where: object) -> Recognised:
    """Whose tensors these are, by their names; InputError, naming ``where``, for those of nobody we know."""
    for layout in LAYOUTS:
        first = layout.marks[0]
        prefixes = {name.removesuffix(first) for name in tensors if name.endswith(first)}
        for prefix in sorted(prefixes, key=len):
            if all(prefix + mark in tensors for mark in layout.marks):
                mine = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
                others = tuple(sorted(name for name in tensors if not name.startswith(prefix)))
                return Recognised(layout=layout, source=Source(mine), prefix=prefix, others=others)
    raise InputError(
        f"has tensors named like {', '.join(sorted(tensors)[:3])}, which is no layout we know",
        where=where,
        fix=f"take weights of {', '.join(layout.name for layout in LAYOUTS)}",
    )
