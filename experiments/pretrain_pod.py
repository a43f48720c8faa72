"""A masked autoencoder of 361,000 scans on TPU v5p-128 and v5p-256: the plan, and the program for these chips.

No TPU is needed. Operations are counted from the traced gradient of one scan of 32 slices of 256 x 256 pixels. With
--compile, the whole training step is compiled for all chips of the slice by TPU's own compiler (libtpu), which says how
much memory it takes. How fast it runs is assumed, as nothing was measured on a TPU.

Claim: the step of 1024 scans fits a chip's 95 GB without anything being computed twice; figures in
experiments/RESULTS.md.
Cost: under a minute on a CPU; with --compile, five to ten minutes for each slice.
Command: python experiments/pretrain_pod.py --compile          # needs pip install libtpu
Expected: 1.49 TFLOP a scan, 35254 steps of 1024 scans for 100 epochs, 1.51 TB before compression; 1.3 hours on v5p-128
and 0.6 hours on v5p-256 with 40 % utilisation, for which each host has to read 2.1 GB/s before compression. With
--compile, 51.6 GB and 27.4 GB a chip.

On the slice itself, every host runs the command that is printed last; experiments/launch/ has it for TPU VMs and GKE.
Where a host dies, every process of the training ends, and the scheduler starts all of them again: see "Checkpoints" in
experiments/launch/README.md. They go on from the newest checkpoint, so up to --checkpoint-every steps are lost.
"""

import argparse
import functools
import os
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import topologies
from jax.sharding import AxisType, Mesh

from ichformer.bench.train import PEAKS, noise_batch
from ichformer.models.flops import SCAN_SHAPE, count_flops
from ichformer.models.layers.backends.backend import expecting
from ichformer.pipeline.batch import Batch
from ichformer.training.assembled import compiled_step
from ichformer.training.build import build_objective
from ichformer.training.config.recipes import find_recipe
from ichformer.training.runs.run import initial_state
from ichformer.training.sharding.parallel import BATCH_AXES

CONFIG = find_recipe("pretrain-mae").config
SCANS, EPOCHS, BATCH_SIZE, STEPS = 361_000, 100, CONFIG.data.batch_size, CONFIG.steps
UTILISATION = 0.4
"""Assumed. A supervised ViT-B reached 0.38 on an H100; no TPU was measured."""

TOPOLOGIES = {"v5p-128": (4, 4, 4), "v5p-256": (4, 4, 8)}
"""The chips of a slice along x, y and z. The number in a name counts cores, two a chip."""

HOST = (2, 2, 1)
"""The chips of a host."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--compile", action="store_true", help="compile the step for the chips, for its memory")
    options = parser.parse_args()
    jax.config.update("jax_platforms", "cpu")
    per_scan, params = counted()
    slices, height, width, _ = SCAN_SHAPE
    scan_bytes = 2 * slices * height * width
    print(f"{CONFIG.model.name}: {per_scan / 1e12:.2f} TFLOP a scan and step, {params / 1e6:.0f} M parameters")
    print(f"{STEPS} steps of {BATCH_SIZE} scans; {SCANS * scan_bytes / 1e12:.2f} TB of int16 before compression")
    for name, shape in TOPOLOGIES.items():
        chips = int(np.prod(shape))
        rate = chips * PEAKS["TPU v5"]["bfloat16"] * 1e12 * UTILISATION / per_scan
        hours, hosts = STEPS * BATCH_SIZE / rate / 3600, chips // int(np.prod(HOST))
        memory = f"{memory_gb(shape):.1f} GB a chip as compiled" if options.compile else "memory not compiled"
        print(
            f"{name}: {BATCH_SIZE // chips} scans a chip, {memory}; {hours:.1f} hours at {100 * UTILISATION:.0f} % "
            f"utilisation, {rate / hosts * scan_bytes / 1e6:.0f} MB/s a host before compression",
            flush=True,
        )
    print(f"on each host: {command()}")


def command() -> str:
    """What every host of a slice runs."""
    return "ichformer train --recipe pretrain-mae --data.store STORE --out RUN"


def counted() -> tuple[int, int]:
    """Operations of a gradient for one scan, and the number of parameters."""
    objective, batch, key = build_objective(CONFIG), scans(1), jax.random.key(0)
    params = jax.eval_shape(objective.init, key, batch)["params"]
    gradient = jax.grad(lambda params, batch, key: objective.loss(params, batch, key, True)[0])
    return count_flops(gradient, params, batch, key), sum(leaf.size for leaf in jax.tree.leaves(params))


def memory_gb(shape: tuple[int, int, int]) -> float:
    """What the compiled step takes on each chip of a slice, arguments and all, in 10**9 bytes."""
    os.environ["TPU_SKIP_MDS_QUERY"] = "1"  # libtpu would ask where it runs
    chips = topologies.get_topology_desc(
        f"v5p:{'x'.join(map(str, shape))}", "tpu", chips_per_host_bounds=HOST, num_slices=1
    ).devices
    names = (*BATCH_AXES, "tensor")
    mesh = Mesh(np.asarray(chips).reshape(-1, 1, 1), names, axis_types=(AxisType.Auto,) * len(names))
    objective = build_objective(CONFIG)
    state = jax.eval_shape(functools.partial(initial_state, objective, CONFIG, SCAN_SHAPE[1]))
    step: Any = compiled_step(CONFIG, objective, state, mesh)
    with expecting("tpu"):
        lowered = step.lower(state, scans(BATCH_SIZE), jax.eval_shape(lambda: jax.random.key(0)))
    asked = lowered.compile().memory_analysis()
    n_bytes = asked.temp_size_in_bytes + asked.argument_size_in_bytes + asked.output_size_in_bytes
    return float(n_bytes - asked.alias_size_in_bytes) / 1e9


def scans(count: int) -> Batch:
    """The shapes of a batch."""
    slices, height, width, _ = SCAN_SHAPE
    one = jax.eval_shape(lambda: jax.tree.map(jnp.asarray, noise_batch(1, slices, height)))
    assert one.hu.shape == (1, slices, height, width)
    shapes: Batch = jax.tree.map(lambda x: jax.ShapeDtypeStruct((count, *x.shape[1:]), x.dtype), one)
    return shapes


if __name__ == "__main__":
    main()
