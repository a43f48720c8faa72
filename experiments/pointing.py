"""Do a run's maps point at the bleed: the pointing game over the slices of a split whose mask shows one.

Claim: none yet; the small models' grids are too coarse for small bleeds.
Cost: a minute on two cores for the demo's 40 scans.
Command: python experiments/pointing.py runs/demo runs/demo-data/store
Expected: for grad_cam, hires_cam and, where the model has a lesion head, lesions the share of slices whose highest
pixel lies in the bleed, or within 10 mm.
"""

import argparse
from pathlib import Path

import numpy as np
from jax import Array
from scipy.ndimage import distance_transform_edt

from ichformer import LABELS
from ichformer.explanations.batch import explain_batch
from ichformer.explanations.display import upsample
from ichformer.explanations.faithfulness.localisation import pointing_game
from ichformer.pipeline.batch import Batch
from ichformer.pipeline.loader import evaluation_batches
from ichformer.pipeline.store.records import Store
from ichformer.training.runs.run import Run

ANY = LABELS.index("any")
NEAR_MM = 10.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("store", type=Path)
    parser.add_argument("--split", default="test")
    told = parser.parse_args()
    run, store = Run.open(told.run), Store.open(told.store)
    named = ["lesions"] if "any" in run.objective.labels_with_lesion_loss else []
    hits: dict[str, list[np.ndarray]] = {name: [] for name in ("grad_cam", "hires_cam", *named)}
    covered: list[np.ndarray] = []
    for batch in evaluation_batches(store, rows=store.rows(told.split), batch_size=1):
        scan = store.read(int(batch.row[0]))
        mask = scan.mask
        if mask is None:
            continue
        shown = np.flatnonzero(mask.any((1, 2)) & (batch.slice_labels[0, : len(mask), ANY] == 1))
        if shown.size == 0:
            continue
        bleeds = mask[shown] > 0
        near_px = NEAR_MM / float(batch.spacing_mm[0, 1:].mean())
        near = np.stack([distance_transform_edt(~bleed) <= near_px for bleed in bleeds])
        covered.append(np.stack([bleeds.mean((1, 2)), near.mean((1, 2))], 1))
        for name in hits:
            maps = np.asarray(_maps(run, batch, name))[shown]
            hits[name].append(np.stack([pointing_game(maps, bleeds, tolerance_px=px) for px in (0.0, near_px)], 1))
    if not covered:
        parser.error(f"{told.store}: no mask shows a bleed on split {told.split!r}; prepare scans with masks")
    inside, near = np.concatenate(covered).mean(0)
    print(f"chance: {inside:.1%} of the pixels of {sum(map(len, covered))} slices lie in the bleed, {near:.1%} near it")
    for name, found in hits.items():
        inside, near = np.concatenate(found).mean(0)
        print(f"{name}: {inside:.1%} in the bleed, {near:.1%} within {NEAR_MM:g} mm of it")


def _maps(run: Run, batch: Batch, method: str) -> Array:
    seen = batch.hu, batch.slice_mask, batch.spacing_mm
    found = explain_batch(run.objective, run.variables, *seen, label="any", method=method, level="slice")
    return upsample(found.maps, batch.hu.shape[2:])[0]


if __name__ == "__main__":
    main()
