"""Wherever a path is taken, a text will do: nobody has to know which function wants a ``Path``."""

import os
import typing
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from ichformer import testing
from ichformer.bench import loader, prepare
from ichformer.cohorts import index
from ichformer.cohorts.registry import COHORTS
from ichformer.ct.io import scans
from ichformer.ct.phantom import cohort
from ichformer.evaluation import compare, thresholds
from ichformer.evaluation.tables import files as table_files
from ichformer.inference import ensembles as ensemble
from ichformer.inference import trained
from ichformer.models.weights import load, pretrained
from ichformer.pipeline.preparation import prepare as preparation
from ichformer.pipeline.store import records, resplit
from ichformer.training import trainer as loop
from ichformer.training.runs import run
from ichformer.workflows import cross_validate as folds
from ichformer.workflows import demo
from ichformer.workflows import evaluate_run as predictions
from ichformer.workflows import evaluate_table as tables
from ichformer.workflows import leave_one_site_out as across_sites
from ichformer.workflows import make_ensemble as ensembling
from ichformer.workflows import measure_robustness as robustness_run
from ichformer.workflows import predict_scans as predict
from ichformer.workflows import train_run as training
from ichformer.workflows.explanations import audit_run
from ichformer.workflows.opened import open_run as opened

ENTRIES: list[Callable[..., Any]] = [
    *COHORTS.values(),
    *(index.read_index, scans.find_scans, scans.read_volume, cohort.write_phantom_cohort),
    *(
        testing.tiny_cohort,
        preparation.prepare_index,
        records.Store.open,
        resplit.resplit,
        loop.run_training,
        run.Run.open,
    ),
    *(run.start_run, run.seen_scans, trained.open_trained, trained.training_store, ensemble.open_members),
    *(training.train, training.train_and_freeze, opened.open_run, predictions.evaluate, predictions.open_to_evaluate),
    *(
        tables.evaluate,
        compare.compare,
        across_sites.leave_one_site_out,
        folds.cross_validate,
        ensembling.make_ensemble,
    ),
    *(robustness_run.corruption_benchmark, audit_run.audit, table_files.read_predictions),
    *(thresholds.read_thresholds, predict.predict, demo.demo, loader.bench_loader),
    *(prepare.bench_prepare, load.load_weights, pretrained.load_pretrained),
]


def kinds(hint: Any) -> Iterator[set[Any]]:
    """The kinds that a parameter takes, and those of what it is a sequence of."""
    parts = typing.get_args(hint)
    if typing.get_origin(hint) in (Sequence, tuple, list):
        yield from kinds(parts[0])
    else:
        yield {typing.get_origin(part) or part for part in (parts or (hint,))}


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: f"{entry.__module__}.{entry.__name__}")
def test_a_path_may_be_a_text(entry):
    hints = typing.get_type_hints(entry)
    hints.pop("return", None)
    paths = [taken for hint in hints.values() for taken in kinds(hint) if taken & {Path, os.PathLike}]
    assert paths
    assert all(str in taken for taken in paths)
