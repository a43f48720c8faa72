"""How a training will scale: a prediction from the collectives of the compiled step."""

import contextlib
import functools
from dataclasses import dataclass
from typing import Any

import jax

from ichformer.bench.collectives import collectives
from ichformer.bench.train import PEAKS, Dtype, noise_batch
from ichformer.errors import InputError
from ichformer.models.flops import count_flops, scan_inputs
from ichformer.objectives.classification import Classification
from ichformer.training.assembled import compiled_step
from ichformer.training.build import build_objective
from ichformer.training.config import DataConfig, ModelConfig, ParallelConfig, TrainConfig
from ichformer.training.runs.run import initial_state
from ichformer.training.sharding.parallel import make_mesh

MFU = 0.37
"""Part of the peak that a device computes at, by assumption: what deit3-jax reaches with ViT-L/16 on a TPU v4-64."""

POD = 256
"""Devices of the pod that is predicted."""


@dataclass(frozen=True, kw_only=True)
class Links:
    """How fast a device sends.

    Attributes:
      peak: its name in ``bench.train.PEAKS``.
      near_gb_per_s: 10**9 bytes a second, in one direction, among the devices of one machine or slice.
      machine: devices that this holds for.
      far_gb_per_s: the same beyond them.
    """

    peak: str
    near_gb_per_s: float
    machine: int
    far_gb_per_s: float


LINKS = {
    # Google Cloud, "TPU v5p": 1200 GB/s a chip, both directions, over the six links of a 3-D torus of up to 6144
    # chips. A ring along one axis of it sends on two of them: 200 GB/s.
    "TPU v5p": Links(peak="TPU v5", near_gb_per_s=200, machine=6144, far_gb_per_s=6.25),
    # NVIDIA, data sheets of H100 SXM (NVLink 900 GB/s, both directions) and of DGX H100 (eight ConnectX-7 of 400 Gb/s).
    # A ring over machines leaves each of them once, through all its eight adapters: 8 x 50 GB/s.
    "H100": Links(peak="H100", near_gb_per_s=450, machine=8, far_gb_per_s=400),
}


def bench_scaling(
    model: str,
    counts: tuple[int, ...],
    *,
    batch_size: int = 8,
    num_slices: int = 32,
    size: int = 256,
    dtype: Dtype = "float32",
) -> dict[str, Any]:
    """Compile the step for each number of devices and predict its efficiency; nothing is trained.

    A step computes for ``t = 3 F / (MFU peak)`` seconds, where F are the operations of the forward pass over a device's
    scans (a gradient costs two more), and sends for ``c = B / link``, where B are the bytes that a device sends
    (``Collective.sent_bytes``). Its efficiency lies between ``t / (t + c)``, where nothing is sent while it computes,
    and ``t / max(t, c)``, where all is. Rings send (n-1)/n of what they have to on n devices, so B grows from the n
    that was compiled for to a pod of N by ``(N-1)/N / ((n-1)/n)``.

    It knows no latency, no waiting for input and none of the others on the network. The CPU's compiler sums gradients
    under FSDP with an all-reduce where those of GPU and TPU use a reduce-scatter of half the bytes: B is then too
    large.

    Args:
      model: a name of ``ichformer models``.
      counts: numbers of devices; more than there are can only be emulated, on a CPU.
      batch_size: scans a step on each device.
      num_slices: slices a scan.
      size: rows and columns of a slice.
      dtype: of activations.

    Returns:
      "rows": for each layout ("data", "fsdp") and count "mb_sent" by each device in a step (10**6 bytes), "kinds" of it
      and "argument_mb", the state and the batch on a device; "pods": for each device of ``LINKS`` and layout the
      "low" and "high" efficiency on "devices"; and the settings.

    Raises:
      InputError: no such model, or more devices than there are.
    """
    with contextlib.suppress(RuntimeError):  # JAX has started already: it has the devices that it has
        jax.config.update("jax_num_cpu_devices", max(counts))
    if max(counts) > jax.device_count():
        raise InputError(
            f"{max(counts)} devices are wanted, there are {jax.device_count()}",
            where="--scaling",
            fix=f"set JAX_PLATFORMS=cpu and JAX_NUM_CPU_DEVICES={max(counts)}: emulated ones compile the same",
        )
    config = TrainConfig(
        data=DataConfig(store="", batch_size=batch_size, num_slices=num_slices),
        model=ModelConfig(name=model, compute_dtype=dtype),
    )
    objective = build_objective(config)
    assert isinstance(objective, Classification)
    shapes = jax.eval_shape(functools.partial(initial_state, objective, config, size))
    inputs = scan_inputs(num_slices, size, size, len(objective.windows), batch=batch_size)
    forward = count_flops(
        lambda params, *x: objective.model.apply({"params": params}, *x, False), shapes.params, *inputs
    )
    one = noise_batch(1, num_slices, size)
    rows = []
    for layout in ("data", "fsdp"):
        for count in counts:
            mesh = make_mesh(_parallel(layout, count))
            batch = jax.tree.map(
                lambda x, count=count: jax.ShapeDtypeStruct((count * batch_size, *x.shape[1:]), x.dtype), one
            )
            compiled: Any = compiled_step(config, objective, shapes, mesh)
            compiled = compiled.lower(shapes, batch, jax.random.key(0)).compile()
            rows.append({"layout": layout, "devices": count, **_sent(compiled, count)})
    settings = {"model": model, "batch_size": batch_size, "num_slices": num_slices, "size": size, "dtype": dtype}
    return {
        **settings,
        "forward_gflops": forward / 1e9,
        "mfu": MFU,
        "backend": jax.default_backend(),
        "rows": rows,
        "pods": predict_pods(rows, forward, dtype),
    }


def read_counts(text: str) -> tuple[int, ...]:
    """Parse numbers separated by commas; InputError for anything else."""
    words = text.split(",")
    if not all(word.strip().isdecimal() and int(word) > 0 for word in words):
        raise InputError(f"found {text!r}", where="--scaling", fix="give numbers of devices such as 1,2,4,8")
    return tuple(int(word) for word in words)


def predict_pods(rows: list[dict[str, Any]], forward: float, dtype: Dtype) -> list[dict[str, Any]]:
    """Efficiency on ``POD`` devices by the formula of ``bench_scaling``, from the largest count of each layout."""
    pods = []
    for name, links in LINKS.items():
        compute_s = 3 * forward / (MFU * PEAKS[links.peak][dtype] * 1e12)
        for layout in dict.fromkeys(row["layout"] for row in rows):
            largest = max((row for row in rows if row["layout"] == layout), key=lambda row: row["devices"])
            n = largest["devices"]
            if n == 1:
                continue
            gb = largest["mb_sent"] / 1e3 * ((POD - 1) / POD) / ((n - 1) / n)
            send_s = gb / (links.near_gb_per_s if links.machine >= POD else links.far_gb_per_s)
            pods.append(
                {
                    "device": name,
                    "layout": layout,
                    "devices": POD,
                    "compute_s": compute_s,
                    "send_s": send_s,
                    "low": compute_s / (compute_s + send_s),
                    "high": compute_s / max(compute_s, send_s),
                }
            )
    return pods


def _parallel(layout: str, count: int) -> ParallelConfig:
    return ParallelConfig(data=count) if layout == "data" else ParallelConfig(data=1, fsdp=count)


def _sent(compiled: Any, count: int) -> dict[str, Any]:
    kinds: dict[str, float] = {}
    for each in collectives(compiled.as_text(), devices=count):
        kinds[each.kind] = kinds.get(each.kind, 0.0) + each.sent_bytes / 1e6
    argument_mb = compiled.memory_analysis().argument_size_in_bytes / 1e6
    return {"mb_sent": sum(kinds.values()), "kinds": kinds, "argument_mb": argument_mb}


def format_scaling(found: dict[str, Any]) -> str:
    """A table of what was compiled and one of what is predicted."""
    scans = f"{found['batch_size']} scans of {found['num_slices']} slices of {found['size']} x {found['size']}"
    lines = [
        f"{found['model']}, {found['dtype']}, {scans} on each device; compiled for {found['backend']}, not run",
        f"{'layout':<8}{'devices':>8}{'MB sent':>10}{'MB held':>10}  by kind",
    ]
    for row in found["rows"]:
        kinds = ", ".join(f"{kind} {mb:.1f}" for kind, mb in row["kinds"].items())
        lines.append(
            f"{row['layout']:<8}{row['devices']:>8}{row['mb_sent']:>10.1f}{row['argument_mb']:>10.1f}  {kinds}"
        )
    lines.append(f"predicted, not measured, at {found['mfu']:.0%} of the peak:")
    for pod in found["pods"]:
        lines.append(
            f"{pod['devices']} x {pod['device']}, {pod['layout']}: efficiency {pod['low']:.1%} to {pod['high']:.1%}; "
            f"a step computes {1e3 * pod['compute_s']:.1f} ms and sends {1e3 * pod['send_s']:.1f} ms"
        )
    return "\n".join(lines)
