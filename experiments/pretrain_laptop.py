"""Does a pretraining on phantoms without labels teach features that tell bleeds, in minutes on two cores?

A masked autoencoder is pretrained on phantoms. Before its first step and after its last one, simple classifiers read
"any" from the frozen features of the scans of patients it never saw (``ichformer probe``).

Claim: none until it is measured; the table says what was learnt.
Cost: about half an hour on two cores, of which most is the making of the phantoms; they are made once.
Command: python experiments/pretrain_laptop.py work
Expected: for each probe the AUROC before and after, and the difference with a 95 % interval over patients.
"""

import argparse
from pathlib import Path
from typing import get_args

import ichformer as ich
from ichformer.ct.phantom.cohort import write_phantom_cohort
from ichformer.statistics.probes.fits import ProbeMethod
from ichformer.training.process import own_process

SEED = 51


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, help="folder for all that is made")
    parser.add_argument("--scans", type=int, default=400)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--model", default="slice_vit_nano")
    parser.add_argument("--objective", default="mae")
    parser.add_argument("--size", type=int, default=64, help="rows and columns of a prepared slice")
    options = parser.parse_args()
    own_process()
    work = options.work
    cohort = write_phantom_cohort(work / "cohort", scans=options.scans, seed=SEED, prevalence=0.5)
    store = ich.prepare(
        "phantom",
        source=cohort,
        out=work / "store",
        fractions={"train": 0.5, "val": 0.1, "test": 0.4},
        seed=SEED,
        config={"size": options.size, "field_of_view_mm": 208.0, "keep": "brain"},
    )
    # One step at a rate of nearly nothing: the features that the pretraining starts from.
    before = pretrain(store, options, work / "before", steps=1, learning_rate=1e-12)
    after = pretrain(store, options, work / f"after-{options.steps}", steps=options.steps, learning_rate=2e-3)
    for method in get_args(ProbeMethod):
        print(line(method, before, after, store))


def pretrain(
    store: ich.Store, options: argparse.Namespace, out: Path, *, steps: int, learning_rate: float
) -> ich.PretrainedModel:
    run = ich.train(
        store,
        out=out,
        model=options.model,
        objective={"name": options.objective, "normalise_targets": False},
        data={"batch_size": 16, "num_slices": 4},
        optim={"learning_rate": learning_rate, "warmup_steps": min(100, steps // 2)},
        steps=steps,
        seed=SEED,
        ema_decay=0.98,
    )
    assert isinstance(run, ich.PretrainedModel)
    return run


def line(method: ProbeMethod, before: ich.PretrainedModel, after: ich.PretrainedModel, store: ich.Store) -> str:
    """The AUROC of both, and how far they are apart over the same patients."""
    found = [ich.probe(run, store, label="any", method=method) for run in (before, after)]
    (compared,) = ich.compare(*(each.predictions for each in found), labels="any")
    apart = compared.levels[-1].labels[0].auroc
    assert apart is not None
    assert apart.interval is not None
    first, last = (each.auroc.value for each in found)
    interval = f"{apart.interval.low:+.3f} to {apart.interval.high:+.3f}"
    return f"{method}: {first:.3f} before, {last:.3f} after, {apart.value:+.3f} ({interval})"


if __name__ == "__main__":
    main()
