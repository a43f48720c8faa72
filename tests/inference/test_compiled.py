"""A run's computation for other programs: JAX alone gives its scores to the bit, and ONNX Runtime to 1e-5."""

import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ichformer.ct.windows import WINDOWS
from ichformer.errors import InputError
from ichformer.inference.compiled import stablehlo
from ichformer.inference.compiled.onnx import onnx_files
from ichformer.inference.compiled.stablehlo import stablehlo_files
from ichformer.inference.scoring import score_with_lesions
from ichformer.inference.trained import open_trained
from ichformer.models.inputs import example_inputs
from ichformer.models.registry import create_model, list_models
from ichformer.objectives.classification import Classification
from ichformer.pipeline.preparation.config import PrepareConfig
from ichformer.pipeline.store.records import Store
from ichformer.training.config import DataConfig, ModelConfig, TrainConfig
from ichformer.training.runs.run import Run
from ichformer.workflows.exports.write_export import export_compiled
from tests.typecheck import unchecked

pytest.importorskip("flatbuffers")

ALONE = """
import json, sys
import jax, numpy as np
from jax import export
folder = sys.argv[1]
exported = export.deserialize(bytearray(open(f"{folder}/model.stablehlo", "rb").read()))
given = np.load(f"{folder}/given.npz")
found = jax.jit(exported.call)(*(given[one["name"]] for one in json.load(open(f"{folder}/model.json"))["inputs"]))
np.savez(f"{folder}/found.npz", **found)
assert "ichformer" not in sys.modules and "flax" not in sys.modules
"""


def made(name, tmp_path, **options):
    """A run that was never trained, of a small model."""
    model = create_model(name, lesions=True, **options)
    variables = model.init(jax.random.key(0), **example_inputs(model, slices=8))
    return Run(
        path=tmp_path,
        config=TrainConfig(data=DataConfig(store=""), model=ModelConfig(name=name)),
        prepare=PrepareConfig(size=64),
        objective=Classification(model=model, windows=tuple(WINDOWS[w] for w in ("brain", "subdural", "bone"))),
        params=variables["params"],
        step=0,
        facts={},
    )


def noise(scans, slices):
    rng = np.random.default_rng(1)
    hu = rng.integers(-100, 150, (scans, slices, 64, 64)).astype(np.int16)
    mask = np.arange(slices)[None] < np.arange(slices, slices - scans, -1)[:, None]
    return hu, mask, np.full((scans, 3), 2.0, np.float32)


@pytest.mark.slow(minutes=1)
def test_jax_alone_predicts_to_the_bit(tiny_run, tiny_store, tmp_path):
    run, volume = open_trained(tiny_run), Store.open(tiny_store).read(0).volume
    with unchecked():  # symbols stand where numbers are annotated
        export_compiled(run, tmp_path / "out", form="stablehlo")
    missing = -len(volume.hu) % 8
    hu = np.pad(volume.hu, ((0, missing), (0, 0), (0, 0)), constant_values=-1024)[None]
    mask = (np.arange(hu.shape[1]) < len(volume.hu))[None]
    given = {"hu": hu, "slice_mask": mask, "spacing_mm": np.asarray(volume.spacing_mm, np.float32)[None]}
    np.savez(tmp_path / "out" / "given.npz", **given)
    (tmp_path / "alone.py").write_text(ALONE)
    command = [sys.executable, str(tmp_path / "alone.py"), str(tmp_path / "out")]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    scan, slices, _, _ = score_with_lesions(run.objective, run.variables, volume)
    found = np.load(tmp_path / "out" / "found.npz")
    np.testing.assert_array_equal(found["scan_scores"][0], scan)
    np.testing.assert_array_equal(found["slice_scores"][0, : len(volume.hu)], slices)
    described = json.loads((tmp_path / "out" / "model.json").read_text())
    assert described["labels"] == list(run.objective.label_set.names)
    assert described["inputs"][0]["shape"] == ["scans", "8*eighths", 32, 32]
    assert described["platforms"] == ["cpu", "cuda", "tpu"]


@pytest.mark.slow
@pytest.mark.parametrize("name", list_models("*_nano"))
def test_stablehlo_of_every_family(name, tmp_path):
    """Scans and slices are open in all but swin3d, whose windows depend on them."""
    run = made(name, tmp_path)
    with unchecked():  # symbols stand where numbers are annotated
        files = stablehlo_files(run, slices=8)
    exported = jax.export.deserialize(bytearray(files[stablehlo.FILE_NAME]))
    shape = json.loads(files[stablehlo.DESCRIPTION_NAME])["inputs"][0]["shape"]
    assert shape == ([1, 8, 64, 64] if name == "swin3d_nano" else ["scans", "8*eighths", 64, 64])
    given = noise(1, 8) if name == "swin3d_nano" else noise(2, 16)
    found = jax.jit(exported.call)(*given)
    prediction = jax.jit(
        lambda variables, hu, mask, spacing: run.model.apply(
            variables, run.objective.inputs(hu, mask), mask, spacing, False
        )
    )(run.variables, *map(jnp.asarray, given))
    for theirs, ours in zip(
        (found["slice_scores"], found["scan_scores"]), run.objective.scores(prediction), strict=True
    ):
        np.testing.assert_allclose(theirs, ours, atol=1e-6)


@pytest.mark.full(minutes=1)
@pytest.mark.parametrize("name", list_models("*_nano"))
def test_onnx_of_every_family(name, tmp_path):
    """``onnx_files`` compares with the run itself; here a scan with other values is scored."""
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("jax2onnx")
    run = made(name, tmp_path)
    files = onnx_files(run, slices=8)
    quiet = runtime.SessionOptions()
    quiet.log_severity_level = 4
    session = runtime.InferenceSession(files["model.onnx"], quiet, providers=["CPUExecutionProvider"])
    given = noise(1, 8)
    found = session.run(["slice_scores"], dict(zip(("hu", "slice_mask", "spacing_mm"), given, strict=True)))[0]
    hu, mask, spacing = map(jnp.asarray, given)
    prediction = run.model.apply(run.variables, run.objective.inputs(hu, mask), mask, spacing, False)
    np.testing.assert_allclose(found, run.objective.scores(prediction)[0], atol=1e-5)


def test_what_is_refused(tiny_run, tmp_path):
    with pytest.raises(InputError, match="--slices: 0 is out of range; take 1 or more"):
        export_compiled(open_trained(tiny_run), tmp_path / "out", form="onnx", slices=0)
    assert list(tmp_path.iterdir()) == []
