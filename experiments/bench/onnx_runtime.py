"""Scores of one scan by ONNX Runtime beside XLA, in one process, one after the other in turns.

Claim: none; it says which of both is faster on a CPU, for whoever thinks of ONNX as a way to speed.
Cost: two minutes a model on two CPU cores, of which most is the translation.
Command: JAX_PLATFORMS=cpu python -m experiments.bench.onnx_runtime slice_vit_nano hybrid_nano
Seen: ``experiments/studies/2026-11-30-onnx.md``.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import onnxruntime

from ichformer.ct.windows import WINDOWS
from ichformer.inference.compiled.computation import INPUTS, computation_of
from ichformer.inference.compiled.onnx import FILE_NAME, onnx_files
from ichformer.models.inputs import example_inputs
from ichformer.models.registry import create_model
from ichformer.objectives.classification import Classification
from ichformer.pipeline.preparation.config import PrepareConfig
from ichformer.training.config import DataConfig, ModelConfig, TrainConfig
from ichformer.training.runs.run import Run

BRAIN = tuple(WINDOWS[name] for name in ("brain", "subdural", "bone"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--slices", type=int, default=24)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--runs", type=int, default=15)
    asked = parser.parse_args()
    print(f"jax {jax.__version__}, onnxruntime {onnxruntime.__version__}, {asked.slices} slices of {asked.size} pixels")
    for name in asked.models:
        xla, runtime = both(untrained(name, asked.size), asked.slices)
        times = [(clock(xla), clock(runtime)) for _ in range(asked.runs)]
        ours, theirs = (statistics.median(side) for side in zip(*times, strict=True))
        ratio = statistics.median(two / one for one, two in times)
        print(f"{name}: XLA {ours * 1e3:.0f} ms, ONNX Runtime {theirs * 1e3:.0f} ms, ratio of the pairs {ratio:.2f}")


def untrained(name: str, size: int) -> Run:
    """A run of random parameters: speed does not depend on them."""
    model = create_model(name)
    return Run(
        path=Path(tempfile.gettempdir()),
        config=TrainConfig(data=DataConfig(store=""), model=ModelConfig(name=name)),
        prepare=PrepareConfig(size=size),
        objective=Classification(model=model, windows=BRAIN),
        params=model.init(jax.random.key(0), **example_inputs(model, size=size))["params"],
        step=0,
        facts={},
    )


def both(run: Run, slices: int) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """A call of the run by XLA and one by ONNX Runtime, both warm."""
    size = run.prepare.size
    hu = np.random.default_rng(0).integers(-20, 120, (1, slices, size, size)).astype(np.int16)
    given = hu, np.ones((1, slices), bool), np.full((1, 3), 2.0, np.float32)
    compiled = jax.jit(computation_of(run))
    quiet = onnxruntime.SessionOptions()
    quiet.log_severity_level = 4
    session = onnxruntime.InferenceSession(onnx_files(run, slices=slices)[FILE_NAME], quiet)
    ways = (
        lambda: jax.block_until_ready(compiled(*given)),
        lambda: session.run(None, dict(zip(INPUTS, given, strict=True))),
    )
    for way in ways:
        way()
    return ways


def clock(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
