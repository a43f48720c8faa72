"""The brain's mask on a fine scan, 32 x 512 x 512 voxels of a synthetic head with its neck.

Claim: under a second of one core's time. Processor time, median.

Cost: ten seconds on one CPU core.
Command: taskset -c 0 python experiments/bench/brain.py
Seen: ``experiments/studies/2026-11-23-reading-series.md``.
"""

import argparse
import statistics
import time
from dataclasses import replace

from ichformer.ct.anatomy.brain import brain_mask
from ichformer.ct.phantom import SITES, make_phantom


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=7)
    runs = parser.parse_args().runs
    site = replace(SITES["alder"], neck_mm=45.0, step_mm=1.8)
    coarse = make_phantom(50, site=site, subtypes=("epidural",)).volume
    z, y, x = coarse.spacing_mm
    volume = replace(
        coarse,
        hu=coarse.hu[-32:].repeat(2, axis=1).repeat(2, axis=2),
        spacing_mm=(z, y / 2, x / 2),
        source=coarse.source[-32:],
    )
    times_s = []
    for _ in range(runs):
        start = time.process_time()
        brain_mask(volume)
        times_s.append(time.process_time() - start)
    print(f"{' x '.join(map(str, volume.hu.shape))}: {statistics.median(times_s):.2f} s")


if __name__ == "__main__":
    main()
