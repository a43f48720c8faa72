"""10,000 patient-clustered replicates of six AUROCs on 20,000 scans, beside a loop over scikit-learn.

Claim: under 20 s of one core's time, and at least 20 times as fast as ``roc_auc_score`` called for each replicate.
Processor time, medians of interleaved runs; scikit-learn computes 10 replicates and is scaled up. Both must give the
same 10 replicates.

Cost: two minutes on one CPU core.
Command: python experiments/bench/bootstrap.py
Seen: ``experiments/studies/2026-11-26-interval-coverage.md``.
"""

import argparse
import statistics
import time

import numpy as np
from sklearn.metrics import roc_auc_score

from ichformer.statistics.bootstrap import auroc_statistic, bootstrap, resample

PREVALENCES = (0.004, 0.048, 0.035, 0.048, 0.063, 0.144)  # of RSNA 2019, by slice
SCANS, PATIENTS = 20_000, 15_000
REPLICATES, LOOPED = 10_000, 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    rng = np.random.default_rng(0)
    labels = (rng.random((SCANS, len(PREVALENCES))) < PREVALENCES).astype(np.float64)
    scores = (rng.random(labels.shape) + 0.5 * labels).astype(np.float32)
    patients = rng.integers(0, PATIENTS, SCANS)
    times_s = [_both(labels, scores, patients) for _ in range(parser.parse_args().runs)]
    ours_s, loop_s = (statistics.median(one) for one in zip(*times_s, strict=True))
    print(f"ichformer {ours_s:.1f} s, a loop over scikit-learn {loop_s:.0f} s: {loop_s / ours_s:.0f} times")


def _both(labels: np.ndarray, scores: np.ndarray, patients: np.ndarray) -> tuple[float, float]:
    start = time.process_time()
    statistics_ = [auroc_statistic(labels[:, i], scores[:, i], patients) for i in range(len(PREVALENCES))]
    found = bootstrap(statistics_, n_patients=PATIENTS, replicates=REPLICATES, seed=0)
    ours_s = time.process_time() - start
    counts = next(resample(PATIENTS, replicates=LOOPED, seed=0))
    start = time.process_time()
    theirs = [
        [roc_auc_score(labels[:, i], scores[:, i], sample_weight=row[patients]) for i in range(len(PREVALENCES))]
        for row in counts
    ]
    loop_s = (time.process_time() - start) * REPLICATES / LOOPED
    np.testing.assert_allclose(found.replicates[:LOOPED], theirs, rtol=0, atol=1e-12)
    return ours_s, loop_s


if __name__ == "__main__":
    main()
