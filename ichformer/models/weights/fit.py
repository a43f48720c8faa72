"""Fits the parameters of one network to another that differs in channels, depth or input size."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import jax
import numpy as np
from flax import traverse_util

from ichformer.models.weights.layouts.swin import repeat_slices, resize_bias
from ichformer.models.weights.source import Tree

Inflation = Literal["mean", "centre"]

_MAX_PATCH = 32 * 32
"""Pixels of the largest patch whose kernel is resized; published ones have as many. Memory grows with their square."""

_Change = tuple[np.ndarray, str]
"""An array, and in a few words what was done to it; "" for nothing."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """What became of foreign parameters; names are those of our parameters, joined by "/".

    Attributes:
      loaded: all that were taken.
      changed: of these, what had to be done to them.
      misfits: what has a place but another shape, and which.
      left: what has no place, by its name in the source.
      new: our parameters that are as they were.
      numbers: how many numbers were loaded.
      total: how many the part of the model has that they belong to.
    """

    loaded: tuple[str, ...]
    changed: dict[str, str]
    misfits: dict[str, str]
    left: tuple[str, ...]
    new: tuple[str, ...]
    numbers: int
    total: int

    def __str__(self) -> str:
        """A table for people."""
        rows = [
            ("loaded", f"{len(self.loaded)} arrays, {self.numbers:,} of {self.total:,} numbers"),
            *(("changed", f"{name}: {how}") for name, how in self.changed.items()),
            *(("no fit", f"{name}: {why}") for name, why in self.misfits.items()),
            ("left", _some(self.left)),
            ("new", _some(self.new)),
        ]
        return "\n".join(f"  {word:<9}{text}" for word, text in rows if text)


def _some(names: tuple[str, ...], most: int = 8) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


@dataclass
class _Fitting:
    """What is gathered while one array after the other finds its place."""

    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    changed: dict[str, str] = field(default_factory=dict)
    misfits: dict[str, str] = field(default_factory=dict)


def fit_tree(
    params: Tree, tree: Tree, *, left: tuple[str, ...] = (), inflation: Inflation = "mean"
) -> tuple[Tree, Report]:
    """``params`` with every array of ``tree`` that has a place in it, changed where its shape has to be.

    ``tree`` belongs where its outermost names are: an encoder's parameters go to ``params["encoder"]``. Then it counts:

    - features of heads are split or merged as ours are;
    - a stem for other channels keeps its response to an input that is equal in all channels: for a multiple of its
      channels it is repeated, otherwise its mean is;
    - a 2-D kernel becomes a 3-D one (Carreira & Zisserman 2017, section 2.4): "mean" repeats it along the depth and
      divides, so that equal slices give what one slice gave, "centre" leaves the neighbours out;
    - tables of positions are resized (bicubic);
    - so are the kernels that cut patches, so that they say of a resized picture what they said of it.

    Args:
      params: of our model; not changed.
      tree: foreign parameters in the layout of our modules.
      left: names in the source that are in no tree, for the report.
      inflation: how 2-D kernels become 3-D ones.
    """
    place = _place(params, tree)
    prefix = "".join(f"{name}/" for name in place)
    ours = {"/".join(path): value for path, value in traverse_util.flatten_dict(params).items()}
    theirs = {prefix + "/".join(path): np.asarray(value) for path, value in traverse_util.flatten_dict(tree).items()}
    part = [name for name in ours if name.startswith(prefix)]
    found = _Fitting()
    for name, value in theirs.items():
        if name not in ours:
            left = (*left, name)
            continue
        shape = ours[name].shape
        change = fit_array(name, value, shape, inflation)
        if change is None:
            found.misfits[name] = f"{_by(value.shape)} for {_by(shape)}"
            continue
        found.arrays[name] = change[0].astype(ours[name].dtype)
        if change[1]:
            found.changed[name] = change[1]
    _one_stem(found, theirs, ours)
    merged = {tuple(name.split("/")): found.arrays.get(name, value) for name, value in ours.items()}
    report = Report(
        loaded=tuple(found.arrays),
        changed=found.changed,
        misfits=found.misfits,
        left=left,
        new=tuple(name for name in ours if name not in found.arrays),
        numbers=sum(value.size for value in found.arrays.values()),
        total=sum(ours[name].size for name in part),
    )
    return traverse_util.unflatten_dict(merged), report


def _one_stem(found: _Fitting, theirs: dict[str, np.ndarray], ours: dict[str, Any]) -> None:
    """A network has one stem: where several kernels would need other channels, it is another network."""
    stems = [name for name, how in found.changed.items() if "channels" in how]
    for name in stems if len(stems) > 1 else ():
        del found.arrays[name], found.changed[name]
        found.misfits[name] = f"{_by(theirs[name].shape)} for {_by(ours[name].shape)}"


def _place(params: Tree, tree: Tree) -> tuple[str, ...]:
    """Path of the part of ``params`` that shares the most outermost names with ``tree``, the outermost of equals."""
    paths = {path[:depth] for path in traverse_util.flatten_dict(params) for depth in range(min(len(path), 4))}
    return max(sorted(paths, key=lambda path: (len(path), path)), key=lambda path: len(_at(params, path) & tree.keys()))


def _at(params: Tree, path: tuple[str, ...]) -> set[str]:
    for name in path:
        params = params[name]
    return set(params)


def fit_array(name: str, value: np.ndarray, shape: tuple[int, ...], inflation: Inflation = "mean") -> _Change | None:
    """One array in another shape, and what was done; None where there is no honest way.

    Args:
      name: the parameter's, such as "encoder/patches/kernel"; its end decides.
      value: what is there.
      shape: what is wanted.
      inflation: see ``fit_tree``.
    """
    leaf = name.rpartition("/")[2]
    if value.shape == shape:
        return value, ""
    if _regroups(value.shape, shape):
        return value.reshape(shape), ""
    if leaf in RESIZERS:
        resized = RESIZERS[leaf](value, shape)
        return None if resized is None else (resized, f"resized from {_by(value.shape)} to {_by(shape)}")
    if leaf != "kernel":
        return None
    done = []
    if len(shape) == 5 and value.ndim == 4:
        value = value[None]  # a kernel of one slice
    patch = value.shape[-4:-2]
    is_patch = name.endswith("patches/kernel") and value.ndim == len(shape) and 0 < math.prod(patch) <= _MAX_PATCH
    if is_patch and patch != shape[-4:-2]:
        done.append(f"patches of {_by(patch)} to {_by(shape[-4:-2])}")
        value = resize_patches(value, shape[-4:-2])
    if len(shape) == 5 == value.ndim and value.shape[0] == 1 < shape[0] and value.shape[1:3] == shape[1:3]:
        value = inflate(value[0], shape[0], inflation)
        done.append(f"inflated to {shape[0]} slices ({inflation})")
    theirs, wanted = value.shape[-2], shape[-2]
    if theirs in (1, 3) and theirs != wanted and value.shape[:-2] + value.shape[-1:] == shape[:-2] + shape[-1:]:
        value = change_channels(value, wanted)
        done.append(f"from {theirs} to {wanted} channels")
    return (value, ", ".join(done)) if value.shape == shape else None


def change_channels(kernel: np.ndarray, channels: int) -> np.ndarray:
    """A stem's kernel [..., cin, cout] for ``channels`` of input; its sum over channels stays, place by place."""
    if channels % kernel.shape[-2]:
        kernel = kernel.sum(-2, keepdims=True)
    times = channels // kernel.shape[-2]
    return np.concatenate([kernel] * times, axis=-2) / kernel.dtype.type(times)


def inflate(kernel: np.ndarray, depth: int, inflation: Inflation) -> np.ndarray:
    """A 2-D kernel [h,w,cin,cout] as a 3-D one [depth,h,w,cin,cout]."""
    if inflation == "mean":
        return np.stack([kernel / kernel.dtype.type(depth)] * depth)
    return np.stack([kernel if i == depth // 2 else np.zeros_like(kernel) for i in range(depth)])


def resize_patches(kernel: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """A kernel [..., h, w, cin, cout] that cuts patches, for patches of ``size``.

    Its products with a patch that is resized with it (bicubic) are those that it had with the patch itself, or as near
    as can be where patches become smaller (Beyer et al. 2023, "FlexiViT", section 3.4, eq. 2-3).
    """
    *lead, h, w, cin, cout = kernel.shape
    pictures = np.eye(h * w, dtype=np.float32).reshape(h * w, h, w)
    resize = np.asarray(jax.image.resize(pictures, (h * w, *size), "bicubic")).reshape(h * w, -1)
    resized = np.linalg.pinv(resize.astype(np.float64)) @ kernel.reshape(*lead, h * w, cin * cout)
    return resized.reshape(*lead, *size, cin, cout).astype(kernel.dtype)


def resize_positions(table: np.ndarray, shape: tuple[int, ...]) -> np.ndarray | None:
    """A table of positions [rows, columns, d], or [depth, rows, columns, d], for another grid.

    Bicubic with antialiasing, as timm resizes them; a table of a slice is repeated for all depths.
    """
    if table.ndim == 3 and len(shape) == 4:
        table = np.broadcast_to(table, shape[:1] + table.shape)
    if table.ndim != len(shape) or table.shape[-1] != shape[-1]:
        return None
    return np.asarray(jax.image.resize(table, shape, "bicubic"))


RESIZERS: dict[str, Callable[[np.ndarray, tuple[int, ...]], np.ndarray | None]] = {
    "positions": resize_positions,
    "relative_bias": resize_bias,
    "scale": repeat_slices,
    "bias": repeat_slices,
}
"""By the name of a parameter: how a table that depends on the size of the input becomes one for another size."""


def _regroups(theirs: tuple[int, ...], ours: tuple[int, ...]) -> bool:
    """Whether one shape is the other with some of its axes split, such as features into heads and their features."""
    finer, coarser = (theirs, ours) if len(theirs) > len(ours) else (ours, theirs)
    rest = list(finer)
    for size in coarser:
        count = 1
        while count < size and rest:
            count *= rest.pop(0)
        if count != size:
            return False
    return len(finer) != len(coarser) and all(size == 1 for size in rest)


def _by(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "one number"
