"""A folder of scans that are positive or negative as a whole, longer than a training scan: the commonest first try."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from ichformer.cohorts.registry import COHORTS
from ichformer.ct.phantom.acquisition.sites import SITES
from ichformer.ct.phantom.make import make_phantom
from ichformer.evaluation.tables.checked import check_table
from ichformer.evaluation.tables.table import levels
from ichformer.pipeline.preparation.config import PrepareConfig
from ichformer.pipeline.store.records import Store
from ichformer.training.runs.run import Run
from ichformer.workflows.parts.predict_store import predict_store
from tests.stores import prepare_here

SCANS = 12
TRAIN = """
import sys
from ichformer.training.config import DataConfig, ModelConfig, TrainConfig
from ichformer.training.trainer import run_training
from ichformer.training.process import own_process
own_process()
data, model = DataConfig(store=sys.argv[1]), ModelConfig(name="slice_vit_nano")
run_training(TrainConfig(data=data, model=model), sys.argv[2])
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Phantoms as NIfTI of 20 to 60 slices, every second with a bleed, and a CSV with one row a scan."""
    folder = tmp_path_factory.mktemp("nifti")
    lines = ["path,any,intraparenchymal,epidural"]
    (folder / "scans").mkdir()
    for i in range(SCANS):
        bleeds = i % 2
        site = replace(SITES["alder"], pixels=64, thickness_mm=(7.0, 5.0, 3.5, 3.2)[i // 2 % 4], step_mm=3.6)
        phantom = make_phantom(i, site=site, subtypes=("intraparenchymal",) if bleeds else ())
        volume = phantom.volume
        # From rows and columns towards the patient's back and left (LPS) to NIfTI's axes towards right and front (RAS).
        affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ volume.affine
        nibabel.save(nibabel.Nifti1Image(volume.hu, affine), folder / "scans" / f"{i:02d}.nii.gz")
        lines.append(f"{i:02d}.nii.gz,{bleeds},{bleeds},0")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    index = COHORTS["folder"](folder / "scans", cache=folder / "cache", labels=folder / "labels.csv").index
    return prepare_here(index.assign(split="train"), folder / "store", PrepareConfig(size=64))


@pytest.mark.full(minutes=12)
def test_slice_vit_learns_from_labels_of_scans_with_defaults(store, tmp_path):
    lengths = np.asarray(store.n_slices)
    assert lengths.min() >= 20
    assert lengths.max() <= 60
    assert (lengths > 24).sum() >= 6
    plain = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    told = [sys.executable, "-c", TRAIN, str(store.path), str(tmp_path / "run")]
    done = subprocess.run(told, check=True, env=plain, capture_output=True, text=True)
    rows = {
        line.split()[0]: line.split()[1:] for line in done.stderr.splitlines() if line.startswith("  ") and line.strip()
    }
    assert rows["any"] == rows["intraparenchymal"] == ["6", "6", "0", "0"]
    assert "Not trained: epidural (known of 0 positive and 12 negative scans" in done.stderr
    known = json.loads(Path(tmp_path / "run" / "labels.json").read_text())
    assert known["trained"] == {"slice": [], "scan": ["intraparenchymal", "any"]}
    (scans,) = levels(check_table(predict_store(Run.open(tmp_path / "run"), store, "train")))
    aurocs = [float(roc_auc_score(scans.labels[:, i], scans.scores[:, i])) for i in (1, -1)]
    print(f"AUROC of the training scans: {aurocs}")
    assert aurocs == [1.0, 1.0]
