"""Another library's network: from that library where it is installed, or as it was kept in ``tests/golden/parity``.

`.ci/run` compares with what was kept, `.ci/full` with the libraries themselves, and what was kept with them. To renew
it where a network was added or changed: ``ICHFORMER_RENEW_GOLDEN=1 pytest -m full tests/parity`` with the extra
"parity" installed.
"""

import dataclasses
import json
import math
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

GOLDEN = Path(__file__).parents[1] / "golden" / "parity"
OUTPUT_TOLERANCE = 1e-4
GRADIENT_TOLERANCE = 1e-3  # of the largest entry of the tensor's gradient
KEPT_OF_THE_OUTPUT, KEPT_OF_A_GRADIENT = 500, 12
"""Numbers kept, at places drawn by the name; and the largest of each gradient."""


class Installed:
    """A library that is imported where it is first used; without it the test is skipped."""

    def __init__(self, name: str):
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("_"):  # what pytest asks of everything in a module
            raise AttributeError(attribute)
        return getattr(pytest.importorskip(self._name), attribute)


torch = Installed("torch")


def two_bits(values: np.ndarray) -> np.ndarray:
    """The values with two bits of their mantissa: the upper byte of half precision holds them without a loss."""
    mantissa, exponent = np.frexp(values)
    rounded = np.ldexp(np.round(mantissa * 4) / 4, exponent)
    return np.where(np.abs(rounded) < 2.0**-9, 0.0, rounded).astype(np.float32)


def coarse(module: Any) -> Any:
    """The module with ``two_bits`` of each number that a file of it holds."""
    with torch.no_grad():
        for tensor in module.state_dict().values():  # what a module computes for itself is not a part of it
            if tensor.is_floating_point():
                tensor.copy_(torch.from_numpy(two_bits(tensor.detach().numpy())))
    return module


@dataclasses.dataclass(frozen=True, kw_only=True)
class Network:
    """Weights by their names, the output, and the gradient of each of our parameters by its path: all in our axes."""

    tensors: dict[str, np.ndarray]
    output: np.ndarray
    gradients: dict[str, np.ndarray]


def _some(name: str, values: np.ndarray, count: int) -> np.ndarray:
    places = np.random.default_rng(zlib.crc32(name.encode())).permutation(values.size)[:count]
    return values.ravel()[np.sort(places)]


class Reference:
    """One network of another library. A file holds its weights one behind the other, and what it made of the inputs."""

    def __init__(self, name: str, *, installed: bool):
        self._path, self._installed = GOLDEN / f"{name}.npz", installed

    def tensors(self, compute: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
        """Its weights by their names: from ``compute``, or as they were kept."""
        if self._installed:
            return compute()
        found = {}
        with np.load(self._path) as kept:
            halves = (kept["upper_bytes"].astype(np.uint16) << 8).view(np.float16)
            rest = {True: halves.astype(np.float32), False: kept["integers"]}
            for name, shape, is_float in json.loads(str(kept["names"])):
                values, rest[is_float] = np.split(rest[is_float], [math.prod(shape)])
                found[name] = values.reshape(shape)
        return found

    def assert_equal(
        self,
        output: np.ndarray,
        gradients: dict[str, np.ndarray],
        compute: Callable[[], Network],
        *,
        tolerance: float = OUTPUT_TOLERANCE,
    ) -> None:
        """Our output and gradients are the network's; those that were kept are those that ``compute`` gives."""
        if not self._installed:
            self._assert_kept(output, gradients, tolerance)
            return
        theirs = compute()
        np.testing.assert_allclose(output, theirs.output, atol=tolerance, rtol=0)
        assert gradients.keys() == theirs.gradients.keys()
        for path, wanted in theirs.gradients.items():
            _assert_gradient(path, gradients[path], wanted, float(np.abs(wanted).max()))
        if os.environ.get("ICHFORMER_RENEW_GOLDEN"):
            self._keep(theirs)
        self._assert_kept(theirs.output, theirs.gradients, tolerance)

    def _keep(self, theirs: Network) -> None:
        GOLDEN.mkdir(exist_ok=True)
        names, values = [], {True: [np.zeros(0, np.float16)], False: [np.zeros(0, np.int32)]}
        for name, value in theirs.tensors.items():
            is_float = value.dtype == np.float32
            small = value.astype(np.float16 if is_float else np.int32)
            assert (small == value).all(), name
            assert not (is_float and (small.view(np.uint16) & 255).any()), f"{name}: see ``coarse``"
            names.append((name, value.shape, is_float))
            values[is_float].append(small.ravel())
        some = [_some(path, value, KEPT_OF_A_GRADIENT) for path, value in theirs.gradients.items()]
        np.savez_compressed(
            self._path,
            names=json.dumps(names),
            upper_bytes=(np.concatenate(values[True]).view(np.uint16) >> 8).astype(np.uint8),
            integers=np.concatenate(values[False]),
            shape=theirs.output.shape,
            output=_some("output", theirs.output, KEPT_OF_THE_OUTPUT),
            paths=json.dumps(list(theirs.gradients)),
            gradients=np.concatenate(some),
            largest=np.float32([np.abs(value).max() for value in theirs.gradients.values()]),
        )

    def _assert_kept(self, output: np.ndarray, gradients: dict[str, np.ndarray], tolerance: float) -> None:
        with np.load(self._path) as kept:
            assert output.shape == tuple(kept["shape"])
            found = _some("output", output, KEPT_OF_THE_OUTPUT)
            np.testing.assert_allclose(found, kept["output"], atol=tolerance, rtol=0)
            paths, rest, largest = json.loads(str(kept["paths"])), kept["gradients"], kept["largest"]
        assert sorted(gradients) == sorted(paths)
        for path, scale in zip(paths, largest, strict=True):
            found = _some(path, gradients[path], KEPT_OF_A_GRADIENT)
            wanted, rest = np.split(rest, [found.size])
            _assert_gradient(path, found, wanted, float(scale))


def _assert_gradient(path: str, found: np.ndarray, wanted: np.ndarray, largest: float) -> None:
    assert largest > 0, f"no gradient reaches {path}"
    assert np.abs(found - wanted).max() <= GRADIENT_TOLERANCE * largest, path
