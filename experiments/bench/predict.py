"""Predicting synthetic scans of 32 x 512 x 512, reading included: with the report, without it, and on workers.

Processor time counts the start of the workers too, which takes about 1.5 s each and is spread over four scans here.

Claim: without the report at most 1.0 s of processor time a scan with the model of ``ichformer demo``.

Cost: two minutes on two idle CPU cores. It makes four scans, and predicts them five times in each way, in turn.
Command: python experiments/bench/predict.py runs/demo
Seen: ``experiments/RESULTS.md``.
"""

import argparse
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import ichformer as ich
from ichformer.ct.phantom import SITES, make_phantom
from ichformer.ct.phantom.write import uid, write_series

SCANS = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--runs", type=int, default=5)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scans, out = Path(folder, "scans"), Path(folder, "out")
        for number in range(SCANS):
            write_scan(scans / str(number), number)
        once = partial(ich.predict, scans, run=asked.run, out=out, progress=False)
        forms: dict[str, Callable[[], object]] = {
            "with the report": once,
            "without": partial(once, report=False),
            "without, 2 workers": partial(once, report=False, workers=2),
        }
        taken: dict[str, list[tuple[float, float]]] = {name: [] for name in forms}
        for run in range(asked.runs + 1):
            for name, form in forms.items():
                started = time.perf_counter(), processor_s()
                form()
                if run:  # the first compiles
                    taken[name].append((time.perf_counter() - started[0], processor_s() - started[1]))
    for name, seconds in taken.items():
        wall_s, cpu_s = (statistics.median(values) / SCANS for values in zip(*seconds, strict=True))
        print(f"{name:<20} {wall_s:.2f} s a scan, {cpu_s:.2f} s of processor time")


def processor_s() -> float:
    """Of this process and of those that it started and that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def write_scan(folder: Path, number: int) -> None:
    """A synthetic head of about 32 slices of 512 x 512."""
    phantom = make_phantom(number, site=replace(SITES["alder"], pixels=512), subtypes=("subdural",))
    study, series = uid("study", number), uid("series", number)
    write_series(phantom, folder, patient=f"P{number}", name="", study=study, series=series)


if __name__ == "__main__":
    main()
