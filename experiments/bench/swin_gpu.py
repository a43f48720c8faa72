"""Swin in three dimensions on a GPU: a step of training of ichformer's encoder beside MONAI's SwinTransformer.

Target: at least 1.5 times MONAI's throughput. The same network (Video Swin's tiny one, windows of 8 x 7 x 7, patches of
1 x 4 x 4), four scans of 32 x 256 x 256. A step is the mean square of the features, its gradients and AdamW; bfloat16
on both sides over float32 parameters, ``torch.compile`` and fused AdamW for MONAI. Each side compiles in a process of
its own; then they take turns, and the figure is the median of rounds of several steps.

Cost: three minutes of one GPU, most of it compiling. Needs ``monai`` and a PyTorch that sees the GPU.
Command: python experiments/bench/swin_gpu.py
Seen: ``experiments/studies/2026-11-27-gpu-h100.md``.
"""

import argparse
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

WINDOW, PATCH, DEPTHS, HEADS, WIDTH = (8, 7, 7), (1, 4, 4), (2, 2, 6, 2), (3, 6, 12, 24), 96
BATCH = (4, 32, 256, 256, 1)
RATE, DECAY, STEPS = 1e-4, 0.01, 5


def ours(scans: np.ndarray) -> tuple[str, Callable[[], None]]:
    """What runs, and some steps of it."""
    import jax
    import jax.numpy as jnp
    import optax

    from ichformer.models.encoders.swin import SwinEncoder

    encoder = SwinEncoder(PATCH, WIDTH, DEPTHS, HEADS, WINDOW, (2, 2, 2), z_position="none", dtype=jnp.bfloat16)
    inputs = jnp.asarray(scans), jnp.ones(scans.shape[:2], bool), jnp.ones((len(scans), 3))
    optimizer = optax.adamw(RATE, weight_decay=DECAY)
    params = jax.jit(lambda: encoder.init(jax.random.key(0), *inputs, train=False)["params"])()
    opt_state = jax.jit(optimizer.init)(params)

    def loss(params: Any) -> jax.Array:
        return jnp.mean(jnp.square(encoder.apply({"params": params}, *inputs, train=True).astype(jnp.float32)))

    def update(params: Any, opt_state: Any) -> tuple[Any, Any]:
        updates, opt_state = optimizer.update(jax.grad(loss)(params), opt_state, params)
        return optax.apply_updates(params, updates), opt_state

    compiled = jax.jit(update, donate_argnums=(0, 1))

    def steps() -> None:
        nonlocal params, opt_state
        for _ in range(STEPS):
            params, opt_state = compiled(params, opt_state)
        jax.block_until_ready(params)

    return f"ichformer, jax {jax.__version__}, {jax.devices()[0].device_kind}", steps


def monai(scans: np.ndarray) -> tuple[str, Callable[[], None]]:
    """The same; without the merge behind the last stage, whose result ours has no part for."""
    import torch
    from monai.networks.nets.swin_unetr import SwinTransformer

    network = SwinTransformer(
        in_chans=1, embed_dim=WIDTH, window_size=WINDOW, patch_size=PATCH, depths=DEPTHS, num_heads=HEADS,
        patch_norm=True, spatial_dims=3,
    )  # fmt: skip
    network.layers4[0].downsample = None
    network = network.cuda().train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=DECAY, fused=True)
    images = torch.tensor(np.moveaxis(scans, -1, 1)).cuda()
    compiled = torch.compile(lambda images: network(images)[-1])

    def steps() -> None:
        for _ in range(STEPS):
            optimizer.zero_grad()
            with torch.autocast("cuda", torch.bfloat16):
                features = compiled(images)
            features.float().square().mean().backward()
            optimizer.step()
        torch.cuda.synchronize()

    return f"MONAI, torch {torch.__version__}, {torch.cuda.get_device_name()}", steps


def answer(side: Callable[[np.ndarray], tuple[str, Callable[[], None]]], turns: Connection) -> None:
    """Compiles and warms up, says what it is, and then how many ms a step took whenever it is asked."""
    name, steps = side(np.random.default_rng(0).random(BATCH, np.float32))
    for _ in range(3):
        steps()
    turns.send(name)
    while turns.recv():
        start = time.perf_counter()
        steps()
        turns.send(1000 * (time.perf_counter() - start) / STEPS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
    spawn = multiprocessing.get_context("spawn")
    pipes = []
    for side in (ours, monai):
        here, there = spawn.Pipe()
        spawn.Process(target=answer, args=(side, there), daemon=True).start()
        there.close()
        pipes.append(here)
    names = [pipe.recv() for pipe in pipes]
    taken: list[list[float]] = [[], []]
    for _ in range(rounds):
        for pipe, times in zip(pipes, taken, strict=True):
            pipe.send(True)
            times.append(pipe.recv())
    for pipe, name, times in zip(pipes, names, taken, strict=True):
        pipe.send(False)
        print(f"{name}: {statistics.median(times):.1f} ms a step")
    mine, theirs = map(statistics.median, taken)
    print(f"{theirs / mine:.2f} times as fast")


if __name__ == "__main__":
    main()
