"""Pixel flipping on a CPU: ``flipping_curves`` beside Quantus' PixelFlipping, same weights, scan and steps.

Claim: at least 20 times as fast. It is not: see the figures. Quantus runs a loop in Python, in which each step copies
the scan and looks through it for changes. Ours is one compiled program, whose compilation is timed apart. On a small
picture the loop is most of Quantus' time. On a whole scan it is the network, which costs both the same.

Both compute the curve of the largest values first and that of the smallest first, with a network of two convolutions,
one window and a random map. The curves have to agree to 1e-4. The first picture loses one pixel a step,
which is what Quantus does where nothing is said. One thread each, processor time, medians of interleaved runs: on a
machine that others use, clocks on the wall tell little.

Cost: four minutes. Needs ``quantus`` and ``torch`` (extra ``parity``).
Command: taskset -c 0 python experiments/bench/pixel_flipping.py
Seen: ``experiments/RESULTS.md``.
"""

import argparse
import os
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

os.environ["JAX_PLATFORMS"] = "cpu"

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import quantus
import torch
from jax import Array

from ichformer import LABELS, WINDOWS
from ichformer.explanations.faithfulness.fillings import from_scan
from ichformer.explanations.faithfulness.flipping import flipping_curves
from ichformer.explanations.score import PLAIN_BRAIN_HU, ExplainedScore
from ichformer.models.contract import Prediction
from ichformer.models.layers.convolution import Conv
from ichformer.models.layers.dense import Dense
from ichformer.objectives.classification import Classification

CASES = (((1, 28, 28), 784), ((1, 64, 64), 1024), ((8, 64, 64), 32), ((32, 128, 128), 32))
"""Slices, rows and columns of a scan, and steps. Quantus takes no step larger than a slice."""

WIDTH, LABEL, WINDOW, PAIRS = 16, 0, WINDOWS["brain"], ((1, 1), (1, 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    torch.set_num_threads(1)
    print("| scan | steps | Quantus | ichformer | times as fast | compiling |\n|---|---|---|---|---|---|")
    for shape, steps in CASES:
        ways = both(shape, steps)
        taken: dict[str, list[float]] = {name: [] for name in ways}
        curves = {}
        for _ in range(runs + 1):
            for name, way in ways.items():
                start = time.process_time()
                curves[name] = way()
                taken[name].append(time.process_time() - start)
        np.testing.assert_allclose(curves["ichformer"], curves["Quantus"], atol=1e-4)
        theirs, ours = (statistics.median(taken[name][1:]) for name in ("Quantus", "ichformer"))
        compiling = taken["ichformer"][0] - ours
        row = "x".join(map(str, shape)), f"{steps}", f"{theirs:.3f} s", f"{ours:.3f} s", f"{theirs / ours:.1f}"
        print(f"| {' | '.join(row)} | {compiling:.1f} s |", flush=True)


class Network(nn.Module):
    """Each slice for itself; the scan's logits are the largest of its slices."""

    @nn.compact
    def __call__(self, x: Array, slice_mask: Array, spacing_mm: Array, train: bool) -> Prediction:
        del slice_mask, spacing_mm, train
        b, s = x.shape[:2]
        y = nn.relu(Conv(WIDTH, (3, 3), 2, PAIRS, name="first")(x.reshape(b * s, *x.shape[2:])))
        y = nn.relu(Conv(WIDTH, (3, 3), 2, PAIRS, name="second")(y))
        logits = Dense(len(LABELS), name="head")(y.mean((1, 2))).reshape(b, s, -1)
        return Prediction(slice_logits=logits, scan_logits=logits.max(1), features={})


class TorchNetwork(torch.nn.Module):
    """The same with the same parameters, from [scans, slices, rows, columns]."""

    def __init__(self, params: Any) -> None:
        super().__init__()
        self.first = torch.nn.Conv2d(1, WIDTH, 3, 2, 1)
        self.second = torch.nn.Conv2d(WIDTH, WIDTH, 3, 2, 1)
        self.head = torch.nn.Linear(WIDTH, len(LABELS))
        with torch.no_grad():
            for name, layer in self.named_children():
                kernel = np.array(params[name]["kernel"])
                layer.weight.copy_(torch.from_numpy(kernel.transpose(3, 2, 0, 1) if kernel.ndim == 4 else kernel.T))
                layer.bias.copy_(torch.from_numpy(np.array(params[name]["bias"])))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        b, s, h, w = x.shape
        y = self.first(x.reshape(b * s, 1, h, w)).relu()
        return self.head(self.second(y).relu().mean((2, 3))).reshape(b, s, -1).amax(1)


def both(shape: tuple[int, int, int], steps: int) -> dict[str, Callable[[], np.ndarray]]:
    """How each computes the scores after 1/K, ..., 1 of the voxels became plain brain."""
    rng = np.random.default_rng(0)
    hu = jnp.asarray(rng.integers(PLAIN_BRAIN_HU + 1, 80, (1, *shape)), jnp.int16)
    maps = rng.permutation(hu.size).reshape(hu.shape).astype(np.float32)  # no two are equal
    objective = Classification(model=Network(), windows=(WINDOW,))
    slice_mask, spacing_mm = jnp.ones(hu.shape[:2], bool), jnp.ones((1, 3))
    variables = jax.jit(
        lambda: Network().init(jax.random.key(0), jnp.zeros((*hu.shape, 1)), slice_mask, spacing_mm, False)
    )()

    score = ExplainedScore.of_label(objective, variables, hu, slice_mask, spacing_mm, label=LABELS[LABEL], level="scan")

    @jax.jit
    def curves(score: ExplainedScore, maps: Array) -> Array:
        found = flipping_curves(score, maps, from_scan(score.reference), steps=steps)
        return jnp.concatenate([found.most_first, found.least_first])

    x, brain = np.array(score.windowed[..., 0]), float(score.reference.ravel()[0])
    metric = quantus.PixelFlipping(
        features_in_step=x.size // steps, perturb_baseline=brain, normalise=False, disable_warnings=True
    )
    network = TorchNetwork(variables["params"]).eval()

    def theirs() -> np.ndarray:
        given = {"model": network, "x_batch": x, "y_batch": np.asarray([LABEL]), "channel_first": True}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return np.concatenate([metric(**given, a_batch=sign * maps, softmax=False) for sign in (1, -1)])

    return {"Quantus": theirs, "ichformer": lambda: np.asarray(curves(score, maps))[:, 1:]}


if __name__ == "__main__":
    main()
