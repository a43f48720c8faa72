"""RSNA 2019: one network end to end, its predictions as a submission, and the competition's own metric.

Claim: none yet. It has not been run: the data set cannot be had where this was written.
Cost: not measured.
Command:
  ichformer prepare --dataset rsna2019 --source RSNA --out STORE
  python experiments/rsna2019.py STORE WORK --recipe rsna2019-slice-vit
Expected: to stand beside the best single model of the 2nd place, weighted log loss 0.046 (private leaderboard). Split
"test" of the store is a part of the competition's training set, as its own test set has no public labels; the figure is
near that of the leaderboard and not the same.

Several recipes in one call are trained one after the other and become an ensemble, whose submission is written too. The
recipes are rsna2019-slice-vit, rsna2019-swin3d, rsna2019-hybrid, rsna2019-hybrid-effnet and rsna2019-medal.
"""

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

import ichformer as ich
from ichformer.errors import InputError
from ichformer.inference.trained import Trained, open_trained
from ichformer.training.config.recipes import RECIPES, find_recipe
from ichformer.training.process import own_process
from ichformer.workflows.evaluate_run import evaluate
from ichformer.workflows.make_ensemble import make_ensemble
from ichformer.workflows.parts.predict_store import predict_store
from ichformer.workflows.train_run import train_and_freeze

OF_RSNA = tuple(name for name in RECIPES if name.startswith("rsna2019-"))
WEIGHTS = {label: 2.0 if label == "any" else 1.0 for label in ich.LABELS}
"""Of the labels in the competition's log loss; see its page "Evaluation"."""

_EDGE = 1e-15
"""Probabilities of 0 and 1 are moved by so much, as the competition did."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("work", type=Path, help="folder for the runs")
    parser.add_argument("--recipe", nargs="+", default=["rsna2019-hybrid"], choices=OF_RSNA)
    parser.add_argument("--steps", type=int, help="fewer steps, to see that everything works")
    options = parser.parse_args()
    store = ich.Store.open(options.store)
    runs = [trained(name, store, options.work / name, steps=options.steps) for name in options.recipe]
    if len(runs) > 1:
        if not (options.work / "ensemble").exists():
            make_ensemble(runs, store.path, options.work / "ensemble")
        runs.append(options.work / "ensemble")
    for run in runs:
        opened = open_trained(run)
        evaluate(opened, store, run / "evaluation")
        file = submission(opened, store)
        file.to_csv(run / "submission.csv", index=False)
        print(f"{run.name}: weighted log loss {competition_loss(truth(store), file):.5f}, {run / 'submission.csv'}")


def trained(name: str, store: ich.Store, run: Path, *, steps: int | None) -> Path:
    config = find_recipe(name).config
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, store=str(store.path)))
    if steps is not None:
        config = dataclasses.replace(config, steps=steps, evaluate_every=0)
    own_process(config.parallel)
    train_and_freeze(config, run)
    return run


def submission(run: Trained, store: ich.Store, split: str = "test") -> pd.DataFrame:
    """The scores of all slices as the competition wanted them: a row ``ID_<image>_<label>,<score>`` for each label."""
    table = predict_store(run, store, split)
    slices = table[table["slice"] != ""]
    if slices["not_scored"].ne("").any():
        count = int(slices["not_scored"].ne("").sum())
        raise InputError(f"{count} slices have no score", where=run.path, fix="see the column not_scored")
    scores = slices[[f"score_{label}" for label in ich.LABELS]].to_numpy()
    return _rows(_images(store, split), scores)


def truth(store: ich.Store, split: str = "test") -> pd.DataFrame:
    """The labels of all slices of a split, in the same form."""
    return _rows(
        _images(store, split), np.concatenate([store.read(int(row)).slice_labels for row in store.rows(split)])
    )


def competition_loss(truth: pd.DataFrame, submission: pd.DataFrame) -> float:
    """The weighted multi-label log loss of a submission: "any" counts twice; the mean over images of the weighted mean.

    Raises:
      InputError: the two do not name the same images and labels, each once.
    """
    known, given = (table.set_index("ID")["Label"].astype(float) for table in (truth, submission))
    if known.index.has_duplicates or given.index.has_duplicates or set(known.index) != set(given.index):
        raise InputError("does not name the labels of the truth, each once", where="submission", fix="write it again")
    probability = given.reindex(known.index).clip(_EDGE, 1 - _EDGE)
    loss = -(known * np.log(probability) + (1 - known) * np.log(1 - probability))
    return float(np.average(loss, weights=known.index.str.rsplit("_", n=1).str[1].map(WEIGHTS)))


def _images(store: ich.Store, split: str) -> list[str]:
    """The competition's identifiers of all slices of a split: the names of their files."""
    names = [Path(name).stem for row in store.rows(split) for name in store.read(int(row)).volume.source]
    if not all(name.startswith("ID_") for name in names):
        raise InputError("holds no names of images", where=store.path, fix="prepare the set rsna2019 again")
    return names


def _rows(images: Sequence[str], values: np.ndarray) -> pd.DataFrame:
    names = [f"{image}_{label}" for image in images for label in ich.LABELS]
    return pd.DataFrame({"ID": names, "Label": values.ravel()})


if __name__ == "__main__":
    main()
