"""Does the audit find a shortcut that was planted, and does it stay silent where there is none?

Phantoms are made once. For each cue, copies of their prepared scans show it in 95 of 100 scans with a bleed and in 5 of
100 without, and a small model is trained on them: a logistic regression on cells of the slices, which takes seconds.
Each model is audited on test scans in which the cue goes with the label in the same way, and on test scans in which it
does not (in half of them, whatever the label). A model that is trained on the phantoms as they are is audited on the
same scans without a cue.

Claim: figures are in experiments/RESULTS.md where they were measured.
Cost: five minutes for the phantoms and two to three for each audit, on two busy cores.
Command: python experiments/planted_shortcuts.py work
Expected: one row for each model and test set: its AUROC there, the causes that the audit names for the model, and in
how many of 100 scans it names the planted one, another one, or none.
"""

import argparse
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from array_record.python.array_record_module import ArrayRecordWriter
from scipy import ndimage
from sklearn.linear_model import LogisticRegression

import ichformer as ich
from ichformer.ct.anatomy.head import head_mask
from ichformer.ct.phantom.acquisition.sites import DEFAULT_SITES, SITES
from ichformer.ct.phantom.cohort import write_cohort
from ichformer.ct.phantom.population import Population
from ichformer.ct.volume import Volume
from ichformer.ct.windows import Window
from ichformer.models.contract import Prediction
from ichformer.pipeline.preparation.config import RECIPE_VERSION, PrepareConfig
from ichformer.pipeline.store.records import encode_record, shard_path
from ichformer.statistics.intervals import Estimate
from ichformer.statistics.metrics import auroc
from ichformer.training.config import DataConfig, TrainConfig
from ichformer.training.process import own_process
from ichformer.training.runs.contract import CONTRACT_FACT, Contract, Stage
from ichformer.training.runs.run import Run
from ichformer.workflows.explanations.audit_run import audit
from ichformer.workflows.parts.over_store import over_store

SIZE_PX, TEST_SCANS, CELLS = 64, 100, 8
TUBE_HU, MARK_HU, TABLE_HU = 400, 1000, 300
GOES_WITH_LABEL, ALONE = (0.05, 0.95), (0.5, 0.5)
"""In which share of the scans without and with a bleed the cue is."""
BLOOD = (0.31, 0.7)
"""Of the window from 0 to 200 HU: blood is brighter than the first, and bone than the second."""


def tube(volume: Volume, rng: np.random.Generator) -> np.ndarray:
    """A tube of 8 mm beside the head, along all slices."""
    head, hu = head_mask(volume.hu, volume.spacing_mm), volume.hu.copy()
    _, y_mm, x_mm = volume.spacing_mm
    first, last = np.flatnonzero(head.any((0, 2)))[[0, -1]]
    at_row = (first + last) / 2 - rng.uniform(0, 0.2) * (last - first)
    at_column = np.flatnonzero(head.any((0, 1)))[0] - rng.uniform(9, 13) / x_mm
    rows, columns = np.indices(hu.shape[1:])
    disc = np.hypot((rows - at_row) * y_mm, (columns - at_column) * x_mm) <= max(4.0, x_mm)
    return np.where(disc & ~head, np.int16(TUBE_HU), hu)


def mark(volume: Volume, rng: np.random.Generator) -> np.ndarray:
    """A bright block of 12 mm in a corner of the picture, as a site's mark."""
    hu = volume.hu.copy()
    side, at = round(12 / volume.spacing_mm[1]), 1 + int(rng.integers(3))
    hu[:, at : at + side, at : at + side] = MARK_HU
    return hu


def table(volume: Volume, rng: np.random.Generator) -> np.ndarray:
    """The edge of a table: a bright line behind the head from side to side."""
    head, hu = head_mask(volume.hu, volume.spacing_mm), volume.hu.copy()
    at = np.flatnonzero(head.any((0, 2)))[-1] + 1 + round(rng.uniform(4, 8) / volume.spacing_mm[1])
    at = min(int(at), hu.shape[1] - 2)
    width = hu.shape[2] // 5
    hu[:, at : at + max(1, round(4 / volume.spacing_mm[1])), width:-width] = TABLE_HU
    return hu


def kernel(volume: Volume, rng: np.random.Generator) -> np.ndarray:
    """A smoother kernel: a Gaussian of 0.6 to 0.8 pixels."""
    sigma = rng.uniform(0.6, 0.8)
    return np.rint(ndimage.gaussian_filter(volume.hu.astype(np.float32), (0, sigma, sigma))).astype(np.int16)


CUES: dict[str, tuple[Callable[[Volume, np.random.Generator], np.ndarray], str]] = {
    "tube": (tube, "beside_head"),
    "mark": (mark, "corners"),
    "table": (table, "table"),
    "kernel": (kernel, "texture"),
}
"""How each cue is drawn, and what the audit has to call it."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, help="folder for all that is made")
    parser.add_argument("--cues", nargs="+", default=["clean", *CUES], choices=["clean", *CUES])
    parser.add_argument("--scans", type=int, default=300, help="phantoms, of which 100 are audited")
    parser.add_argument("--seed", type=int, default=0, help="of the audits")
    options = parser.parse_args()
    own_process()
    clean, rows = phantoms(options.work, options.scans), []
    for cue in options.cues:
        stores = {"as trained": clean}
        if cue != "clean":
            stores = {
                "as trained": planted(clean, cue, options.work / f"{cue}-with", GOES_WITH_LABEL),
                "independent": planted(clean, cue, options.work / f"{cue}-alone", ALONE),
            }
        run = train(stores["as trained"], options.work / f"run-{cue}")
        for name, store in stores.items():
            row = {"cue": cue, "test": name, **audited(run, store, cue, run.path / f"audit-{name}", options.seed)}
            print(row, flush=True)
            rows.append(row)
    print(pd.DataFrame(rows).to_string(index=False))


def phantoms(work: Path, scans: int) -> ich.Store:
    """The prepared phantoms of five coarse scanners, with about 100 of their scans as the test split.

    Their bleeds are large and dense, so that a small model learns to find them in a few minutes.
    """
    bleeding = Population(bleed_hu=25.0, bleed_ml=2.5)
    sites = tuple(
        replace(SITES[name], pixels=96, thickness_mm=10.0, step_mm=3.0, population=bleeding) for name in DEFAULT_SITES
    )
    cohort = write_cohort(
        work / "cohort", scans=scans, seed=7, sites=sites, prevalence=0.5, workers=None, progress=True
    )
    share = TEST_SCANS / scans
    return ich.prepare(
        "phantom",
        source=cohort,
        out=work / "clean",
        fractions={"train": 1 - share, "test": share},
        seed=0,
        config={"size": SIZE_PX, "field_of_view_mm": 256.0},
    )


def planted(clean: ich.Store, cue: str, out: Path, shares: tuple[float, float]) -> ich.Store:
    """A copy of the store that shows a cue in so many of its scans without and with a bleed."""
    if not (out / "index.json").exists():
        shutil.copytree(clean.path, out, dirs_exist_ok=True)
        index = json.loads((out / "index.json").read_text())
        entries = {entry["series"]: entry for entry in index["series"]}
        for row, series in enumerate(clean.index["series"]):
            scan, rng = clean.read(row), np.random.default_rng([11, row])
            if rng.random() < shares[int(scan.scan_labels[clean.label_set.columns.index("any")])]:
                hu = CUES[cue][0](scan.volume, rng)
                record = encode_record(replace(scan, volume=replace(scan.volume, hu=hu)))
                path = shard_path(out, entries[series]["shard"])
                writer = ArrayRecordWriter(os.fsencode(path), "group_size:1,uncompressed")
                writer.write(record)
                writer.close()
                entries[series] |= {"bytes": path.stat().st_size, "sha256": hashlib.sha256(record).hexdigest()}
        (out / "index.json").write_text(json.dumps(index | {"series": list(entries.values())}))
    return ich.Store.open(out)


class Cells(nn.Module):
    """A linear model of brightness and detail in cells of a slice, and of how many voxels are as bright as blood."""

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        slice_mask: jax.Array,
        spacing_mm: jax.Array,  # noqa: ARG002 - the contract of models
        train: bool,  # noqa: ARG002
    ) -> Prediction:
        scans, slices, rows, columns, _ = x.shape
        bright, rows_of_cell, columns_of_cell = x[..., 0], rows // CELLS, columns // CELLS
        detail = jnp.abs(jnp.diff(bright, axis=3, append=bright[..., -1:]))
        planes = jnp.stack([bright, 4 * detail], axis=-1)
        cells = planes.reshape(scans, slices, CELLS, rows_of_cell, CELLS, columns_of_cell, 2).mean((3, 5))
        real = slice_mask[:, :, None, None, None]
        mean = (jnp.where(real, cells, 0).sum(1) / real.sum(1)).reshape(scans, -1)
        # Brighter than brain, with no bone near it.
        near = nn.max_pool(bright.reshape(scans * slices, rows, columns, 1), (5, 5), padding="SAME").reshape(
            bright.shape
        )
        blood = jnp.where(slice_mask, ((bright > BLOOD[0]) & (near < BLOOD[1])).mean((2, 3)), 0)
        features = jnp.concatenate([mean, 100 * blood.mean(1)[:, None], 20 * blood.max(1)[:, None]], axis=-1)
        weights = self.param("weights", nn.initializers.zeros, (features.shape[1],))
        logit = features @ weights + self.param("bias", nn.initializers.zeros, ())
        scan_logits = jnp.broadcast_to(logit[:, None], (scans, len(ich.LABELS)))
        slice_logits = jnp.broadcast_to(scan_logits[:, None], (scans, slices, len(ich.LABELS)))
        return Prediction(slice_logits=slice_logits, scan_logits=scan_logits, features={"cells": features})


def train(store: ich.Store, out: Path) -> Run:
    """Fits the model to the label "any" of the training scans."""
    objective = ich.Classification(model=Cells(), windows=(Window(center_hu=100, width_hu=200),))
    params = {"weights": jnp.zeros(2 * CELLS**2 + 2), "bias": jnp.zeros(())}
    features, labels = [], []
    compute = jax.jit(lambda params, batch: objective.predict(params, batch).features["cells"])
    for batch, found in over_store(compute, params, store, store.rows("train")):
        features.append(found[batch.weight > 0])
        labels.append(batch.scan_labels[batch.weight > 0, ich.LABELS.index("any")])
    fitted = LogisticRegression(C=1.0, max_iter=5000).fit(np.concatenate(features), np.concatenate(labels))
    params = {
        "weights": jnp.asarray(fitted.coef_[0], jnp.float32),
        "bias": jnp.asarray(fitted.intercept_[0], jnp.float32),
    }
    return Run(
        path=out,
        config=TrainConfig(data=DataConfig(store=str(store.path))),
        prepare=PrepareConfig(**store.config),
        objective=objective,
        params=params,
        step=0,
        facts={CONTRACT_FACT: Contract(stages=(Stage(objective="classification", recipe=RECIPE_VERSION),)).to_json()},
    )


def audited(run: Run, store: ich.Store, cue: str, out: Path, seed: int) -> dict[str, object]:
    """In how many of 100 scans the audit names the planted cause, another one, or none."""
    found = audit(run, store, out, split="test", seed=seed, progress=False)
    named, wanted = [scan.named for scan in found.scans], CUES[cue][1] if cue in CUES else ""
    right = sum(bool(wanted) and name == wanted for name in named)
    none = named.count("")
    labels, logits = np.array([(scan.label, scan.logit) for scan in found.scans], np.float64).T
    area = auroc(labels, logits)
    return {
        "AUROC": None if area is None else round(area, 3),
        "leans on": " ".join(one.cause for one in found.alarms),
        "scans": len(named),
        "planted": right,
        "other": len(named) - right - none,
        "none": none,
        **{one.cause: said(one.share) for one in found.causes},
    }


def said(share: Estimate) -> str:
    """A share and its interval."""
    if share.value is None or share.interval is None:
        return "-"
    return f"{share.value:.2f} ({share.interval.low:.2f} to {share.interval.high:.2f})"


if __name__ == "__main__":
    main()
