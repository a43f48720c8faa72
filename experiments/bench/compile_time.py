"""Compile time of a slice_vit's training step: our equal blocks, beside the same blocks with parameters of their own.

Target: under half of the time. For a TPU ours are one loop; on a CPU they are written out too, as a loop compiles no
faster there. Shapes alone are compiled, nothing is computed; the caches of compilations are off.

Cost: one minute on two idle CPU cores, a few for a TPU.
Command: python experiments/bench/compile_time.py [--platform tpu]

``--platform tpu`` compiles ahead of time for one chip of a v5p. It needs no TPU but its compiler, ``pip install
'jax[tpu]'``.
Seen: ``experiments/studies/2026-11-26-compile-time.md``.
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
from jax.experimental import topologies

from ichformer.ct.windows import WINDOWS
from ichformer.models.encoders import patch_encoder
from ichformer.models.layers.attention.transformer import Block, Blocks
from ichformer.models.layers.backends.backend import expecting
from ichformer.models.registry import create_model
from ichformer.objectives.classification import Classification
from ichformer.pipeline.batch import Batch
from ichformer.training.config import OptimConfig
from ichformer.training.optimizer.optim import build_optimizer
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
    parser.add_argument("--platform", choices=["cpu", "tpu"], default="cpu")
    arguments = parser.parse_args()
    device = jax.devices("cpu")[0]
    if arguments.platform == "tpu":
        device = topologies.get_topology_desc(platform="tpu", topology_name="v5:2x2x1").devices[0]
    jax.config.update("jax_enable_compilation_cache", False)
    # What a compiler needs to start counts for neither.
    where = jax.sharding.SingleDeviceSharding(device)
    jax.jit(jnp.sin).lower(jax.ShapeDtypeStruct((8, 128), jnp.float32, sharding=where)).compile()

    taken: dict[str, list[tuple[float, float]]] = {"ours": [], "apart": []}
    for _ in range(arguments.runs):
        for name, times in taken.items():
            unrolled = mock.patch.object(patch_encoder, "Blocks", Unrolled)
            with expecting(arguments.platform), unrolled if name == "apart" else nullcontext():
                times.append(seconds(arguments.model, device))
    for name, times in taken.items():
        wall, processor = (statistics.median(column) for column in zip(*times, strict=True))
        print(f"{arguments.model}, {name}: {wall:.1f} s, {processor:.1f} s of processor")
    ratios = [(a[0] / b[0], a[1] / b[1]) for a, b in zip(*taken.values(), strict=True)]
    wall, processor = (statistics.median(column) for column in zip(*ratios, strict=True))
    print(f"ratio, median of {arguments.runs} pairs: {wall:.2f}, {processor:.2f} of processor")


def seconds(name: str, device: jax.Device) -> tuple[float, float]:
    """Wall and processor seconds from trace to an executable for the device."""
    objective = Classification(model=create_model(name), windows=(WINDOWS["brain"],) * 3)
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
    where = jax.sharding.SingleDeviceSharding(device)
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=where), (state, batch, rng))
    start = time.perf_counter(), time.process_time()
    jax.jit(step).lower(*shapes).compile()
    return time.perf_counter() - start[0], time.process_time() - start[1]


if __name__ == "__main__":
    main()
