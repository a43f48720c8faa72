"""All steps on synthetic scans: make them, prepare, train, evaluate on a site that is not trained on, report."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ichformer.ct.phantom.cohort import write_phantom_cohort
from ichformer.evaluation.summary import Summary
from ichformer.pipeline.preparation.config import PrepareConfig
from ichformer.pipeline.store.records import Store
from ichformer.reporting.scan.outputs import REPORT_NAME
from ichformer.training.config import OptimConfig, TrainConfig
from ichformer.training.config.recipes import find_recipe
from ichformer.training.runs.opening.run_folder import DEFAULT_RUN
from ichformer.workflows.evaluate_run import evaluate
from ichformer.workflows.predict_scans import predict
from ichformer.workflows.prepare_cohort import prepare_cohort
from ichformer.workflows.train_run import train_and_freeze

UNSEEN_SITE = "elm"
SCANS = 300
FAST_SCANS, FAST_STEPS = 25, 60
PREPARE = PrepareConfig(size=80, field_of_view_mm=208.0, keep="brain")


@dataclass(frozen=True, kw_only=True)
class DemoResult:
    """What the demo made.

    Attributes:
      run: folder of the trained run.
      report: the report on the scan with the largest bleed of the unseen site.
      shipped_report: the report of the weights that come with the package on the same scan.
      summary: the figures on the unseen site.
    """

    run: Path
    report: Path
    shipped_report: Path
    summary: Summary


def demo(out: Path | str, *, fast: bool = False, seed: int = 0, progress: bool = True) -> DemoResult:
    """Trains a run on synthetic scans, evaluates it on an unseen site and writes a report on one scan.

    The weights that come with the package report on the same scan, for comparison.

    The scans and their store lie beside the run in ``<out>-data``. A demo that was interrupted continues when it is
    called again with the same settings.

    Args:
      out: folder of the run.
      fast: take fewer scans and steps. This shows the way, but the figures mean nothing.
      seed: of scans, split and training.
      progress: show bars with an ETA on standard error.
    """
    out = Path(out)
    data = out.with_name(f"{out.name}-data")
    cohort = write_phantom_cohort(data / "cohort", scans=FAST_SCANS if fast else SCANS, seed=seed, progress=progress)
    prepared = prepare_cohort(
        "phantom",
        source=cohort,
        out=data / "store",
        hold_out_site=UNSEEN_SITE,
        fractions={"train": 0.8, "val": 0.2},
        seed=seed,
        config=PREPARE,
        progress=progress,
    )
    train_and_freeze(demo_config(prepared.store, fast=fast, seed=seed), out, progress=progress)
    summary = evaluate(out, prepared.store.path, out / "evaluation")
    contents = pd.read_csv(cohort / "contents.csv", index_col="series")
    unseen = prepared.index[prepared.index["site"] == UNSEEN_SITE].set_index("series")
    largest = contents.loc[unseen.index].filter(like="_ml").sum(axis=1).idxmax()
    reports = [
        predict(unseen.loc[largest, "path"], run=run, out=out / folder).series[0].folder / REPORT_NAME
        for run, folder in ((out, "report"), (DEFAULT_RUN, "report-shipped"))
    ]
    return DemoResult(run=out, report=reports[0], shipped_report=reports[1], summary=summary)


def demo_config(store: Store, *, fast: bool, seed: int) -> TrainConfig:
    """The recipe "demo" for a store.

    The fast demo takes half the batch, and AdamW, whose step compiles in two thirds of the time.
    """
    config = find_recipe("demo").config
    data = dataclasses.replace(config.data, store=str(store.path))
    config = dataclasses.replace(config, data=data, seed=seed)
    if not fast:
        return config
    adamw = OptimConfig(name="adamw", learning_rate=0.003, schedule="wsd", warmup_steps=30)
    data = dataclasses.replace(data, batch_size=8)
    return dataclasses.replace(config, data=data, optim=adamw, steps=FAST_STEPS)
