"""Tensors out of torch's files, without torch and without running what is in them.

torch.save writes a pickle and, beside it, the bytes of its storages: in a zip since torch 1.6, one behind the other
before. A pickle can call anything it can name: here it can name storages, the functions that make tensors of them, and
``OrderedDict``. It is read by Python's own unpickler in Python, since the one in C takes as much memory as a file says.
"""

import io
import math
import mmap
import pickle
import struct
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import ml_dtypes
import numpy as np

from ichformer.errors import InputError, one_line

_MAGIC = 0x1950A86A20F9469CFC6C
"""First in torch's older format, as a pickle of its own."""

LEGACY_START = pickle.dumps(_MAGIC, protocol=2)

DAMAGE = (
    *(
        OSError,
        EOFError,
        zipfile.BadZipFile,
        zlib.error,
        pickle.UnpicklingError,
        RuntimeError,
        SyntaxError,
        struct.error,
    ),
    *(ValueError, TypeError, LookupError, AttributeError, ArithmeticError, AssertionError),
)
"""What damaged zips, pickles and arrays make their readers raise: nowhere written down, found by fuzzing."""

_WRAPPERS = ("state_dict", "model_state_dict", "model", "teacher")
"""Under what name training scripts put the weights beside an optimiser and an epoch."""

_DEEPEST = 4
_MOST_SHARED = 8
"""How often the numbers of a file may stand in its tensors, all in all; tied weights stand twice."""

_FIX = "save the model's state_dict() with torch.save, or as .safetensors"

_DTYPES: dict[str, np.dtype] = {
    "Float": np.dtype(np.float32),
    "Double": np.dtype(np.float64),
    "Half": np.dtype(np.float16),
    "BFloat16": np.dtype(ml_dtypes.bfloat16),
    "Long": np.dtype(np.int64),
    "Int": np.dtype(np.int32),
    "Short": np.dtype(np.int16),
    "Char": np.dtype(np.int8),
    "Byte": np.dtype(np.uint8),
    "Bool": np.dtype(np.bool_),
}


@dataclass(frozen=True)
class _Storage:
    """Bytes that lie elsewhere in the file, and what they were said to be."""

    key: str
    dtype: np.dtype
    count: int


@dataclass(frozen=True)
class _Tensor:
    """A view of a storage, before its bytes are read."""

    storage: _Storage
    dtype: np.dtype
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def view(self, flat: np.ndarray) -> np.ndarray:
        """The tensor over its storage; ValueError where the storage is too small for it."""
        numbers = (self.offset, *self.shape, *self.strides)
        if len(self.shape) != len(self.strides) or not all(type(n) is int and 0 <= n < 2**48 for n in numbers):
            raise ValueError("a tensor's shape makes no sense")
        # A view with strides of 0 would grow when it is copied.
        last = self.offset + sum((n - 1) * stride for n, stride in zip(self.shape, self.strides, strict=True))
        if 0 not in self.shape and (last >= flat.size or math.prod(self.shape) > flat.size):
            raise ValueError("a tensor is larger than its storage")
        strides = [stride * flat.itemsize for stride in self.strides]
        start = flat[self.offset :] if 0 not in self.shape else flat[:0]
        return np.lib.stride_tricks.as_strided(start, self.shape, strides, writeable=False)


def read_torch(path: Path) -> dict[str, np.ndarray]:
    """The tensors by name of a state dict, or of the one in a dictionary with an optimiser and an epoch beside it.

    Raises:
      InputError: a damaged file, or one that holds more than tensors, numbers, strings and containers of them.
    """
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                return _read_zip(archive, path)
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _read_legacy(data, path)
    except DAMAGE as error:
        raise InputError(f"is damaged ({one_line(error)})", where=path, fix="fetch it again") from None


def _read_zip(archive: zipfile.ZipFile, path: Path) -> dict[str, np.ndarray]:
    members = {info.filename: info for info in archive.infolist()}
    (name,) = [name for name in members if name == "data.pkl" or name.endswith("/data.pkl")]
    folder = name.removesuffix("data.pkl")
    # torch stores its members as they are, so that all of them are no larger than the file.
    total = sum(info.file_size for info in members.values())
    if total > path.stat().st_size or any(info.compress_type != zipfile.ZIP_STORED for info in members.values()):
        raise ValueError("its members are larger than the file, or compressed")
    order = f"{folder}byteorder"
    if order in members and archive.read(order) != b"little":
        raise ValueError("it is not little-endian")
    found = _Unpickler(io.BytesIO(archive.read(name)), path).load()

    def read(storage: _Storage) -> np.ndarray:
        return np.frombuffer(archive.read(f"{folder}data/{storage.key}"), storage.dtype, storage.count)

    return _arrays(_state_dict(found, path), read)


def _read_legacy(data: mmap.mmap, path: Path) -> dict[str, np.ndarray]:
    magic, _, system = (_Unpickler(data, path).load() for _ in range(3))
    if magic != _MAGIC or not system["little_endian"]:
        raise ValueError("it is not torch's, or not little-endian")
    pickled = _Unpickler(data, path)
    found, keys = pickled.load(), _Unpickler(data, path).load()
    places: dict[str, tuple[int, int]] = {}
    for key in keys:
        count = int.from_bytes(data.read(8), "little")
        places[key] = data.tell(), count
        data.seek(count * pickled.item_bytes[key], io.SEEK_CUR)  # ValueError where that is beyond the end

    def read(storage: _Storage) -> np.ndarray:
        start, count = places[storage.key]
        if count < storage.count:
            raise ValueError("a storage is smaller than said")
        # A copy, since the map is closed in the end.
        return np.frombuffer(data[start : start + storage.count * storage.dtype.itemsize], storage.dtype)

    return _arrays(_state_dict(found, path), read)


def _state_dict(found: Any, path: Path) -> dict[str, _Tensor]:
    for _ in range(_DEEPEST):
        if not isinstance(found, dict):
            break
        tensors = {str(name): value for name, value in found.items() if isinstance(value, _Tensor)}
        inner = [found[name] for name in _WRAPPERS if isinstance(found.get(name), dict)]
        if tensors or not inner:
            return tensors
        found = inner[0]
    raise InputError("is not a dictionary of tensors", where=path, fix=_FIX)


def _arrays(tensors: dict[str, _Tensor], read: Callable[[_Storage], np.ndarray]) -> dict[str, np.ndarray]:
    """Each storage is read once."""
    flat = {storage: read(storage) for storage in {tensor.storage for tensor in tensors.values()}}
    found = {name: tensor.view(flat[tensor.storage].view(tensor.dtype)) for name, tensor in tensors.items()}
    # Views take no memory, but whoever copies them does: a small file could hold one storage under a million names.
    if sum(array.nbytes for array in found.values()) > _MOST_SHARED * sum(array.nbytes for array in flat.values()):
        raise ValueError("its tensors share their storages too often")
    return found


class _Unpickler(pickle._Unpickler):
    """Reads one pickle of protocol 2; names, calls and opcodes that a file of tensors does not need are refused."""

    def __init__(self, file: Any, path: Path):
        super().__init__(file)
        self._path = path
        self.item_bytes: dict[str, int] = {}

    def find_class(self, module: str, name: str) -> Any:
        """The few things that a pickle may name."""
        if (module, name) not in _KNOWN:
            self._refuse(f"{module}.{name}")
        return _KNOWN[module, name]

    def persistent_load(self, pid: Any) -> _Storage:
        """A storage, by the place of its bytes."""
        if not (isinstance(pid, tuple) and pid and isinstance(pid[0], str)):
            raise ValueError("a storage makes no sense")
        if pid[0] != "storage":
            self._refuse(f"a {pid[0]}")
        _, dtype, key, _, count, *view = pid
        if not (isinstance(dtype, np.dtype) and isinstance(key, str) and type(count) is int and count >= 0):
            raise ValueError("a storage makes no sense")
        if any(part is not None for part in view):
            raise ValueError("storages that are views of others are not read")
        self.item_bytes[key] = dtype.itemsize
        return _Storage(key, dtype, count)

    def load_build(self) -> None:
        """Drops what would be set on an object: of an ordered dictionary it is torch's note of versions."""
        self.stack.pop()  # type: ignore[attr-defined]

    def load_setitem(self) -> None:
        """Sets one entry of a dictionary, whose name has to be a text or a number."""
        _check_name(self.stack[-2])  # type: ignore[attr-defined]
        super().load_setitem()  # type: ignore[misc]

    def load_setitems(self) -> None:
        """Sets several entries."""
        items = self.pop_mark()  # type: ignore[attr-defined]
        for name, value in zip(items[::2], items[1::2], strict=True):
            _check_name(name)
            self.stack[-1][name] = value  # type: ignore[attr-defined]

    def _refuse(self, what: str) -> NoReturn:
        raise InputError(f"holds {one_line(what)}, and only tensors are read", where=self._path, fix=_FIX)

    dispatch: ClassVar[Any] = {
        code[0]: pickle._Unpickler.dispatch[code[0]]
        for code in (
            *(pickle.PROTO, pickle.STOP, pickle.MARK, pickle.GLOBAL, pickle.REDUCE, pickle.BINPERSID),
            *(pickle.NONE, pickle.NEWTRUE, pickle.NEWFALSE, pickle.BININT, pickle.BININT1, pickle.BININT2),
            *(pickle.LONG1, pickle.BINFLOAT, pickle.BINUNICODE, pickle.BINSTRING, pickle.SHORT_BINSTRING),
            *(pickle.EMPTY_TUPLE, pickle.TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3, pickle.EMPTY_LIST),
            *(pickle.APPEND, pickle.APPENDS, pickle.EMPTY_DICT),
            *(pickle.BINPUT, pickle.LONG_BINPUT, pickle.BINGET, pickle.LONG_BINGET),
        )
    } | {
        pickle.BUILD[0]: load_build,
        pickle.SETITEM[0]: load_setitem,
        pickle.SETITEMS[0]: load_setitems,
    }


def _check_name(name: Any) -> None:
    """Tuples that hold one another twice over take for ever to hash and to print, so that no entry is called by one."""
    if type(name) not in (str, int):
        raise ValueError(f"a dictionary has an entry called by a {type(name).__name__}")


def _tensor_v2(storage: _Storage, offset: int, size: Any, stride: Any, *_: Any) -> _Tensor:
    return _Tensor(storage, storage.dtype, offset, tuple(size), tuple(stride))


def _tensor_v3(
    storage: _Storage, offset: int, size: Any, stride: Any, _grad: Any, _hooks: Any, dtype: np.dtype, *_: Any
) -> _Tensor:
    return _Tensor(storage, dtype, offset, tuple(size), tuple(stride))


def _parameter(tensor: _Tensor, *_: Any) -> _Tensor:
    return tensor


def _ordered(items: Any = ()) -> OrderedDict:
    for name, _ in items:
        _check_name(name)
    return OrderedDict(items)


def _device(*name: Any) -> str:
    if not all(type(part) in (str, int) for part in name):
        raise ValueError("a device makes no sense")
    return ":".join(map(str, name))


_KNOWN: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): _ordered,
    ("torch", "Size"): lambda sizes=(): tuple(sizes),
    ("torch", "device"): _device,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor_v2,
    ("torch._utils", "_rebuild_tensor_v3"): _tensor_v3,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _parameter,
    ("torch.storage", "UntypedStorage"): _DTYPES["Byte"],
    **{("torch", f"{name}Storage"): dtype for name, dtype in _DTYPES.items()},
    **{("torch", dtype.name): dtype for dtype in _DTYPES.values()},
}
