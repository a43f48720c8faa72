"""The weights that come with the package: small, of phantoms alone, as the card says, and they find a bleed."""

import hashlib
import re
from pathlib import Path

import numpy as np
import pytest

import ichformer as ich
from ichformer.ct.phantom.acquisition.sites import SITES
from ichformer.ct.phantom.make import make_phantom
from ichformer.ct.phantom.write import write_series
from ichformer.inference.lesions import lesion_map
from ichformer.pipeline.preparation.recipe import prepare_volume
from ichformer.training.runs.portable import WEIGHTS_NAME
from ichformer.workflows.predict_scans import predict

FOLDER = Path(ich.__file__).parent / "weights"
CARD = (FOLDER / "README.md").read_text(encoding="utf-8")


def test_they_are_small_and_hold_nothing_that_runs():
    files = {file.name: file.stat().st_size for file in FOLDER.iterdir()}
    assert sum(files.values()) <= 15e6
    assert all(Path(name).suffix in {".json", ".safetensors", ".npz", ".csv", ".md"} for name in files)


def test_the_card_tells_of_these_weights():
    digest = hashlib.sha256((FOLDER / WEIGHTS_NAME).read_bytes()).hexdigest()
    assert re.findall(r"[0-9a-f]{64}", CARD) == [digest]
    assert "Research use only" in CARD


@pytest.mark.slow
def test_they_find_a_bleed_and_point_at_it():
    run = ich.open_run("default")
    bleeding = make_phantom(7001, site=SITES["alder"], subtypes=("intraparenchymal",))
    healthy = make_phantom(7001, site=SITES["alder"])
    found, nothing = (run.predict(phantom.volume).scan_scores["any"] for phantom in (bleeding, healthy))
    assert found > nothing + 0.3
    prepared = prepare_volume(bleeding.volume, run.run.prepare)
    maps = lesion_map(run.run.objective, run.run.variables, prepared, bleeding.volume)[..., ich.LABELS.index("any")]
    assert bleeding.mask[np.unravel_index(np.nanargmax(maps), maps.shape)]


@pytest.mark.slow
def test_a_scan_is_scored_without_a_run_being_named(tmp_path):
    phantom = make_phantom(7000, site=SITES["alder"])
    write_series(phantom, tmp_path / "scan", patient="a", name="a", study="1.2", series="1.2.3")
    (one,) = predict(tmp_path / "scan", out=tmp_path / "out", progress=False).series
    assert one.report is not None
    assert set(one.values["thresholds"]["scan"]) == set(ich.LABELS)
    assert "a store that is not named" in one.report.read_text(encoding="utf-8")
