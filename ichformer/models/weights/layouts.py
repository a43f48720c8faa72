"""Whose weights we read: every layout of names that other libraries give to the tensors of an architecture."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from ichformer.errors import InputError
from ichformer.models.weights.convnext import huggingface_convnext
from ichformer.models.weights.efficientnet import pytorch_efficientnet
from ichformer.models.weights.resnet import huggingface_resnet, torchvision_resnet
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
    """

    name: str
    marks: tuple[str, ...]
    convert: Callable[[Source], Tree]


LAYOUTS: tuple[Layout, ...] = (
    Layout(
        name="torchvision ResNet (timm, MONAI, MedicalNet)",
        marks=("conv1.weight", "bn1.running_var", "layer1.0.conv1.weight"),
        convert=torchvision_resnet,
    ),
    Layout(
        name="Hugging Face ResNet",
        marks=("embedder.embedder.convolution.weight", "encoder.stages.0.layers.0.layer.0.convolution.weight"),
        convert=huggingface_resnet,
    ),
    Layout(
        name="Hugging Face ConvNeXt",
        marks=("embeddings.patch_embeddings.weight", "encoder.stages.0.layers.0.dwconv.weight"),
        convert=huggingface_convnext,
    ),
    Layout(
        name="EfficientNet-PyTorch (Lite; MONAI)",
        marks=("_conv_stem.weight", "_conv_head.weight", "_bn1.running_var"),
        convert=pytorch_efficientnet,
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
        mend=f"take weights of {', '.join(layout.name for layout in LAYOUTS)}",
    )
