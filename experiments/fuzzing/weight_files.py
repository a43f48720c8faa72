"""Small networks as files of weights: safetensors, .npz and both formats of torch, which is not needed for them."""

import io
import pickle
import struct
import zipfile
from collections.abc import Callable

import numpy as np
from safetensors.numpy import save

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


MAKES: dict[str, Callable[[], Tensors]] = {"vit": _vit, "resnet": _resnet, "gru": _gru}


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


def state_dict(tensors: Tensors) -> bytes:
    rebuild, ordered = _Name("torch._utils", "_rebuild_tensor_v2"), _Name("collections", "OrderedDict")
    found: dict[str, object] = {}
    for number, (name, array) in enumerate(tensors.items()):
        strides = tuple(stride // array.itemsize for stride in array.strides)
        found[name] = _Call(rebuild, _Storage(number, array), 0, array.shape, strides, False, _Call(ordered))
    return _pickled({"state_dict": found, "epoch": 3, "optimizer": {"lr": 0.1, "betas": (0.9, 0.99)}})


def torch_zip(code: bytes, tensors: Tensors) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as file:
        file.writestr(zipfile.ZipInfo("archive/data.pkl"), code)
        for number, array in enumerate(tensors.values()):
            file.writestr(zipfile.ZipInfo(f"archive/data/{number}"), array.tobytes())
    return made.getvalue()


def torch_legacy(code: bytes, tensors: Tensors) -> bytes:
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


WRITERS: dict[str, Callable[[Tensors], bytes]] = {
    "weights.safetensors": save,
    "weights.npz": _npz,
    "weights.pt": lambda tensors: torch_zip(state_dict(tensors), tensors),
    "legacy.bin": lambda tensors: torch_legacy(state_dict(tensors), tensors),
}
