"""Files of weights from anywhere: read as they were written, refused in one line where they are damaged or hostile."""

import contextlib
import io
import pickle
import struct
import zipfile
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from ichformer.errors import InputError
from ichformer.models.weights.files import read_tensors
from ichformer.models.weights.torch_files import LEGACY_START

RNG = np.random.default_rng(0)
TENSORS = {"block.weight": RNG.normal(size=(3, 4)).astype(np.float32), "block.bias": np.arange(3, dtype=np.int64)}


def assert_same(found: dict[str, np.ndarray], wanted: dict[str, np.ndarray]) -> None:
    assert found.keys() == wanted.keys()
    for name, array in wanted.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == (np.int64 if array.dtype == np.int64 else np.float32)


class Storage:
    """Pickled as torch pickles a storage: a persistent id."""

    def __init__(self, array: np.ndarray, key: str, *, count: int | None = None):
        self.data = array.tobytes()
        self.id = ("storage", _Global("torch", "FloatStorage"), key, "cpu", array.size if count is None else count)


class _Global:
    """Pickled as a bare name."""

    def __init__(self, module: str, name: str):
        self.module, self.name = module, name


class _Call:
    """Pickled as a call."""

    def __init__(self, function: _Global, *args: object):
        self.function, self.args = function, args


class TorchPickler(pickle._Pickler):
    """Writes what torch.save would, or would never: names without importing them."""

    def persistent_id(self, obj: object) -> object:
        return obj.id if isinstance(obj, Storage) else None

    def save(self, obj: object, save_persistent_id: bool = True) -> None:
        if isinstance(obj, _Global):
            self.write(pickle.GLOBAL + f"{obj.module}\n{obj.name}\n".encode())
        elif isinstance(obj, _Call):
            self.save(obj.function)
            self.save(obj.args)
            self.write(pickle.REDUCE)
        else:
            super().save(obj, save_persistent_id)


def pickled(obj: object) -> bytes:
    out = io.BytesIO()
    TorchPickler(out, protocol=2).dump(obj)
    return out.getvalue()


def tensor(storage: Storage, shape: tuple, strides: tuple, *, offset: int = 0) -> _Call:
    rebuild = _Global("torch._utils", "_rebuild_tensor_v2")
    return _Call(rebuild, storage, offset, shape, strides, False, _Call(_Global("collections", "OrderedDict")))


def write_zip(path: Path, obj: object, storages: dict[str, bytes], *, compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", pickled(obj))
        for key, data in storages.items():
            archive.writestr(f"archive/data/{key}", data)
    return path


def write_legacy(path: Path, obj: object, storages: dict[str, bytes]) -> Path:
    parts = [LEGACY_START, pickled(1001), pickled({"little_endian": True}), pickled(obj), pickled(list(storages))]
    parts += [part for data in storages.values() for part in (struct.pack("<q", len(data) // 4), data)]
    path.write_bytes(b"".join(parts))
    return path


VALUES = np.arange(12, dtype=np.float32)


def state_dict(**changes: object) -> dict[str, object]:
    said = {"shape": (3, 4), "strides": (4, 1), "offset": 0, "count": None} | changes
    storage = Storage(VALUES, "0", count=said["count"])
    return {"weight": tensor(storage, said["shape"], said["strides"], offset=said["offset"])}


@pytest.mark.parametrize("write", [write_zip, write_legacy])
def test_torch_files_by_their_format_alone(tmp_path, write):
    inner = {"state_dict": state_dict(shape=(4, 3), strides=(1, 4)), "epoch": 3, "optimizer": {"lr": 0.1}}
    path = write(tmp_path / "weights.pth", inner, {"0": VALUES.tobytes()})
    assert_same(read_tensors(path), {"weight": VALUES.reshape(3, 4).T})


@pytest.mark.parametrize("write", [write_zip, write_legacy])
@pytest.mark.parametrize(
    "lie",
    [
        {"shape": (4, 4)},
        {"offset": 1},
        {"strides": (5, 1)},
        {"strides": (-4, 1)},
        {"shape": (2**40, 4), "strides": (0, 0)},
        {"shape": (-3, 4)},
        {"shape": ("3", 4)},
        {"strides": (4,)},
        {"count": 2**40},
        {"count": -1},
        {"count": 5},
    ],
)
def test_lying_sizes_are_refused(tmp_path, write, lie):
    path = write(tmp_path / "weights.pth", state_dict(**lie), {"0": VALUES.tobytes()})
    with pytest.raises(InputError, match="is damaged"):
        read_tensors(path)


@pytest.mark.parametrize("write", [write_zip, write_legacy])
@pytest.mark.parametrize(
    ("module", "name"),
    [("os", "system"), ("builtins", "eval"), ("torch", "load"), ("__main__", "Net"), ("collections", "deque")],
)
def test_a_pickle_that_wants_to_run_code_is_refused(tmp_path, write, module, name):
    hostile = _Call(_Global(module, name), f"touch {tmp_path / 'ran'}")
    path = write(tmp_path / "weights.pth", {"state_dict": state_dict(), "hook": hostile}, {"0": VALUES.tobytes()})
    with pytest.raises(InputError, match=rf"holds {module}\.{name}, and only tensors are read") as refused:
        read_tensors(path)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "ran").exists()


def test_what_a_pickle_sets_on_objects_is_dropped(tmp_path):
    """BUILD could set any attribute; torch uses it for a note of versions."""
    built = pickled(_Call(_Global("collections", "OrderedDict")))[:-1] + pickled({"clear": 1})[2:-1] + b"b."
    with zipfile.ZipFile(tmp_path / "weights.pth", "w") as archive:
        archive.writestr("archive/data.pkl", built)
    with pytest.raises(InputError, match="holds no tensors"):
        read_tensors(tmp_path / "weights.pth")


@pytest.mark.parametrize("opcode", [pickle.INST, pickle.OBJ, pickle.NEWOBJ, pickle.EXT1, pickle.BYTEARRAY8, b"\xff"])
def test_opcodes_that_tensors_do_not_need(tmp_path, opcode):
    with zipfile.ZipFile(tmp_path / "weights.pth", "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}" + opcode + b"\xff" * 8 + b".")
    with pytest.raises(InputError, match="is damaged"):
        read_tensors(tmp_path / "weights.pth")


def test_nested_lists_that_double_are_no_work(tmp_path):
    bomb: list = []
    for _ in range(60):
        bomb = [bomb, bomb]
    path = write_zip(tmp_path / "weights.pth", {"bomb": bomb, **state_dict()}, {"0": VALUES.tobytes()})
    assert_same(read_tensors(path), {"weight": VALUES.reshape(3, 4)})


def doubled(depth: int = 60) -> tuple:
    """A tuple of 2^60 zeros, of which each level is pickled once."""
    bomb: tuple = (0,)
    for _ in range(depth):
        bomb = (bomb, bomb)
    return bomb


def hostile_values() -> dict[str, object]:
    """What would take for ever to hash or to print; made anew, since pickling them would hash them, too."""
    ordered = _Global("collections", "OrderedDict")
    return {
        "device": _Call(_Global("torch", "device"), doubled()),
        "ordered": _Call(ordered, [(doubled(), 1)]),
        "storage": type("Hostile", (Storage,), {"__init__": lambda self: setattr(self, "id", (doubled(), "0"))})(),
        "no storage": type("Hostile", (Storage,), {"__init__": lambda self: setattr(self, "id", doubled())})(),
    }


@pytest.mark.parametrize("write", [write_zip, write_legacy])
@pytest.mark.parametrize("kind", ["device", "ordered", "storage", "no storage"])
def test_nested_tuples_that_double_are_refused(tmp_path, write, kind):
    found = {"hostile": hostile_values()[kind], **state_dict()}
    path = write(tmp_path / "weights.pth", found, {"0": VALUES.tobytes()})
    with pytest.raises(InputError, match="is damaged"):
        read_tensors(path)


@pytest.mark.parametrize("opcode", [pickle.SETITEM, pickle.MARK])
def test_an_entry_called_by_a_nested_tuple_is_refused(tmp_path, opcode):
    name = pickled(doubled())[2:-1]
    entry = name + b"N" + opcode if opcode == pickle.SETITEM else pickle.MARK + name + b"N" + pickle.SETITEMS
    with zipfile.ZipFile(tmp_path / "weights.pth", "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}" + entry + b".")
    with pytest.raises(InputError, match="called by a tuple"):
        read_tensors(tmp_path / "weights.pth")


def test_a_compressed_torch_file_is_refused(tmp_path):
    path = write_zip(tmp_path / "a.pth", state_dict(), {"0": bytes(2**20)}, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(InputError, match="larger than the file, or compressed"):
        read_tensors(path)


@given(shape=st.lists(st.integers(0, 4), max_size=4), kind=st.sampled_from(["f4", "f2", "f8", "i8", "bfloat16"]))
def test_safetensors_and_npz_come_back(tmp_path_factory, shape, kind):
    folder = tmp_path_factory.mktemp("files")
    dtype = np.dtype(ml_dtypes.bfloat16) if kind == "bfloat16" else np.dtype(kind)
    array = np.asarray(RNG.normal(size=shape) * 8).astype(dtype)
    wanted = {"a/b": array if kind == "i8" else array.astype(np.float32)}
    save_file({"a/b": array}, folder / "w.safetensors")
    np.savez(folder / "w.npz", **{"a/b": array})
    np.savez_compressed(folder / "c.npz", **{"a/b": array})
    for name in ("w.safetensors", "w.npz", "c.npz"):
        assert_same(read_tensors(folder / name), wanted)


def test_npz_of_other_things_is_refused(tmp_path):
    np.savez(tmp_path / "objects.npz", a=np.asarray([{}], object))
    np.savez_compressed(tmp_path / "bomb.npz", a=np.zeros(10**6))
    with zipfile.ZipFile(tmp_path / "lie.npz", "w") as archive:
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (10**11,)})
        archive.writestr("a.npy", header.getvalue() + bytes(8))
    for name, said in {"objects": "Python objects", "bomb": "would unpack to", "lie": "not as large as said"}.items():
        with pytest.raises(InputError, match=said):
            read_tensors(tmp_path / f"{name}.npz")


@pytest.mark.parametrize(
    "array",
    [
        np.array(["a", "b"]),
        np.array([b"a"]),
        np.zeros(2, [("a", "<f4"), ("b", "<i8")]),
        np.zeros(2, np.complex64),
        np.zeros(2, "datetime64[s]"),
    ],
    ids=lambda array: str(array.dtype),
)
def test_npz_of_what_is_no_number_is_refused(tmp_path, array):
    np.savez(tmp_path / "w.npz", a=array)
    with pytest.raises(InputError, match="not numbers"):
        read_tensors(tmp_path / "w.npz")


@pytest.mark.parametrize("header", ["(" * 5000, "-" * 9000 + "1", "{'a':" * 1900, "[" * 3000 + "]" * 3000, "1_0r" * 9])
def test_npz_with_a_header_that_python_cannot_parse_is_refused(tmp_path, header):
    text = header.encode() + b"\n"
    with zipfile.ZipFile(tmp_path / "w.npz", "w") as archive:
        archive.writestr("a.npy", b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text)
    with pytest.raises(InputError, match="is damaged"):
        read_tensors(tmp_path / "w.npz")


def whole_files(folder: Path) -> list[Path]:
    save_file(TENSORS, folder / "w.safetensors")
    np.savez(folder / "w.npz", **TENSORS)
    storages = {"0": VALUES.tobytes()}
    write_zip(folder / "zip.pth", {"model": state_dict()}, storages)
    write_legacy(folder / "legacy.pth", {"model": state_dict()}, storages)
    return sorted(folder.iterdir())


@given(data=st.data())
def test_damaged_files_never_do_worse_than_one_line(tmp_path_factory, data):
    """Cut off anywhere, or with bytes changed: InputError, or other numbers, and nothing else."""
    folder = tmp_path_factory.mktemp("damaged")
    path = data.draw(st.sampled_from(whole_files(folder)))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(0, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    with contextlib.suppress(InputError):
        assert all(isinstance(array, np.ndarray) for array in read_tensors(path).values())


def test_what_is_no_file_of_weights(tmp_path):
    (tmp_path / "empty").touch()
    (tmp_path / "text").write_text("weights", encoding="utf-8")
    for name, said in {"empty": "is neither", "text": "is neither", "missing": "cannot be read"}.items():
        with pytest.raises(InputError, match=said):
            read_tensors(tmp_path / name)
    np.savez(tmp_path / "none.npz")
    with pytest.raises(InputError):
        read_tensors(tmp_path / "none.npz")
