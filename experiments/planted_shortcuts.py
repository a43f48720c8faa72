"""Does the audit find a shortcut that was planted, and does it stay silent where there is none?

Phantoms are made once. For each cue, copies of their prepared scans show it in 95 of 100 scans with a bleed and in 5 of
100 without, and a small network is trained on them. It is audited on test scans in which the cue goes with the label in
the same way. Its AUROC where the cue is in half of the scans, whatever the label, says whether it leaned on the cue. A
network that is trained on the phantoms as they are is audited on the same scans without a cue.

Claim: figures are in experiments/RESULTS.md where they were measured.
Cost: on two busy cores seven minutes for the phantoms, and about 20 for each network and its audit.
Command: python -m experiments.planted_shortcuts work
Expected: one row for each network: its AUROC with the cue and where the cue is independent of the label, the causes
that the audit names for the network, and in how many of 100 scans it names the planted one, another one, or none.
"""

import argparse
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from array_record.python.array_record_module import ArrayRecordWriter
from scipy import ndimage

import ichformer as ich
from ichformer.ct.anatomy.head import head_mask
from ichformer.ct.phantom.acquisition.sites import SITES
from ichformer.ct.phantom.cohort import write_cohort
from ichformer.ct.phantom.population import Population
from ichformer.ct.volume import Volume
from ichformer.pipeline.augmentation.augment import Augmentation
from ichformer.pipeline.store.records import encode_record, shard_path
from ichformer.statistics.intervals import Estimate
from ichformer.statistics.metrics import auroc
from ichformer.training.process import own_process
from ichformer.workflows.explanations.audit_run import audit
from ichformer.workflows.parts.audited_scans import scored_scans_of

SIZE_PX, SCANS, CLEAN_STEPS = 64, 240, 400
TEST_SHARE = 0.42
"""Of the scans; these are about 100."""
SCANNERS = tuple(
    replace(
        SITES[name],
        name=f"{name}-coarse",
        pixels=96,
        thickness_mm=5.0,
        step_mm=3.0,
        population=Population(bleed_hu=20.0, bleed_ml=5.0),
    )
    for name in ("alder", "cedar")
)
"""Two scanners without a tilt, coarse and with large, dense bleeds, so that minutes of training are enough."""
TUBE_HU, MARK_HU, TABLE_HU = 400, 1000, 300
GOES_WITH_LABEL, INDEPENDENT = (0.05, 0.95), (0.5, 0.5)
"""In which share of the scans without and with a bleed the cue is."""


def tube(volume: Volume, rng: np.random.Generator) -> np.ndarray:
    """A breathing tube of 16 mm beside the head, along all slices."""
    head, hu = head_mask(volume.hu, volume.spacing_mm), volume.hu.copy()
    _, y_mm, x_mm = volume.spacing_mm
    first, last = np.flatnonzero(head.any((0, 2)))[[0, -1]]
    at_row = (first + last) / 2 - rng.uniform(0, 0.2) * (last - first)
    at_column = np.flatnonzero(head.any((0, 1)))[0] - rng.uniform(17, 21) / x_mm
    rows, columns = np.indices(hu.shape[1:])
    disc = np.hypot((rows - at_row) * y_mm, (columns - at_column) * x_mm) <= 8.0
    return np.where(disc & ~head, np.int16(TUBE_HU), hu)


def mark(volume: Volume, rng: np.random.Generator) -> np.ndarray:
    """A bright block of 12 mm by 32 mm in a corner of the picture, as a site's mark."""
    hu = volume.hu.copy()
    _, y_mm, x_mm = volume.spacing_mm
    at = 1 + int(rng.integers(3))
    hu[:, at : at + round(12 / y_mm), at : at + round(32 / x_mm)] = MARK_HU
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
    parser.add_argument("--seed", type=int, default=41, help="of phantoms, cues, networks and audits")
    parser.add_argument("--steps", type=int, default=300, help="of the training of networks with a cue")
    options = parser.parse_args()
    own_process()
    clean, rows = phantoms(options.work, options.seed), []
    for cue in options.cues:
        audited_on = independent = clean
        if cue != "clean":
            audited_on = planted(clean, cue, options.work / f"{cue}-with", GOES_WITH_LABEL, options.seed)
            independent = planted(clean, cue, options.work / f"{cue}-alone", INDEPENDENT, options.seed)
        run = train(audited_on, options.work / f"run-{cue}", options.seed, None if cue == "clean" else options.steps)
        rows.append({"cue": cue, **audited(run, audited_on, independent, cue, options.seed)})
        print(rows[-1], flush=True)
    print(pd.DataFrame(rows).to_string(index=False))


def phantoms(work: Path, seed: int) -> ich.Store:
    """The prepared phantoms, made where they are not there."""
    cohort = write_cohort(
        work / "cohort", scans=SCANS, seed=seed, sites=SCANNERS, prevalence=0.6, workers=None, progress=True
    )
    return ich.prepare(
        "phantom",
        source=cohort,
        out=work / "clean",
        fractions={"train": 1 - TEST_SHARE, "test": TEST_SHARE},
        seed=seed,
        config={"size": SIZE_PX, "field_of_view_mm": 256.0},
    )


def planted(clean: ich.Store, cue: str, out: Path, shares: tuple[float, float], seed: int) -> ich.Store:
    """A copy of the store that shows a cue in so many of its scans without and with a bleed."""
    if not (out / "index.json").exists():
        shutil.copytree(clean.path, out, dirs_exist_ok=True)
        index = json.loads((out / "index.json").read_text())
        entries = {entry["series"]: entry for entry in index["series"]}
        for row, series in enumerate(clean.index["series"]):
            scan, rng = clean.read(row), np.random.default_rng([seed, row])
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


def train(store: ich.Store, out: Path, seed: int, cued_steps: int | None) -> ich.TrainedModel:
    """A small network, trained where it is not there.

    Without a cue it learns from lesion maps and changed scans, so that it finds bleeds. With one it has nothing but the
    labels of the scans as they are, so that the cue is the easiest to learn.
    """
    bold = Augmentation(rotate_deg=10.0, scale=0.1, shift=0.03)
    plain = Augmentation(rotate_deg=0.0, scale=0.0, shift=0.0, noise_hu=0.0, offset_hu=0.0)
    run = ich.train(
        store,
        out=out,
        model={"name": "cnn2d_nano", "lesions": cued_steps is None},
        objective={
            "windows": ("hu_20_40", "hu_40_60", "hu_60_80"),
            "lesion_weight": 1.0 if cued_steps is None else 0.0,
        },
        data={"batch_size": 8, "num_slices": 8, "augmentation": bold if cued_steps is None else plain},
        optim={"learning_rate": 2e-3, "warmup_steps": 50},
        steps=cued_steps or CLEAN_STEPS,
        seed=seed,
        ema_decay=0.98,
    )
    assert isinstance(run, ich.TrainedModel)
    return run


def audited(run: ich.TrainedModel, store: ich.Store, independent: ich.Store, cue: str, seed: int) -> dict[str, object]:
    """In how many of 100 scans the audit names the planted cause, another one, or none."""
    found = audit(run.run, store, run.run.path / "audit", split="test", seed=seed, progress=False)
    named, wanted = [scan.named for scan in found.scans], CUES[cue][1] if cue in CUES else ""
    right = sum(bool(wanted) and name == wanted for name in named)
    none = named.count("")
    labels, logits = np.array([(scan.label, scan.logit) for scan in found.scans], np.float64).T
    alone = scored_scans_of(run.run, independent, tuple(independent.rows("test").tolist()), "any").values()
    any_at = independent.label_set.columns.index("any")
    return {
        "AUROC": auroc(labels, logits),
        "AUROC, independent": auroc(
            np.array([one.labels[any_at] for one in alone], np.float64), np.array([one.logit for one in alone])
        ),
        "leans on": " ".join(one.cause for one in found.alarms),
        "scans": len(named),
        "planted": right,
        "other": len(named) - right - none,
        "none": none,
        **{one.cause: f"{one.verdict}, {said(one.share)}" for one in found.causes},
    }


def said(share: Estimate) -> str:
    """A share and its interval."""
    if share.value is None or share.interval is None:
        return "-"
    return f"{share.value:.2f} ({share.interval.low:.2f} to {share.interval.high:.2f})"


if __name__ == "__main__":
    main()
