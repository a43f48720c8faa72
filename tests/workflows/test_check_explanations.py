"""A method is compared with controls that know nothing of the model, and reports draw by what was found."""

import csv
import json
from pathlib import Path

import jax.numpy as jnp
import nibabel
import numpy as np
import pytest

import ichformer as ich
from ichformer.cli import main
from ichformer.cohorts.folder.adapter import read_folder
from ichformer.errors import InputError
from ichformer.evaluation.thresholds import json_bytes
from ichformer.explanations.checked import (
    EXPLANATIONS_NAME,
    CheckedExplanations,
    CheckedMethod,
    Figure,
    checked_values,
    read_checked,
)
from ichformer.explanations.registry import EXPLANATIONS
from ichformer.explanations.score import Explanation
from ichformer.pipeline.preparation.config import PrepareConfig
from ichformer.workflows.explanations import check_explanations as check_module
from ichformer.workflows.predict_scans import predict
from tests.registries import forget_after
from tests.reporting.pages import shown_maps
from tests.stores import prepare_here
from tests.workflows.counter import SIZE, open_counter, write_head

HEADS = 10


@pytest.fixture
def run(tmp_path, monkeypatch):
    return open_counter(tmp_path / "runs" / "counter", monkeypatch)


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    """Heads whose blood the counter finds, and one without; each is a patient's."""
    folder = tmp_path_factory.mktemp("heads")
    volume = ich.read_volume(write_head(folder / "one", degrees=0.0))
    z, y, x = volume.spacing_mm
    (folder / "scans").mkdir()
    rows = []
    for i in range(HEADS + 1):
        noise = np.random.default_rng(i).integers(-2, 3, volume.hu.shape).astype(np.int16)
        hu = (volume.hu + noise)[3:11]
        if i == HEADS:
            hu = np.where((hu > 50) & (hu < 100), np.int16(30), hu)
        nibabel.save(nibabel.Nifti1Image(hu.transpose(2, 1, 0), np.diag([-x, -y, z, 1])), folder / "scans" / f"{i}.nii")
        rows.append([f"p{i}", f"{i}.nii", "val", int(i < HEADS)])
    with (folder / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["patient", "path", "split", "any"], *rows])
    found = read_folder(folder / "scans", cache=folder / "cache", labels=folder / "labels.csv")
    return prepare_here(found.index, folder / "store", PrepareConfig(size=SIZE, field_of_view_mm=96.0)).path


@pytest.mark.slow
def test_what_names_the_blood_is_better_than_noise_and_edges_and_what_names_air_is_not(
    run, store, tmp_path, monkeypatch, capsys
):
    forget_after(monkeypatch, EXPLANATIONS)

    @ich.register_explanation("everywhere_else")
    def everywhere_else(score):
        return Explanation(maps=1 - EXPLANATIONS["hires_cam"].explain(score).maps)

    # Brain stands where voxels are taken out: means of bone and brain would have the HU that this model counts.
    monkeypatch.setattr(check_module, "from_neighbours", lambda: lambda x, gone: jnp.where(gone[..., None], 0.375, x))
    words = ["check-explanations", str(run.path), "--store", str(store), "--method", "hires_cam", "everywhere_else"]
    main([*words, "--steps", "4", "--json"])
    told = json.loads(capsys.readouterr().out)
    found = read_checked(run.path / EXPLANATIONS_NAME, model=run.fingerprint)
    assert told == json.loads(json.dumps(checked_values(found)))
    assert (found.split, found.label, found.n_scans, found.n_patients) == ("val", "any", HEADS, HEADS)
    cam, other = found.methods
    assert (cam.method, cam.level, cam.rows, cam.columns) == ("hires_cam", "slice", 12, 12)
    assert cam.is_better
    assert cam.in_lesion is None
    assert cam.gain.value > 0 > other.gain.value
    assert found.better == (cam,)

    scan = write_head(tmp_path / "scan", degrees=0.0)
    page = predict(scan, run=run.path, out=tmp_path / "before").series[0].report.read_text()
    assert f"hires_cam of the score of each slice, from 12 x 12 cells a slice. In {HEADS} scans of the split" in page


def checked(*gains: float, model: str) -> CheckedExplanations:
    def figure(value: float) -> Figure:
        return Figure(value=value, low=value - 0.5, high=value + 0.5)

    methods = ("hires_cam", "layer_cam", "grad_cam")
    return CheckedExplanations(
        split="val",
        label="any",
        n_scans=9,
        n_patients=8,
        methods=tuple(
            CheckedMethod(
                method=method,
                level="slice",
                rows=12,
                columns=12,
                gain=figure(gain),
                over_random=figure(gain),
                over_edges=figure(gain - 0.1),
                in_lesion=figure(0.75),
            )
            for method, gain in zip(methods, gains, strict=False)
        ),
        model=model,
    )


def test_the_report_draws_the_best_method_and_nothing_where_none_is_better(run, tmp_path):
    scan = write_head(tmp_path / "scan")

    def page(name: str, found: CheckedExplanations | None) -> str:
        if found is not None:
            (run.path / EXPLANATIONS_NAME).write_bytes(json_bytes(checked_values(found)))
        return predict(scan, run=run.path, out=tmp_path / name).series[0].report.read_text()

    unchecked = page("a", None)
    assert "Nobody has checked for this model" in unchecked
    assert shown_maps(unchecked)[0] == ("any", False)
    best = page("b", checked(0.55, 2.0, 1.0, model=run.fingerprint))
    assert "layer_cam of the score of each slice" in best
    assert "2.00 (1.50 to 2.50) logits on average, and its highest voxel lay in the lesion in 75%" in best
    none = page("c", checked(0.55, -1.0, model=run.fingerprint))
    assert shown_maps(none) == []
    assert "No heat map is drawn: in 9 scans of the split &#39;val&#39; no method said more" in none


def test_a_file_of_other_weights_or_of_something_else_is_refused(run, tmp_path):
    file = tmp_path / EXPLANATIONS_NAME
    file.write_bytes(json_bytes(checked_values(checked(1.0, model="others"))))
    assert read_checked(file).methods[0].is_better
    with pytest.raises(InputError, match="was made with other weights than this model has"):
        read_checked(file, model=run.fingerprint)
    file.write_text(json.dumps({"format": "another"}))
    with pytest.raises(InputError, match="its format is 'another'"):
        read_checked(file)
    no_interval = Figure(value=3.0, low=None, high=None)
    assert str(no_interval) == "3.00 (no interval)"


@pytest.mark.slow
def test_a_split_without_a_bleed_that_is_found_is_refused(run, store):
    with pytest.raises(InputError, match="no scan of the split 'val' has 'epidural' and a score that reaches the"):
        check_module.check_explanations(run.path, store, methods=("hires_cam",), label="epidural", progress=False)
