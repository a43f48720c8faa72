"""Which axis of an array lies on which axis of the mesh, from its path and its shape alone.

Rules over paths rather than annotations in the modules: tensor parallelism concerns the four dense layers of a
transformer's block, which every family shares, and annotated parameters would come in boxes that checkpoints, imported
weights and freezing by name had to open. The state of an optimiser has the paths of the parameters at the end of its
own, so one table places both. A rule can only cost time: XLA computes the same whatever lies where.
"""

import math
from typing import Any

import jax
from jax.sharding import PartitionSpec

from ichformer.training.optimizer.layer_depth import is_stacked

# By the last two names of a path; aligned with the last axes, as a loop over equal blocks puts one before them.
_LOGICAL: dict[tuple[str, ...], tuple[str, ...]] = {
    ("qkv", "kernel"): ("width", "qkv", "heads", "head"),
    ("qkv", "bias"): ("qkv", "heads", "head"),
    ("out", "kernel"): ("heads", "head", "width"),
    ("up", "kernel"): ("width", "hidden"),
    ("up", "bias"): ("hidden",),
    ("down", "kernel"): ("hidden", "width"),
}

# Shoeybi et al. 2019 (Megatron-LM), section 3: the first layer of each pair is cut by columns, the second by rows.
_ON_TENSOR = ("heads", "hidden")

_SMALL = 4096
"""Numbers below which an array stays whole under FSDP: gathering it takes as long as the message itself does."""


def partition(path: tuple[str, ...], shape: tuple[int, ...], *, fsdp: int, tensor: int) -> PartitionSpec:
    """Where the axes of one array lie: "tensor" by the rules above, "fsdp" on the largest axis that is left.

    An axis that its devices cannot share evenly stays whole.

    Args:
      path: names from the root of the state, or of the parameters, to the array.
      shape: of the array.
      fsdp: devices along "fsdp".
      tensor: devices along "tensor".
    """
    axes: list[str | None] = [None] * len(shape)
    logical = _LOGICAL.get(path[-2:], ())
    first = len(shape) - len(logical)
    if tensor > 1 and first >= 0:
        for axis, name in enumerate(logical, first):
            if name in _ON_TENSOR and shape[axis] % tensor == 0:
                axes[axis] = "tensor"
    if fsdp > 1 and math.prod(shape) >= _SMALL:
        # Were a loop's own axis cut, every turn would have to fetch its layer from another device.
        first = 1 if is_stacked(path) else 0
        free = [axis for axis in range(first, len(shape)) if axes[axis] is None and shape[axis] % fsdp == 0]
        if free:
            axes[max(free, key=lambda axis: shape[axis])] = "fsdp"
    return PartitionSpec(*axes)


def partitions(tree: Any, *, fsdp: int, tensor: int) -> Any:
    """``partition`` of every array of a pytree of arrays or their shapes."""
    return jax.tree_util.tree_map_with_path(
        lambda path, x: partition(tuple(map(_name, path)), x.shape, fsdp=fsdp, tensor=tensor), tree
    )


def _name(key: Any) -> str:
    return jax.tree_util.keystr((key,), simple=True)
