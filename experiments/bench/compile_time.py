"""Compile time of a slice_vit's training step: equal blocks as one loop, beside the same blocks written out.

Target: under half of the time. Not reached on CPU, where XLA compiles equal kernels once however often they are written
out. Shapes alone are compiled, nothing is computed; the caches of compilations are off.

Cost: one minute on two idle CPU cores.
Command: python experiments/bench/compile_time.py
Seen: see ``experiments/RESULTS.md``.
"""

import argparse
import functools
import statistics
import time
from contextlib import nullcontext
from typing import Any
from unittest import mock

import flax.linen as nn
import jax
import jax.numpy as jnp

from ichformer.ct.windows import WINDOWS
from ichformer.models.layers import patch_encoder
from ichformer.models.layers.transformer import Block, Blocks
from ichformer.models.zoo import build_model
from ichformer.objectives.classification import Classification
from ichformer.pipeline.batch import Batch
from ichformer.training.config import OptimConfig
from ichformer.training.optim import build_optimizer
from ichformer.training.state import create_state
from ichformer.training.step import train_step

SLICES, SIZE = 4, 64


class Unrolled(Blocks):
    """``Blocks`` as it would be without the loop."""

    @nn.compact
    def __call__(self, x: Any, mask: Any = None, angles: Any = None, *, train: bool) -> Any:
        for i in range(self.depth):
            block = Block(self.num_heads, self.dropout, self.dtype, self.style, name=f"block{i}")
            x = block(x, mask, angles, train=train)
        return x


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="slice_vit_b")
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    jax.config.update("jax_enable_compilation_cache", False)

    taken: dict[str, list[tuple[float, float]]] = {"one loop": [], "written out": []}
    for _ in range(arguments.runs):
        for name, times in taken.items():
            unrolled = mock.patch.object(patch_encoder, "Blocks", Unrolled)
            with unrolled if name == "written out" else nullcontext():
                times.append(seconds(arguments.model))
    for name, times in taken.items():
        wall, processor = (statistics.median(column) for column in zip(*times, strict=True))
        print(f"{arguments.model}, {name}: {wall:.1f} s, {processor:.1f} s of processor")
    ratios = [(a[0] / b[0], a[1] / b[1]) for a, b in zip(*taken.values(), strict=True)]
    wall, processor = (statistics.median(column) for column in zip(*ratios, strict=True))
    print(f"ratio, median of {arguments.runs} pairs: {wall:.2f}, {processor:.2f} of processor")


def seconds(name: str) -> tuple[float, float]:
    """Wall and processor seconds from trace to executable."""
    objective = Classification(model=build_model(name), windows=(WINDOWS["brain"],) * 3)
    optimizer = build_optimizer(OptimConfig(), 1000)
    batch = Batch(
        hu=jnp.zeros((1, SLICES, SIZE, SIZE), jnp.int16),
        slice_mask=jnp.ones((1, SLICES), bool),
        spacing_mm=jnp.ones((1, 3)),
        slice_labels=jnp.zeros((1, SLICES, 6)),
        scan_labels=jnp.zeros((1, 6)),
        weight=jnp.ones(1),
        row=jnp.zeros(1, jnp.int32),
    )
    rng = jax.random.key(0)
    state = jax.eval_shape(lambda: create_state(objective.init(rng, batch)["params"], optimizer, ema=True))
    step = functools.partial(train_step, objective=objective, optimizer=optimizer, ema_decay=0.99)
    start = time.perf_counter(), time.process_time()
    jax.jit(step).lower(state, batch, rng).compile()
    return time.perf_counter() - start[0], time.process_time() - start[1]


if __name__ == "__main__":
    main()
