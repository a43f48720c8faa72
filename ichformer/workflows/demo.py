"""The whole way on synthetic scans: phantoms, prepare, train, evaluate on a site never trained on, report."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ichformer.cohorts.registry import COHORTS
from ichformer.cohorts.splits import hold_out_site
from ichformer.ct.phantom.cohort import write_phantom_cohort
from ichformer.evaluation.summary import Summary
from ichformer.pipeline.augmentation.augment import Augmentation
from ichformer.pipeline.preparation.config import PrepareConfig
from ichformer.pipeline.preparation.prepare import prepare
from ichformer.pipeline.store.records import Store
from ichformer.training.config import DataConfig, ModelConfig, ObjectiveConfig, OptimConfig, TrainConfig
from ichformer.workflows.evaluate_run import evaluate
from ichformer.workflows.predict_scans import predict
from ichformer.workflows.train_run import train_and_freeze

UNSEEN_SITE = "elm"
SCANS, STEPS = 200, 500
FAST_SCANS, FAST_STEPS = 25, 60
PREPARE = PrepareConfig(size=80, field_of_view_mm=208.0, keep="brain")


@dataclass(frozen=True, kw_only=True)
class DemoResult:
    """Where things are, and the figures on the unseen site."""

    run: Path
    report: Path
    summary: Summary


def demo(out: Path | str, *, fast: bool = False, seed: int = 0, progress: bool = True) -> DemoResult:
    """Makes ``out`` a trained run with its evaluation, and a report on the largest bleed of the unseen site.

    Cohort and store lie beside it in ``<out>-data``.

    What an earlier, interrupted demo of the same settings finished is used again.

    Args:
      out: the run's folder.
      fast: fewer scans and steps: it shows the way, not the figures.
      seed: of phantoms, split and training.
      progress: bars on standard error.
    """
    out = Path(out)
    data = out.with_name(f"{out.name}-data")
    cohort = write_phantom_cohort(data / "cohort", scans=FAST_SCANS if fast else SCANS, seed=seed, progress=progress)
    index = COHORTS["phantom"](cohort, cache=data / "cache")
    index = hold_out_site(index, site=UNSEEN_SITE, seed=seed, val_fraction=0.2)
    store = prepare(index, data / "store", config=PREPARE, progress=progress)
    train_and_freeze(demo_config(store, fast=fast, seed=seed), out, progress=progress)
    summary = evaluate(out, store.path, out / "evaluation")
    contents = pd.read_csv(cohort / "contents.csv", index_col="series")
    unseen = index[index["site"] == UNSEEN_SITE].set_index("series")
    largest = contents.loc[unseen.index].filter(like="_ml").sum(axis=1).idxmax()
    read = predict(out, unseen.loc[largest, "path"], out / "report")
    return DemoResult(run=out, report=read.series[0].report, summary=summary)


def demo_config(store: Store, *, fast: bool, seed: int) -> TrainConfig:
    """A small hybrid, trained for a few minutes on two cores.

    Short runs of many scans tell more than long runs of few, and small changes are enough where heads lie alike. No
    skull, as its edge looks like blood; narrow windows, each on a scale of its own (the encoder's ``Standardise``); a
    low rate for all but matrices: so it begins to tell bleeds after 100 steps on each of five cohorts, and the rest
    goes into the subtypes (``experiments/studies/2026-11-28-demo-plateau.md``). Where it has to be fast, half the batch
    and AdamW, whose step compiles in two thirds of the time.
    """
    muon = OptimConfig(name="muon", learning_rate=0.014, adamw_factor=0.1, schedule="wsd", warmup_steps=30)
    adamw = OptimConfig(name="adamw", learning_rate=0.003, schedule="wsd", warmup_steps=30)
    return TrainConfig(
        data=DataConfig(
            store=str(store.path),
            batch_size=8 if fast else 16,
            num_slices=8,
            augmentation=Augmentation(rotate_deg=5.0, scale=0.05, shift=0.03, noise_hu=4.0),
        ),
        objective=ObjectiveConfig(windows=("hu_0_20", "hu_20_40", "hu_40_60", "hu_60_80", "hu_80_100")),
        model=ModelConfig(name="hybrid_nano"),
        optim=adamw if fast else muon,
        steps=FAST_STEPS if fast else STEPS,
        ema_decay=0.98,
        seed=seed,
    )
