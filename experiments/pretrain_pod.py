"""A plan for pretraining vit3d_b as a masked autoencoder on 361,000 scans, on TPU v5p-128 and v5p-256. Nothing is run.

Claim: none of speed. Operations are counted from the traced gradient of one scan of 32 slices of 256 x 256 pixels. The
utilisation is assumed. The memory of a chip is not measured, so a smaller batch may be needed.
Cost: under a minute on a CPU.
Command: python experiments/pretrain_pod.py
Expected: 1.49 TFLOP a scan, 35254 steps of 1024 scans for 100 epochs, 1.51 TB before compression; 1.3 hours on v5p-128
and 0.6 hours on v5p-256 with 40 % utilisation, for which each host has to read 2.1 GB/s before compression.

Where a host dies, every process of the training ends, and the scheduler starts all of them again: see "Checkpoints" in
experiments/launch/README.md. They go on from the newest checkpoint, so up to --checkpoint-every steps are lost.
"""

import jax
import jax.numpy as jnp

from ichformer.bench.train import PEAKS, noise_batch
from ichformer.models.flops import SCAN_SHAPE, count_flops
from ichformer.training.build import build_objective
from ichformer.training.config import DataConfig, ModelConfig, ObjectiveConfig, TrainConfig

MODEL, SCANS, EPOCHS, BATCH_SIZE = "vit3d_b", 361_000, 100, 1024
UTILISATION = 0.4
"""Assumed. A supervised ViT-B reached 0.38 on an H100; no TPU was measured."""

CHIPS = {"v5p-128": 64, "v5p-256": 128}
"""The number in a name counts cores, two a chip."""

CHIPS_A_HOST = 4


def main() -> None:
    per_scan, params = _counted()
    steps = -(-SCANS * EPOCHS // BATCH_SIZE)
    slices, height, width, _ = SCAN_SHAPE
    scan_bytes = 2 * slices * height * width
    print(f"{MODEL}: {per_scan / 1e12:.2f} TFLOP a scan and step, {params / 1e6:.0f} M parameters")
    print(f"{steps} steps of {BATCH_SIZE} scans; {SCANS * scan_bytes / 1e12:.2f} TB of int16 before compression")
    for name, chips in CHIPS.items():
        rate = chips * PEAKS["TPU v5"]["bfloat16"] * 1e12 * UTILISATION / per_scan
        hours, hosts = steps * BATCH_SIZE / rate / 3600, chips // CHIPS_A_HOST
        print(
            f"{name}: {BATCH_SIZE // chips} scans a chip, {hours:.1f} hours at {100 * UTILISATION:.0f} % utilisation, "
            f"{rate / hosts * scan_bytes / 1e6:.0f} MB/s a host before compression; memory not measured"
        )


def _counted() -> tuple[int, int]:
    """Operations of a gradient for one scan, and the number of parameters."""
    settings = ObjectiveConfig(name="mae", mask_ratio=0.75)
    objective = build_objective(
        TrainConfig(data=DataConfig(store=""), model=ModelConfig(name=MODEL), objective=settings)
    )
    slices, height, width, _ = SCAN_SHAPE
    batch = jax.eval_shape(lambda: jax.tree.map(jnp.asarray, noise_batch(1, slices, height)))
    assert batch.hu.shape == (1, slices, height, width)
    key = jax.random.key(0)
    params = jax.eval_shape(objective.init, key, batch)["params"]
    gradient = jax.grad(lambda params, batch, key: objective.loss(params, batch, key, True)[0])
    return count_flops(gradient, params, batch, key), sum(leaf.size for leaf in jax.tree.leaves(params))


if __name__ == "__main__":
    main()
