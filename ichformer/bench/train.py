"""How fast a model trains on this machine: scans and operations a second, memory, and time to compile."""

import functools
import time
from typing import Any, Literal

import jax
import numpy as np

from ichformer import LABELS
from ichformer.errors import InputError
from ichformer.models.flops import count_flops, scan_inputs
from ichformer.objectives.classification import Classification
from ichformer.pipeline.batch import Batch
from ichformer.training.assembled import compiled_step
from ichformer.training.build import build_objective
from ichformer.training.config import DataConfig, ModelConfig, TrainConfig
from ichformer.training.runs.run import initial_state
from ichformer.training.sharding.parallel import check_batch_size, create_sharded, make_mesh, shard_batch

Dtype = Literal["float32", "bfloat16"]

PEAKS: dict[str, dict[Dtype, float]] = {
    "H100 PCIe": {"bfloat16": 756, "float32": 378},
    "H100": {"bfloat16": 989, "float32": 494},
    "H200": {"bfloat16": 989, "float32": 494},
    "A100": {"bfloat16": 312, "float32": 156},
    "L4": {"bfloat16": 121, "float32": 60},
    "T4": {"float32": 8.1},
    "V100": {"float32": 15.7},
    "TPU v4": {"bfloat16": 275, "float32": 275},
    "TPU v5 lite": {"bfloat16": 197, "float32": 197},
    "TPU v5e": {"bfloat16": 197, "float32": 197},
    "TPU v5": {"bfloat16": 459, "float32": 459},
    "TPU v6": {"bfloat16": 918, "float32": 918},
}
"""10**12 operations a second at most, by part of the device's name, the first that fits; without sparsity.

NVIDIA's data sheets of A100, H100, H200, L4, T4 and V100; Google Cloud's pages of TPU v4, v5e, v5p and v6e. Where JAX
multiplies float32 in fewer bits by default, the peak is that of what it does: TF32 since the A100, one pass of bfloat16
on a TPU. T4 and V100 have no bfloat16.
"""


def bench_train(
    model: str,
    *,
    batch_size: int = 8,
    num_slices: int = 32,
    size: int = 256,
    dtype: Dtype = "float32",
    steps: int = 10,
) -> dict[str, Any]:
    """Time training on scans of noise that are on the device already, so that the model alone is measured.

    Args:
      model: a name of ``ichformer models``.
      batch_size: scans a step, over all devices.
      num_slices: slices a scan.
      size: rows and columns of a slice.
      dtype: of activations.
      steps: how many are timed, after one that is not.

    Returns:
      "scans_per_s", "slices_per_s"; "tflops_per_s" of all devices, where a step counts three forward passes (a gradient
      costs two, Chowdhery et al. 2022, appendix B; what remat computes anew is no use and does not count); "mfu", the
      part of ``PEAKS``, None where the device is not in it; "peak_memory_gb" (10**9 bytes) of the first device, with
      "memory_source": "device" if it counts itself, else "compiled", what the compiled step asks for; "compile_s"; and
      the settings.

    Raises:
      InputError: no such model, a number below 1, or scans that devices cannot share evenly.
    """
    counts = {"batch_size": batch_size, "num_slices": num_slices, "size": size, "steps": steps}
    for name, value in counts.items():
        if value < 1:
            raise InputError(f"found {value}", where=f"--{name.replace('_', '-')}", fix="give 1 or more")
    config = TrainConfig(
        data=DataConfig(store="", batch_size=batch_size, num_slices=num_slices),
        model=ModelConfig(name=model, compute_dtype=dtype),
    )
    objective = build_objective(config)
    assert isinstance(objective, Classification)
    mesh = make_mesh(config.parallel)
    check_batch_size(batch_size, mesh)
    state = create_sharded(functools.partial(initial_state, objective, config, size), mesh)
    batch, rng = shard_batch(noise_batch(batch_size, num_slices, size), mesh), jax.random.key(0)
    step: Any = compiled_step(config, objective, state, mesh)
    start = time.perf_counter()
    compiled = step.lower(state, batch, rng).compile()
    compile_s = time.perf_counter() - start
    state, metrics = compiled(state, batch, rng)
    jax.block_until_ready(metrics)
    start = time.perf_counter()
    for _ in range(steps):
        state, metrics = compiled(state, batch, rng)
    jax.block_until_ready(metrics)
    seconds = (time.perf_counter() - start) / steps
    inputs = scan_inputs(num_slices, size, size, len(objective.windows), batch=batch_size)
    forward = count_flops(
        lambda params, *x: objective.model.apply({"params": params}, *x, False), state.params, *inputs
    )
    tflops_per_s = 3 * forward / seconds / 1e12
    device = jax.devices()[0].device_kind
    peak = next((peaks.get(dtype) for name, peaks in PEAKS.items() if name in device), None)
    memory_gb, source = _peak_memory_gb(compiled)
    return {
        "model": model,
        "scans_per_s": batch_size / seconds,
        "slices_per_s": batch_size * num_slices / seconds,
        "tflops_per_s": tflops_per_s,
        "mfu": None if peak is None else tflops_per_s / peak / jax.device_count(),
        "peak_memory_gb": memory_gb,
        "memory_source": source,
        "compile_s": compile_s,
        "device": device,
        "devices": jax.device_count(),
        "dtype": dtype,
        **counts,
    }


def noise_batch(scans: int, slices: int, size: int) -> Batch:
    """Scans of noise with every label known."""
    rng = np.random.default_rng(0)
    return Batch(
        hu=rng.integers(-100, 200, (scans, slices, size, size), np.int16),
        slice_mask=np.ones((scans, slices), bool),
        spacing_mm=np.full((scans, 3), 5, np.float32),
        slice_labels=rng.integers(0, 2, (scans, slices, len(LABELS))).astype(np.float32),
        scan_labels=rng.integers(0, 2, (scans, len(LABELS))).astype(np.float32),
        weight=np.ones(scans, np.float32),
        row=np.arange(scans, dtype=np.int32),
    )


def _peak_memory_gb(compiled: Any) -> tuple[float, str]:
    stats = jax.local_devices()[0].memory_stats()
    if stats and "peak_bytes_in_use" in stats:
        return stats["peak_bytes_in_use"] / 1e9, "device"
    asked = compiled.memory_analysis()
    n_bytes = asked.temp_size_in_bytes + asked.argument_size_in_bytes + asked.output_size_in_bytes
    return (n_bytes - asked.alias_size_in_bytes) / 1e9, "compiled"


def format_train(found: dict[str, Any]) -> str:
    """Three lines for people."""
    mfu = "MFU unknown for this device" if found["mfu"] is None else f"MFU {found['mfu']:.1%}"
    counted = "as the device counts" if found["memory_source"] == "device" else "as compiled"
    return (
        f"{found['model']}, {found['dtype']}, {found['batch_size']} scans of {found['num_slices']} slices of "
        f"{found['size']} x {found['size']}, on {found['devices']} x {found['device']}\n"
        f"{found['scans_per_s']:.2f} scans/s, {found['slices_per_s']:.1f} slices/s, "
        f"{found['tflops_per_s']:.3g} TFLOP/s, {mfu}\n"
        f"peak memory {found['peak_memory_gb']:.2f} GB a device ({counted}), compiled in {found['compile_s']:.1f} s"
    )
