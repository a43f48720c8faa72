"""Files of weights of every format that is read, whose headers, pickles, names and shapes are broken."""

import functools
import io
import pickle
import re
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from experiments.fuzzing.archive import zip_field
from experiments.fuzzing.kind import Kind, Source
from experiments.fuzzing.mutations import ANY, JSON, Mutation, by_name, choose, special_or_any
from ichformer.models.weights.files import read_tensors
from ichformer.models.weights.layouts import recognise
from ichformer.models.weights.load import load_weights
from ichformer.models.weights.source import Tree
from ichformer.models.weights.torch_files import LEGACY_START

Tensors = dict[str, np.ndarray]


def _vit() -> Tensors:
    """timm's names for a ViT of two blocks."""
    shapes: dict[str, tuple[int, ...]] = {"cls_token": (1, 1, 8), "pos_embed": (1, 17, 8)}
    shapes |= {
        "patch_embed.proj.weight": (8, 3, 4, 4),
        "patch_embed.proj.bias": (8,),
        "norm.weight": (8,),
        "norm.bias": (8,),
    }
    for block in ("blocks.0.", "blocks.1."):
        for name, n_out, n_in in (("attn.qkv", 24, 8), ("attn.proj", 8, 8), ("mlp.fc1", 16, 8), ("mlp.fc2", 8, 16)):
            shapes |= {f"{block}{name}.weight": (n_out, n_in), f"{block}{name}.bias": (n_out,)}
        shapes |= {f"{block}{norm}.{part}": (8,) for norm in ("norm1", "norm2") for part in ("weight", "bias")}
    return _random(shapes)


def _resnet() -> Tensors:
    """torchvision's names for a ResNet of one block a stage."""
    shapes: dict[str, tuple[int, ...]] = {"conv1.weight": (8, 3, 7, 7)}
    norms = {"bn1": 8}
    for stage in (1, 2, 3, 4):
        for i in (1, 2):
            shapes[f"layer{stage}.0.conv{i}.weight"] = (8, 8, 3, 3)
            norms[f"layer{stage}.0.bn{i}"] = 8
    parts = ("weight", "bias", "running_mean", "running_var")
    return _random(shapes | {f"{name}.{part}": (size,) for name, size in norms.items() for part in parts})


def _gru() -> Tensors:
    """torch's names for a GRU of one layer that reads both ways."""
    ends = ("l0", "l0_reverse")
    return _random({f"{part}_{end}": (12, 4) for part in ("weight_ih", "weight_hh") for end in ends}) | _random(
        {f"{part}_{end}": (12,) for part in ("bias_ih", "bias_hh") for end in ends}
    )


_MAKES: dict[str, Callable[[], Tensors]] = {"vit": _vit, "resnet": _resnet, "gru": _gru}


def _random(shapes: dict[str, tuple[int, ...]]) -> Tensors:
    rng = np.random.default_rng(0)
    return {name: rng.uniform(0.1, 1, shape).astype(np.float32) for name, shape in shapes.items()}


class _Name:
    """Pickled as the bare name of something of another module."""

    def __init__(self, module: str, name: str):
        self.module, self.name = module, name


class _Call:
    """Pickled as a call."""

    def __init__(self, function: _Name, *args: object):
        self.function, self.args = function, args


class _Storage:
    """Pickled as torch pickles a storage: as what lies elsewhere."""

    def __init__(self, number: int, array: np.ndarray):
        kind = {"f": "Float", "i": "Long", "u": "Byte", "b": "Bool"}[array.dtype.kind]
        self.id = ("storage", _Name("torch", f"{kind}Storage"), str(number), "cpu", array.size)


class _Pickler(pickle._Pickler):
    """torch's pickle without torch."""

    def persistent_id(self, obj: object) -> object:
        return obj.id if isinstance(obj, _Storage) else None

    def save(self, obj: object, save_persistent_id: bool = True) -> None:
        if isinstance(obj, _Name):
            self.write(pickle.GLOBAL + f"{obj.module}\n{obj.name}\n".encode())  # type: ignore[attr-defined]
        elif isinstance(obj, _Call):
            self.save(obj.function)
            self.save(obj.args)
            self.write(pickle.REDUCE)  # type: ignore[attr-defined]
        else:
            super().save(obj, save_persistent_id)  # type: ignore[misc]


def _pickled(value: object) -> bytes:
    made = io.BytesIO()
    _Pickler(made, protocol=2).dump(value)
    return made.getvalue()


def _state_dict(tensors: Tensors) -> bytes:
    rebuild, ordered = _Name("torch._utils", "_rebuild_tensor_v2"), _Name("collections", "OrderedDict")
    found: dict[str, object] = {}
    for number, (name, array) in enumerate(tensors.items()):
        strides = tuple(stride // array.itemsize for stride in array.strides)
        found[name] = _Call(rebuild, _Storage(number, array), 0, array.shape, strides, False, _Call(ordered))
    return _pickled({"state_dict": found, "epoch": 3, "optimizer": {"lr": 0.1, "betas": (0.9, 0.99)}})


def _torch_zip(code: bytes, tensors: Tensors) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as file:
        file.writestr(zipfile.ZipInfo("archive/data.pkl"), code)
        for number, array in enumerate(tensors.values()):
            file.writestr(zipfile.ZipInfo(f"archive/data/{number}"), array.tobytes())
    return made.getvalue()


def _torch_legacy(code: bytes, tensors: Tensors) -> bytes:
    keys = [str(number) for number in range(len(tensors))]
    parts = [LEGACY_START, _pickled(1001), _pickled({"little_endian": True}), code, _pickled(keys)]
    for array in tensors.values():
        parts += [struct.pack("<q", array.size), array.tobytes()]
    return b"".join(parts)


def _npz(tensors: Tensors) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as file:
        for name, array in tensors.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, array)
            file.writestr(zipfile.ZipInfo(f"{name}.npy"), member.getvalue())
    return made.getvalue()


_WRITERS: dict[str, Callable[[Tensors], bytes]] = {
    "weights.safetensors": save,
    "weights.npz": _npz,
    "weights.pt": lambda tensors: _torch_zip(_state_dict(tensors), tensors),
    "legacy.bin": lambda tensors: _torch_legacy(_state_dict(tensors), tensors),
}


def write_bases(folder: Path, source: Source) -> None:  # noqa: ARG001, all kinds are written alike
    """Three networks in four formats."""
    for make, tensors in _MAKES.items():
        for name, write in _WRITERS.items():
            place = folder / f"{make} {name}"
            place.mkdir()
            (place / name).write_bytes(write(tensors()))


_ODD_NUMBERS = ("0", "1", "2", "7", "99", "999999999", "9" * 30, "-1", "00", "")


def other_names(rng: np.random.Generator, tensors: Tensors) -> Tensors:
    """Numbers in names that are not in a row, hostile names, tensors that are gone or are called otherwise."""
    name = list(tensors)[int(rng.integers(len(tensors)))]
    number = _ODD_NUMBERS[int(rng.integers(len(_ODD_NUMBERS)))]
    ways = (
        *(re.sub(r"\d+", number, name), re.sub(r"\d+", number, name, count=1), "", ".", "/", "a" * 5000),
        *("\x1b[31m", "../x", "module." * 50 + name, f"{name}.{name}", name.upper()),
    )
    other = ways[int(rng.integers(len(ways)))]
    kept = {other if n == name else n: array for n, array in tensors.items()}
    return kept if rng.random() < 0.8 else {n: array for n, array in tensors.items() if n != name}


def other_shapes(rng: np.random.Generator, tensors: Tensors) -> Tensors:
    """A tensor of another shape, type or value."""
    name = list(tensors)[int(rng.integers(len(tensors)))]
    array = tensors[name]
    ways: tuple[np.ndarray, ...] = (
        *(np.zeros(0, np.float32), np.array(1.0, np.float32), array[None], array.ravel(), array[..., :0], array[:1]),
        *(array.astype(np.int64), array.astype(np.uint8), array > 0.5, array * np.float32(np.inf), array * np.nan),
        *(
            np.zeros((0, 2**20, 2**20), np.float32),
            np.zeros((1,) * 20, np.float32),
            np.repeat(array, 3, axis=0),
            -array,
        ),
    )
    return tensors | {name: np.ascontiguousarray(ways[int(rng.integers(len(ways)))])}


_CODES: tuple[bytes, ...] = (
    *(pickle.EMPTY_DICT, pickle.EMPTY_TUPLE, pickle.EMPTY_LIST, pickle.NONE, pickle.MARK, pickle.TUPLE),
    *(pickle.TUPLE2 * 50, (pickle.DUP + pickle.TUPLE2) * 60, pickle.BUILD, pickle.REDUCE, pickle.NEWOBJ),
    *(pickle.STOP, pickle.POP, pickle.APPENDS, pickle.SETITEMS, pickle.BINPERSID, pickle.DICT, pickle.LIST),
    *(
        pickle.BININT + b"\xff\xff\xff\x7f",
        pickle.LONG1 + b"\xff" + b"\x7f" * 255,
        pickle.BINFLOAT + b"\x7f\xf0" + bytes(6),
    ),
    *(
        pickle.LONG4 + b"\xff\xff\xff\x7f",
        pickle.BINUNICODE + b"\xff\xff\xff\x7f",
        pickle.LONG_BINPUT + b"\xff\xff\xff\x7f",
    ),
    *(pickle.GLOBAL + b"os\nsystem\n", pickle.GLOBAL + b"torch\ndevice\n", pickle.GLOBAL + b"torch\nSize\n"),
    *(pickle.GLOBAL + b"collections\nOrderedDict\n", pickle.FRAME + b"\xff" * 8, pickle.BINBYTES8 + b"\xff" * 8),
    *(
        pickle.EMPTY_TUPLE + (pickle.BINPUT + b"\x01" + pickle.BINGET + b"\x01" + pickle.TUPLE2) * 60,
        pickle.TUPLE1 * 5000,
    ),
)
"""Pieces of pickles: calls, nesting, sizes that ask for memory, tuples that hold one another again and again."""


def _broken_pickle(rng: np.random.Generator, code: bytearray) -> bytes:
    if rng.random() < 0.4:
        _, change = choose(rng, ANY)
        return bytes(change(rng, code))
    at, piece = int(rng.integers(len(code))), _CODES[int(rng.integers(len(_CODES)))]
    return bytes(code[:at] + piece + code[at + int(rng.choice((0, 0, 1, len(piece)))) :])


def break_header(rng: np.random.Generator, folder: Path, tensors: Tensors) -> bytes:
    """What stands before the numbers: JSON, a pickle, or the header of an array; the container stays sound."""
    (file,) = folder.iterdir()
    data = file.read_bytes()
    if file.suffix == ".safetensors":
        (length,) = struct.unpack_from("<Q", data)
        _, change = choose(rng, JSON)
        header = bytes(change(rng, bytearray(data[8 : 8 + length])))
        return struct.pack("<Q", len(header)) + header + data[8 + length :]
    if file.suffix == ".npz":
        with zipfile.ZipFile(io.BytesIO(data)) as whole:
            members = {name: whole.read(name) for name in whole.namelist()}
        name = list(members)[int(rng.integers(len(members)))]
        members[name] = _broken_npy(rng, members[name])
        made = io.BytesIO()
        with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED if rng.random() < 0.2 else zipfile.ZIP_STORED) as file_:
            for each, value in members.items():
                file_.writestr(zipfile.ZipInfo(each), value)
        return made.getvalue()
    broken = _broken_pickle(rng, bytearray(_state_dict(tensors)))
    return (_torch_zip if file.suffix == ".pt" else _torch_legacy)(broken, tensors)


_NPY = (
    *(
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,), }",
        "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }",
    ),
    *(
        "{'descr': [('a', '<f4', (3,)), ('b', 'O')], 'fortran_order': False, 'shape': (1,), }",
        "[" * 400 + "]" * 400,
        "(" * 9000,
    ),
    *(
        "{'descr': '<U1000000', 'fortran_order': False, 'shape': (1,), }",
        "{'descr': '<f4', 'fortran_order': 3, 'shape': (-1, 2), }",
    ),
    *(
        "{'descr': '<m8[ns]', 'fortran_order': True, 'shape': (), }",
        "{'descr': '<c16', 'fortran_order': True, 'shape': (1,), }",
        "9**9**9",
    ),
    *(
        "{'descr': '>f4', 'fortran_order': True, 'shape': (2, 2), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': " + "(0,)" + "}",
    ),
)


def _broken_npy(rng: np.random.Generator, data: bytes) -> bytes:
    if rng.random() < 0.4:
        _, change = choose(rng, ANY)
        return bytes(change(rng, bytearray(data)))
    text = _NPY[int(rng.integers(len(_NPY)))].encode() + b"\n"
    (length,) = struct.unpack_from("<H", data, 8)
    return data[:8] + struct.pack("<H", min(len(text), 65535)) + text + data[10 + length :]


def break_weights(rng: np.random.Generator, folder: Path) -> str:
    """The bytes of the file, its header, or its tensors, written by the format's own rules."""
    (file,) = folder.iterdir()
    tensors = _MAKES[folder_make(file)]()
    what = rng.random()
    if what < 0.35:
        zipped: dict[str, Mutation] = by_name((zip_field,)) if file.suffix in (".pt", ".npz") else ANY
        name, mutation = special_or_any(rng, zipped, 0.3)
        file.write_bytes(mutation(rng, bytearray(file.read_bytes())))
        return name
    if what < 0.7:
        file.write_bytes(break_header(rng, folder, tensors))
        return "header"
    change = other_names if rng.random() < 0.5 else other_shapes
    file.write_bytes(_WRITERS[file.name](change(rng, tensors)))
    return change.__name__


def folder_make(file: Path) -> str:
    """Which network a whole file holds."""
    names = read_tensors(file)
    return next(make for make, tensors in _MAKES.items() if tensors().keys() == names.keys())


@functools.cache
def _parameters(layout: str) -> Tree:
    """Parameters that the whole file of a layout fits."""
    for make in _MAKES.values():
        found = recognise(make(), where="base")
        if found.layout.name == layout:
            return found.layout.convert(found.source)
    return {"kernel": np.zeros((3, 3), np.float32)}


def read_weights(folder: Path) -> None:
    """As a model that starts from them takes them."""
    (file,) = folder.iterdir()
    layout = recognise(read_tensors(file), where=file).layout
    load_weights(_parameters(layout.name), file)


KIND = Kind(name="weights", share=0.15, write=write_bases, damage=break_weights, read=read_weights)
