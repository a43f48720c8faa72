"""Reads files of weights as NumPy arrays by name: safetensors, NumPy's .npz and torch's."""

import math
import tokenize
import warnings
import zipfile
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import safetensors

from ichformer.errors import InputError, one_line
from ichformer.models.weights.torch_files import DAMAGE, LEGACY_START, read_torch

_MOST_UNPACKED = 20
"""Weights hardly get smaller by compression: a .npz that grows more than this was made to fill a memory."""


def read_tensors(path: Path) -> dict[str, np.ndarray]:
    """All tensors of a file, known by its content; what has a fraction comes as float32.

    Args:
      path: ``.safetensors``, ``.npz`` (vit_jax, big_vision), or what torch.save wrote, in either of its formats:
        a state dict, or a dictionary that holds one beside other things.

    Raises:
      InputError: no such file, none of these formats, a damaged file, or one that wants to run code.
    """
    try:
        with path.open("rb") as file:
            start = file.read(len(LEGACY_START))
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", where=path, fix="name a file of weights") from None
    if start.startswith(LEGACY_START):
        found = read_torch(path)
    elif start.startswith(b"PK\x03\x04"):
        found = _read_npz(path) if _is_npz(path) else read_torch(path)
    elif start[8:9] == b"{":
        found = _read_safetensors(path)
    else:
        raise InputError(
            "is neither safetensors, nor .npz, nor written by torch.save", where=path, fix="convert it to safetensors"
        )
    if not found:
        raise InputError("holds no tensors", where=path, fix="name a file of weights")
    return {name: _as_float32(array) for name, array in found.items()}


def _as_float32(array: np.ndarray) -> np.ndarray:
    return array if array.dtype.kind in "biu" else array.astype(np.float32, copy=False)


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    try:
        with safetensors.safe_open(path, framework="np") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, it is no mapping
    except (safetensors.SafetensorError, *DAMAGE) as error:
        raise InputError(f"is damaged ({one_line(error)})", where=path, fix="fetch it again") from None


def _is_npz(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return all(name.endswith(".npy") for name in archive.namelist())
    except DAMAGE:
        return False


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    try:
        with zipfile.ZipFile(path) as archive:
            total = sum(info.file_size for info in archive.infolist())
            if total > _MOST_UNPACKED * path.stat().st_size:
                raise ValueError(f"it would unpack to {total} bytes")
            return {info.filename.removesuffix(".npy"): _read_npy(archive, info) for info in archive.infolist()}
    except DAMAGE as error:
        raise InputError(f"is damaged ({one_line(error)})", where=path, fix="fetch it again") from None


def _read_npy(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    with archive.open(info) as file:
        shape, fortran, dtype = _read_npy_header(file)
        # big_vision stores bfloat16 as two raw bytes, for which .npy has no name.
        if dtype.kind not in "biuf" and dtype != np.dtype("V2"):
            kind = "Python objects" if dtype.hasobject else one_line(dtype, max_chars=40)
            raise ValueError(f"an array holds {kind}, not numbers")
        # Before any memory is taken: the header may say what it likes.
        if file.tell() + math.prod(shape) * dtype.itemsize != info.file_size:
            raise ValueError("an array is not as large as said")
        flat = np.frombuffer(file.read(), dtype)
    flat = flat.view(ml_dtypes.bfloat16) if dtype == np.dtype("V2") else flat
    return flat.reshape(shape, order="F" if fortran else "C")


def _read_npy_header(file: Any) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = np.lib.format.read_magic(file)
    read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in read_header:
        raise ValueError(f"an array is of version {version}")
    try:
        with warnings.catch_warnings(action="ignore"):  # of Python's own parser, which NumPy gives the header to
            return read_header[version](file)
    except (tokenize.TokenError, MemoryError):
        raise ValueError("the header of an array makes no sense") from None
