"""Files of weights of every format that is read, whose headers, pickles, names and shapes are broken."""

import functools
import io
import pickle
import re
import struct
import zipfile
from pathlib import Path

import numpy as np

from experiments.fuzzing.kind import Kind, Source
from experiments.fuzzing.mutations import ANY, JSON, Mutation, by_name, choose, special_or_any
from experiments.fuzzing.weight_files import MAKES, WRITERS, Tensors, state_dict, torch_legacy, torch_zip
from experiments.fuzzing.zips import zip_field
from ichformer.models.weights.files import read_tensors
from ichformer.models.weights.layouts.registry import recognise
from ichformer.models.weights.load import load_weights
from ichformer.models.weights.source import Tree


def write_bases(folder: Path, source: Source) -> None:  # noqa: ARG001, all kinds are written alike
    """Three networks in four formats."""
    for make, tensors in MAKES.items():
        for name, write in WRITERS.items():
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
    broken = _broken_pickle(rng, bytearray(state_dict(tensors)))
    return (torch_zip if file.suffix == ".pt" else torch_legacy)(broken, tensors)


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
    tensors = MAKES[folder_make(file)]()
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
    file.write_bytes(WRITERS[file.name](change(rng, tensors)))
    return change.__name__


def folder_make(file: Path) -> str:
    """Which network a whole file holds."""
    names = read_tensors(file)
    return next(make for make, tensors in MAKES.items() if tensors().keys() == names.keys())


@functools.cache
def _parameters(layout: str) -> Tree:
    """Parameters that the whole file of a layout fits."""
    for make in MAKES.values():
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
