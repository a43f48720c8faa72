"""Folders of runs and of ensembles, and bundles: their JSON, their tables and arrays, and their checkpoints."""

import dataclasses
import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pandas as pd

from experiments.fuzzing.kind import Kind, Source
from experiments.fuzzing.mutations import ANY, JSON, Mutation, by_name, special_or_any
from experiments.fuzzing.table import CSV, predictions_of
from experiments.fuzzing.zips import zip_field
from ichformer import LABELS
from ichformer.cohorts.index import index_columns
from ichformer.evaluation.ood import OOD_NAME, fit_ood, read_ood, write_ood
from ichformer.evaluation.tables.checked import check_table
from ichformer.evaluation.thresholds import THRESHOLDS_NAME, fix_thresholds, read_thresholds, thresholds_json
from ichformer.files.bundles import SUFFIX
from ichformer.inference.ensemble_folder import write_ensemble
from ichformer.inference.ensembles import assemble
from ichformer.inference.trained import open_trained
from ichformer.pipeline.preparation.config import PrepareConfig
from ichformer.pipeline.store.records import Store
from ichformer.reporting.evaluation.run_facts import run_facts
from ichformer.training.build import build_objective
from ichformer.training.checkpoints.checkpoint import Checkpoints
from ichformer.training.config import DataConfig, ModelConfig, ParallelConfig, TrainConfig
from ichformer.training.labels import LABELS_NAME
from ichformer.training.runs.opening.run_folder import run_folder
from ichformer.training.runs.run import SEEN_COLUMNS, Run, initial_state, note_scans, seen_scans, start_run
from ichformer.workflows.exports.write_export import export_folder


def write_bases(folder: Path, source: Source) -> None:
    """A run with everything that a training leaves, without the training, and an ensemble of it."""
    config = TrainConfig(
        data=DataConfig(store="store", batch_size=2, num_slices=4),
        model=ModelConfig(name="slice_vit_nano"),
        parallel=ParallelConfig(data=1),
        steps=5,
    )
    prepare = PrepareConfig(size=32)
    run = folder / "run"
    start_run(run, config, prepare)
    shapes = jax.eval_shape(lambda: initial_state(build_objective(config), config, prepare.size))
    state = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    checkpoints = Checkpoints(run / "checkpoints", every=1, keep=3)
    for step in (1, 2):
        checkpoints.save(step, state, metrics={"val_loss": 1.0 / step}, force=True)
    checkpoints.close()
    trained = {"trained": {"slice": LABELS, "scan": LABELS}}
    (run / LABELS_NAME).write_text(json.dumps(trained))
    rng = np.random.default_rng(0)
    write_ood(fit_ood(rng.normal(size=(9, 4)), rng.normal(size=(5, 4))), run / OOD_NAME)
    thresholds = fix_thresholds(check_table(predictions_of(rng, split="val")))
    (run / THRESHOLDS_NAME).write_bytes(thresholds_json(thresholds))
    note_scans(run, source.index.assign(pixels="0" * 32, patient_key="")[list(SEEN_COLUMNS)])
    member = Run.open(run)
    write_ensemble(
        assemble([member, dataclasses.replace(member, step=1)], [0.5, 0.5], ("plain",), folder / "ensemble"), {}
    )
    (folder / "bundle").mkdir()
    export_folder(member, folder / "bundle" / BUNDLE, as_bundle=True)


BUNDLE = f"run{SUFFIX}"

_ZIP = by_name((zip_field,))


def break_run(rng: np.random.Generator, folder: Path) -> str:
    """One file of the folder, of its kind's own faults as often as not; or it is gone, or another file's content."""
    files = sorted(file for file in folder.rglob("*") if file.is_file() and file.stat().st_size)
    # Files of people's own sort are few beside those of a checkpoint.
    plain = [file for file in files if "checkpoints" not in file.parts]
    chosen = plain if rng.random() < 0.7 else files
    file = chosen[int(rng.integers(len(chosen)))]
    called = file.relative_to(folder).as_posix()
    what = rng.random()
    if what < 0.05:
        file.unlink()
        return f"{called} gone"
    if what < 0.1:
        other = files[int(rng.integers(len(files)))]
        file.write_bytes(other.read_bytes())
        return f"{called} exchanged"
    data = bytearray(file.read_bytes())
    special: dict[str, Mutation] = ANY
    if data[:1] == b"{":
        special = JSON
    elif file.suffix == ".csv":
        special = CSV
    elif file.suffix in (".npz", SUFFIX):
        special = _ZIP
    name, mutation = special_or_any(rng, special, 0.75)
    file.write_bytes(mutation(rng, data))
    return f"{'checkpoint' if 'checkpoints' in file.parts else called} {name}"


def read_run(folder: Path) -> None:
    """As prediction and evaluation open it; a bundle that was unpacked has a folder until its process ends."""
    if (folder / BUNDLE).exists():
        unpacked = run_folder(folder / BUNDLE)
        try:
            _read_folder(unpacked)
        finally:
            shutil.rmtree(unpacked.parent)
    else:
        _read_folder(folder)


def _read_folder(folder: Path) -> None:
    trained = open_trained(folder)
    empty = pd.DataFrame(columns=[*index_columns(), "pixels"], dtype=str)
    run_facts(trained, Store(path=folder, config={}, index=empty), "test")
    seen_scans(folder)
    if (folder / THRESHOLDS_NAME).exists():
        read_thresholds(folder / THRESHOLDS_NAME)
    if (folder / OOD_NAME).exists():
        read_ood(folder / OOD_NAME).percentiles(np.zeros((1, 4)))


KIND = Kind(name="run", share=0.05, write=write_bases, damage=break_run, read=read_run)
