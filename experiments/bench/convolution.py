"""How fast single convolutions are on a CPU beside PyTorch's (channels last) and beside XLA's plain ones.

Claim: forward and backward together at least 0.6 of PyTorch for every layer that the encoders of the house have.
Cost: some minutes on two cores.
Command: python experiments/bench/convolution.py [--clock cpu] [--layers NAME ...]

The three run in turn in one process, each reported by its median. ``--clock wall`` lets each use all cores.
``--clock cpu`` counts processor seconds, with one thread for PyTorch, whose threads wait busily: it bears a machine
that others use as well, and does not see how well threads share the work.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

os.environ["JAX_PLATFORMS"] = "cpu"

import jax
import numpy as np
import torch
from jax import lax

from ichformer.models.layers.convolution import convolve


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A convolution with equal taps and strides on every axis, padded by half a kernel."""

    shape: tuple[int, ...]
    features: int
    taps: int
    stride: int = 1
    depthwise: bool = False


LAYERS = {
    "3x3, 64": Layer(shape=(8, 56, 56, 64), features=64, taps=3),
    "3x3, 256": Layer(shape=(8, 14, 14, 256), features=256, taps=3),
    "3x3 by 2, 64 to 128": Layer(shape=(8, 56, 56, 64), features=128, taps=3, stride=2),
    "7x7 by 2, 3 to 64": Layer(shape=(4, 224, 224, 3), features=64, taps=7, stride=2),
    "1x1, 64 to 256": Layer(shape=(8, 56, 56, 64), features=256, taps=1),
    "1x1 by 2, 256 to 512": Layer(shape=(8, 28, 28, 256), features=512, taps=1, stride=2),
    "depth-wise 3x3, 64": Layer(shape=(8, 56, 56, 64), features=64, taps=3, depthwise=True),
    "depth-wise 3x3 by 2, 96": Layer(shape=(8, 56, 56, 96), features=96, taps=3, stride=2, depthwise=True),
    "depth-wise 5x5, 240": Layer(shape=(8, 28, 28, 240), features=240, taps=5, depthwise=True),
    "depth-wise 7x7, 96": Layer(shape=(8, 56, 56, 96), features=96, taps=7, depthwise=True),
    "depth-wise 7x7, 384": Layer(shape=(8, 14, 14, 384), features=384, taps=7, depthwise=True),
    "3x3x3, 64": Layer(shape=(1, 16, 48, 48, 64), features=64, taps=3),
    "3x3x3 by 2, 64 to 128": Layer(shape=(1, 16, 48, 48, 64), features=128, taps=3, stride=2),
    "depth-wise 3x3x3, 64": Layer(shape=(1, 16, 48, 48, 64), features=64, taps=3, depthwise=True),
}


def in_jax(
    layer: Layer, x: np.ndarray, kernel: np.ndarray, dy: np.ndarray, *, plain: bool
) -> list[Callable[[], object]]:
    """Forward and both gradients."""
    rank = x.ndim - 2
    strides, pads = (layer.stride,) * rank, ((layer.taps // 2,) * 2,) * rank
    groups = x.shape[-1] if layer.depthwise else 1
    space = tuple(range(1, rank + 1))
    axes = lax.ConvDimensionNumbers((0, rank + 1, *space), (rank + 1, rank, *range(rank)), (0, rank + 1, *space))

    def forward(x: jax.Array, kernel: jax.Array) -> jax.Array:
        if plain:
            return lax.conv_general_dilated(
                x, kernel, strides, pads, dimension_numbers=axes, feature_group_count=groups
            )
        return convolve(x, kernel, strides=strides, padding=pads, groups=groups)

    steps = (
        jax.jit(forward),
        jax.jit(lambda x, kernel, dy: jax.vjp(lambda x: forward(x, kernel), x)[1](dy)),
        jax.jit(lambda x, kernel, dy: jax.vjp(lambda kernel: forward(x, kernel), kernel)[1](dy)),
    )
    arrays = tuple(map(jax.numpy.asarray, (x, kernel, dy)))

    def waited(step: Callable[..., object], *arrays: jax.Array) -> Callable[[], object]:
        return lambda: jax.block_until_ready(step(*arrays))

    return [waited(step, *arrays[:n]) for step, n in zip(steps, (2, 3, 3), strict=True)]


def in_torch(layer: Layer, x: np.ndarray, kernel: np.ndarray, dy: np.ndarray) -> list[Callable[[], object]]:
    """The same three."""
    rank = x.ndim - 2
    layout = torch.channels_last if rank == 2 else torch.channels_last_3d
    images, gradient = (torch.tensor(np.moveaxis(a, -1, 1)).contiguous(memory_format=layout) for a in (x, dy))
    weight = torch.tensor(kernel.transpose(rank + 1, rank, *range(rank))).contiguous(memory_format=layout)
    groups = x.shape[-1] if layer.depthwise else 1
    strides, pads = [layer.stride] * rank, [layer.taps // 2] * rank
    run = torch.nn.functional.conv2d if rank == 2 else torch.nn.functional.conv3d

    def backward(at_input: bool) -> object:
        return torch.ops.aten.convolution_backward(
            gradient, images, weight, None, strides, pads, [1] * rank, False, [0] * rank, groups,
            [at_input, not at_input, False],
        )  # fmt: skip

    return [
        lambda: run(images, weight, stride=strides, padding=pads, groups=groups),
        lambda: backward(True),
        lambda: backward(False),
    ]


def medians_ms(steps: Sequence[Callable[[], object]], clock: Callable[[], float], repeats: int) -> list[float]:
    """Median milliseconds of each, taken in turn; the first round compiles."""
    seen: list[list[float]] = [[] for _ in steps]
    for _ in range(repeats + 1):
        for step, times in zip(steps, seen, strict=True):
            start = clock()
            step()
            times.append(clock() - start)
    return [1000 * statistics.median(times[1:]) for times in seen]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--layers", nargs="*", choices=list(LAYERS), default=list(LAYERS))
    options = parser.parse_args()
    clock = {"wall": time.perf_counter, "cpu": time.process_time}[options.clock]
    torch.set_num_threads(1 if options.clock == "cpu" else len(os.sched_getaffinity(0)))
    rng = np.random.default_rng(0)
    print(f"ms of {options.clock} clock as ours / XLA's plain convolution / torch; torch's over ours\n")
    print("| layer | forward | gradient at input | gradient at kernel | all three |\n|---|---|---|---|---|")
    for name in options.layers:
        layer = LAYERS[name]
        rank = len(layer.shape) - 2
        channels = 1 if layer.depthwise else layer.shape[-1]
        x = rng.normal(size=layer.shape).astype(np.float32)
        kernel = rng.normal(size=(layer.taps,) * rank + (channels, layer.features)).astype(np.float32)
        space = (-(-size // layer.stride) for size in layer.shape[1:-1])
        dy = rng.normal(size=(layer.shape[0], *space, layer.features)).astype(np.float32)
        ours, plain = (in_jax(layer, x, kernel, dy, plain=plain) for plain in (False, True))
        figures = medians_ms([*ours, *plain, *in_torch(layer, x, kernel, dy)], clock, options.repeats)
        triples = [(*figures[i::3],) for i in range(3)]
        triples.append(tuple(sum(column) for column in zip(*triples, strict=True)))
        cells = ["{:.1f} / {:.1f} / {:.1f}; {:.2f}".format(*triple, triple[2] / triple[0]) for triple in triples]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
