"""Tensors of a file by the names of the other library, taken in the layout of our layers."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ichformer.errors import InputError

Tree = dict[str, Any]
"""Parameters as Flax nests them: names to arrays or further trees."""


class Source:
    """Named tensors, and which of them were taken.

    A layout (such as ``weights/layouts/vit.py``) builds a tree of our parameters from it. What it did not take is told
    to the user as left.
    """

    def __init__(self, tensors: Mapping[str, np.ndarray]) -> None:
        self._tensors = dict(tensors)
        self._taken: set[str] = set()

    def __contains__(self, name: str) -> bool:
        """Whether there is such a tensor."""
        return name in self._tensors

    @property
    def names(self) -> list[str]:
        """Of all tensors, sorted."""
        return sorted(self._tensors)

    @property
    def left(self) -> list[str]:
        """Names that nobody took, sorted."""
        return sorted(self._tensors.keys() - self._taken)

    def take(self, name: str) -> np.ndarray:
        """The tensor as it is stored; InputError where it is missing."""
        if name not in self._tensors:
            raise InputError("lacks a tensor", where=name, fix="take the whole file of weights of this architecture")
        self._taken.add(name)
        return self._tensors[name]

    def dense(self, name: str) -> Tree:
        """torch's ``Linear`` [out, in] as Flax's ``Dense``: kernel [in, out], and the bias where there is one."""
        return {"kernel": self.take(f"{name}.weight").T, **self._bias(name)}

    def conv(self, name: str) -> Tree:
        """torch's ``Conv`` [out, in/groups, *kernel] as Flax's: kernel [*kernel, in/groups, out], and the bias."""
        return {"kernel": np.moveaxis(self.take(f"{name}.weight"), (0, 1), (-1, -2)), **self._bias(name)}

    def norm(self, name: str) -> Tree:
        """A ``LayerNorm`` or ``GroupNorm``: scale and bias."""
        return {"scale": self.take(f"{name}.weight"), **self._bias(name)}

    def batch_norm(self, name: str, *, epsilon: float) -> Tree:
        """A ``BatchNorm`` as it acts at inference, a scale and a bias of each channel.

        Ioffe & Szegedy 2015, algorithm 2, line 11: ``y = gamma / sqrt(var + eps) x + (beta - gamma mean / sqrt(...))``.
        """
        weight, bias, mean, variance = self.alike(
            *(f"{name}.{part}" for part in ("weight", "bias", "running_mean", "running_var"))
        )
        scale = weight / np.sqrt(variance + epsilon)
        self._taken.add(f"{name}.num_batches_tracked")
        return {"scale": scale, "bias": bias - mean * scale}

    def alike(self, *names: str) -> list[np.ndarray]:
        """Tensors that have to be of one shape, or NumPy would stretch one over another; ValueError if they are not."""
        found = [self.take(name) for name in names]
        for name, tensor in zip(names, found, strict=True):
            if tensor.shape != found[0].shape:
                raise ValueError(f"{name} is not of the shape of {names[0]}")
        return found

    def _bias(self, name: str) -> Tree:
        return {"bias": self.take(f"{name}.bias")} if f"{name}.bias" in self._tensors else {}


def stack(trees: list[Tree]) -> Tree:
    """Equal trees as one, each leaf with a new first axis: how ``nn.scan`` keeps the parameters of equal blocks."""
    first = trees[0]
    return {
        name: stack([tree[name] for tree in trees]) if isinstance(value, dict) else np.stack([t[name] for t in trees])
        for name, value in first.items()
    }
