"""Swin in three dimensions on a CPU: ichformer's encoder beside MONAI's SwinTransformer, forward and training.

Claim: at least level with MONAI, forward and with gradients. The same network (four stages of two blocks, 48 features,
windows of 4 x 7 x 7, patches of 2 x 2 x 2), one scan of 32 x 112 x 112, float32. One thread each, processor time,
medians of interleaved runs: on a machine that others use, clocks on the wall tell little.

Cost: five minutes. Needs ``monai`` and ``torch`` (extra ``parity``).
Command: taskset -c 0 python experiments/bench/swin.py
Seen: ``experiments/studies/2026-11-23-swin-beside-monai.md``.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from monai.networks.nets.swin_unetr import SwinTransformer

from ichformer.models.encoders.swin import SwinEncoder

DEPTHS, HEADS, WINDOW, WIDTH = (2, 2, 2, 2), (3, 6, 12, 24), (4, 7, 7), 48


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=7)
    runs = parser.parse_args().runs
    torch.set_num_threads(1)
    scan = np.random.default_rng(0).random((1, 32, 112, 112, 1), np.float32)
    ways = {f"{name} {part}": way for name, both in (("MONAI", monai), ("ichformer", ours)) for part, way in both(scan)}
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for run in range(runs + 1):
        for name, way in ways.items():
            start = time.process_time()
            way()
            if run:  # the first is to compile and to warm up
                taken[name].append(time.process_time() - start)
    seconds = {name: statistics.median(times) for name, times in taken.items()}
    for part in ("forward", "training"):
        theirs, mine = seconds[f"MONAI {part}"], seconds[f"ichformer {part}"]
        print(f"{part:<9} MONAI {theirs:.2f} s, ichformer {mine:.2f} s: {theirs / mine:.2f} times as fast")


def monai(scan: np.ndarray) -> list[tuple[str, Callable[[], Any]]]:
    model = SwinTransformer(
        in_chans=1, embed_dim=WIDTH, window_size=WINDOW, patch_size=(2, 2, 2), depths=DEPTHS, num_heads=HEADS
    )
    x = torch.from_numpy(np.moveaxis(scan, -1, 1).copy())

    def forward() -> None:
        with torch.inference_mode():
            model(x)

    def training() -> None:
        model.zero_grad()
        model(x)[-1].square().mean().backward()

    return [("forward", forward), ("training", training)]


def ours(scan: np.ndarray) -> list[tuple[str, Callable[[], Any]]]:
    model = SwinEncoder(
        patch_size=(2, 2, 2),
        width=WIDTH,
        depths=DEPTHS,
        num_heads=HEADS,
        window=WINDOW,
        slice_merges=(2, 2, 2),
        patch_norm=False,
        z_position="none",
    )
    x, slice_mask, spacing_mm = jnp.asarray(scan), jnp.ones((1, 32), bool), jnp.ones((1, 3))
    params = jax.jit(lambda: model.init(jax.random.key(0), x, slice_mask, spacing_mm, train=False))()

    @jax.jit
    def apply(params: Any, x: jax.Array, slice_mask: jax.Array) -> jax.Array:
        return model.apply(params, x, slice_mask, spacing_mm, train=False)

    @jax.jit
    def gradient(params: Any, x: jax.Array, slice_mask: jax.Array) -> Any:
        return jax.grad(lambda params: jnp.mean(jnp.square(apply(params, x, slice_mask))))(params)

    return [
        ("forward", lambda: jax.block_until_ready(apply(params, x, slice_mask))),
        ("training", lambda: jax.block_until_ready(gradient(params, x, slice_mask))),
    ]


if __name__ == "__main__":
    main()
