"""What does each part of the recipe of the shipped weights bring?

The recipe is trained again and again, each time without one of its parts, for the same number of steps from the same
seed, and scores the phantoms of the site that it never saw and both sets of real pictures.

Claim: none; it is a table. A part that brings nothing on phantoms of another style may still bring much on real
pictures, and the other way round.
Cost: about a quarter of an hour on two cores for each part.
Command: python -m experiments.ablations work ../shared/data --out ablations.csv
Expected: one row for each part; rows that are there are not trained again.
"""

import argparse
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

import ichformer as ich
from experiments.real_sets import scored, single, trauma
from experiments.shipped_weights import RECIPE, SEED, WHOLE, phantoms, settings
from ichformer.training.config import DataConfig, ModelConfig, ObjectiveConfig, TrainConfig
from ichformer.training.process import own_process
from ichformer.training.trainer import run_training
from ichformer.workflows.parts.predict_store import predict_store

INTENSITIES = ("noise_hu", "offset_hu", "gain", "kernel")


def without(*names: str) -> dict[str, Any]:
    """The recipe's data with some random changes left out."""
    return {"data": {"augmentation": replace(RECIPE.data.augmentation, **dict.fromkeys(names, 0.0))}}


ARMS: Mapping[str, dict[str, Any]] = {
    "whole": {},
    "phantoms without confounders": {"phantoms": {"confounders": 0.0}},
    "phantoms without small bleeds": {"phantoms": {"small": 0.0}},
    "no display pictures": without("display"),
    "no changes of HU": without(*INTENSITIES),
    "no turns and shifts": without("rotate_deg", "scale", "shift"),
    "no thick slices": without("thicken_mm"),
    "one window": {"objective": {"windows": ("brain",)}},
    "neighbours never left out": {"objective": {"neighbour_dropout": 0.0}},
    "slices alone": {"objective": {"neighbours": 0, "neighbour_dropout": 0.0}},
    "no lesion head": {"model": {"lesions": False}, "objective": {"lesion_weight": 0.0}},
    "attention over slices": {"model": {"scan_pool": "attention"}},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, help="folder of experiments/shipped_weights.py, or a new one")
    parser.add_argument("data", type=Path, help="folder of the real pictures")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), default=list(ARMS))
    parser.add_argument("--out", type=Path, required=True, help="the table, to which rows are added")
    options = parser.parse_args()
    own_process()
    for arm in options.arms:
        done = pd.read_csv(options.out)["without"].tolist() if options.out.exists() else []
        if arm in done:
            continue
        row = {"without": arm, "steps": options.steps, **figures(ARMS[arm], options)}
        pd.DataFrame([row]).to_csv(options.out, index=False, mode="a", header=not options.out.exists())
    print(pd.read_csv(options.out).round(3).to_string(index=False))


def figures(change: dict[str, Any], options: argparse.Namespace) -> dict[str, float]:
    """AUROC of "any" of one arm, by slice and by scan."""
    of_phantoms = change.get("phantoms", {})
    folder = options.work / "-".join(["without", *of_phantoms]) if of_phantoms else options.work
    store = phantoms(WHOLE, folder, **of_phantoms)
    out = options.work / "ablation"
    shutil.rmtree(out, ignore_errors=True)
    given = {name: values | change.get(name, {}) for name, values in settings(WHOLE).items()}
    config = TrainConfig(
        model=ModelConfig(**given["model"]),
        objective=ObjectiveConfig(**given["objective"]),
        data=DataConfig(store=str(store.path), **given["data"]),
        optim=replace(RECIPE.optim, schedule="cosine", warmup_steps=50),
        steps=options.steps,
        seed=SEED,
        ema_decay=0.98,
    )
    run_training(config, out)
    run = ich.open_run(out)
    # Phantoms of the other site are those of the whole recipe, whatever the arm was trained on.
    tables = {"other style": predict_store(run.run, phantoms(WHOLE, options.work), "test")}
    tables |= {
        name: scored(run, of(options.data)) for name, of in {"trauma": trauma, "single pictures": single}.items()
    }
    return {
        f"{name}, {level}": auroc_of_any(table[(table["slice"] == "") == (level == "scan")])
        for name, table in tables.items()
        for level in ("slice", "scan")
    }


def auroc_of_any(table: pd.DataFrame) -> float:
    """Of scores that have a label."""
    known = table[table["any"].notna() & table["score_any"].notna()]
    return float(roc_auc_score(np.asarray(known["any"]), np.asarray(known["score_any"])))


if __name__ == "__main__":
    main()
