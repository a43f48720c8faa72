"""Trains one small model of each of five families well enough that asking what it looks at makes sense.

The phantoms are coarse and their bleeds five times as large as usual, so that minutes of training are enough. Every
family sees the same scans for the same steps with the same optimiser, and has a lesion head.

Claim: none until it is run; each model has to reach an AUROC of 0.95 for "any" by scan in unseen patients before its
explanations are compared (experiments/explanations.py).
Cost: not measured yet.
Command: python -m experiments.explained_families work
Expected: one row a family, its AUROC of "any" by slice and by scan in the split "test". Models that are there are not
trained again.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

import ichformer as ich
from experiments.ablations import auroc_of_any
from ichformer.ct.phantom.acquisition.sites import SITES
from ichformer.ct.phantom.cohort import write_cohort
from ichformer.ct.phantom.population import Population
from ichformer.pipeline.augmentation.augment import Augmentation
from ichformer.pipeline.preparation.config import PrepareConfig
from ichformer.training.process import own_process
from ichformer.workflows.parts.predict_store import predict_store

SEED, SCANS, SIZE_PX = 41, 240, 64

FAMILIES: dict[str, dict[str, Any]] = {
    "slice_vit": {"name": "slice_vit_nano"},
    "vit3d": {"name": "vit3d_nano"},
    "swin3d": {"name": "swin3d_nano"},
    "hybrid": {"name": "hybrid_nano"},
    "cnn2d": {"name": "cnn2d_nano"},
}

LARGE = tuple(
    replace(SITES[name], name=f"{name}-large", pixels=128, step_mm=2.5, population=Population(bleed_ml=5.0))
    for name in ("alder", "cedar")
)
"""Two scanners without a tilt, coarse and with large bleeds."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, help="folder for all that is made")
    parser.add_argument("--families", nargs="+", choices=list(FAMILIES), default=list(FAMILIES))
    parser.add_argument("--steps", type=int, default=600)
    options = parser.parse_args()
    own_process()
    store = phantoms(options.work)
    rows = []
    for name in options.families:
        table = predict_store(train(name, store, options.work, options.steps).run, store, "test")
        by_level = {level: table[(table["slice"] == "") == (level == "scan")] for level in ("slice", "scan")}
        rows.append({"family": name, **{level: auroc_of_any(part) for level, part in by_level.items()}})
        print(rows[-1], flush=True)
    print(pd.DataFrame(rows).round(3).to_string(index=False))


def phantoms(work: Path) -> ich.Store:
    """The store, made where it is not there."""
    cohort = write_cohort(
        work / "cohort", scans=SCANS, seed=SEED, sites=LARGE, prevalence=0.6, workers=None, progress=True
    )
    config = PrepareConfig(size=SIZE_PX, field_of_view_mm=208.0, keep="brain")
    return ich.prepare(
        "phantom",
        source=cohort,
        out=work / "store",
        fractions={"train": 0.7, "val": 0.1, "test": 0.2},
        seed=SEED,
        config=vars(config),
    )


def train(name: str, store: ich.Store, work: Path, steps: int) -> ich.TrainedModel:
    """The model of a family, trained where it is not there."""
    run = ich.train(
        store,
        out=work / name,
        model=FAMILIES[name] | {"lesions": True},
        objective={"windows": ("hu_20_40", "hu_40_60", "hu_60_80"), "lesion_weight": 1.0},
        data={"batch_size": 8, "num_slices": 8, "augmentation": Augmentation(rotate_deg=10.0, scale=0.1, shift=0.03)},
        optim={"learning_rate": 2e-3, "warmup_steps": 50},
        steps=steps,
        seed=SEED,
        ema_decay=0.98,
    )
    assert isinstance(run, ich.TrainedModel)
    return run


if __name__ == "__main__":
    main()
