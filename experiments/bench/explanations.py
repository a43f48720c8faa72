"""Time and memory of each method of explanation for one scan, beside one prediction of the same scan.

Claim: none. Costs are counted in predictions, as these do not hang on the machine; the memory is that of the compiled
program beside its arguments and results (XLA's memory analysis).
Cost: not measured yet; most of it is for occlusion and RISE, and ``--methods`` takes fewer.
Command: python experiments/bench/explanations.py default --slices 32
Seen: nothing yet.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import pandas as pd

import ichformer as ich
from ichformer.ct.phantom import SITES, make_phantom
from ichformer.explanations.registry import EXPLANATIONS, find_method
from ichformer.explanations.score import CannotExplainError, ExplainedScore
from ichformer.pipeline.preparation.recipe import prepare_volume
from ichformer.training.process import own_process


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--slices", type=int, default=32)
    parser.add_argument("--methods", nargs="+", default=list(EXPLANATIONS))
    parser.add_argument("--runs", type=int, default=3)
    asked = parser.parse_args()
    own_process()
    run = ich.open_run(asked.run)
    hu = prepare_volume(make_phantom(5, site=SITES["alder"], subtypes=("subdural",)).volume, run.run.prepare).hu
    scans = jnp.asarray(hu[jnp.arange(asked.slices) % len(hu)])[None]
    score = ExplainedScore.of_label(
        run.run.objective,
        run.run.variables,
        scans,
        jnp.ones(scans.shape[:2], bool),
        jnp.asarray([[5.0, 1.6, 1.6]]),
        label="any",
        level="scan",
    )
    base_s, base_mb = measured(lambda score: score(score.windowed), score, runs=asked.runs)
    print(f"one prediction of {scans.shape[1:]}: {base_s:.2f} s, {base_mb:.0f} MB", flush=True)
    rows = []
    for name in asked.methods:
        try:
            seconds, memory_mb = measured(find_method(name).explain, score, runs=asked.runs)
        except CannotExplainError as reason:
            print(f"{name}: {reason}", flush=True)
            continue
        rows.append({"method": name, "predictions": seconds / base_s, "memory, MB": memory_mb})
        print(rows[-1], flush=True)
    print(pd.DataFrame(rows).round(1).to_string(index=False))


def measured(function: Callable[[ExplainedScore], Any], score: ExplainedScore, *, runs: int) -> tuple[float, float]:
    """The median of the seconds of several runs, and the megabytes of the compiled program."""
    compiled = jax.jit(function).lower(score).compile()
    memory = compiled.memory_analysis()
    assert memory is not None, "this device does not say what memory a program takes"
    jax.block_until_ready(compiled(score))
    taken = []
    for _ in range(runs):
        started = time.perf_counter()
        jax.block_until_ready(compiled(score))
        taken.append(time.perf_counter() - started)
    return statistics.median(taken), memory.temp_size_in_bytes / 1e6


if __name__ == "__main__":
    main()
