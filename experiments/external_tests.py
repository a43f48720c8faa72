"""A run on data sets that it never saw, such as CQ500 and CT-ICH, side by side.

Claim: none yet for a run that was trained on patients. The weights of the package are on real scans in
experiments/real_sets.py.
Cost: minutes for each data set on two cores.
Command:
  ichformer prepare --dataset cq500 --source CQ500 --out STORES/cq500 --hold-out-site all
  ichformer prepare --dataset ctich --source CTICH --out STORES/ctich --hold-out-site all
  python experiments/external_tests.py RUN OUT STORES/cq500 STORES/ctich
Expected: a page for each data set in OUT, and a line for each with the AUROC of "any" by scan, its 95 % interval over
patients and the number of positive scans. A store that holds a patient of the run's training is refused. The best
network of RSNA 2019 reached an AUROC by slice of 0.964 on 75 scans of CT-ICH and 0.949 on 491 of CQ500 (Wang et al.
2021, https://doi.org/10.1016/j.nicl.2021.102785).
"""

import argparse
from pathlib import Path

from ichformer.evaluation.results import Summary
from ichformer.training.process import own_process
from ichformer.workflows.evaluate_run import evaluate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("stores", type=Path, nargs="+")
    parser.add_argument("--split", default="test")
    options = parser.parse_args()
    own_process()
    for store in options.stores:
        print(line(store.name, evaluate(options.run, store, options.out / store.name, split=options.split)))


def line(name: str, summary: Summary) -> str:
    """The AUROC of "any" at each level."""
    parts = []
    for level in summary.levels:
        (found,) = (one for one in level.labels if one.label == "any")
        if found.auroc.value is None:
            parts.append(f"by {level.level} not estimable, {found.n_positive} of {found.n} positive")
            continue
        assert found.auroc.interval is not None
        low, high = found.auroc.interval.low, found.auroc.interval.high
        figure = f"{found.auroc.value:.3f} ({low:.3f}-{high:.3f})"
        parts.append(f"by {level.level} {figure}, {found.n_positive} of {found.n} positive")
    return f'{name}: AUROC of "any" {"; ".join(parts)}'


if __name__ == "__main__":
    main()
