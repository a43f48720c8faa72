"""A store and a run that an earlier commit wrote still open, and hold and give the same.

``golden/earlier/COMMIT.zip`` was made with the package of that commit: four tiny phantoms prepared at 32 x 32 pixels,
two steps of ``cnn2d_nano`` on three of them, and ``expected.json``, what that package said of both. To add another, do
the same with a later commit and leave the earlier ones as they are.
"""

import hashlib
import json
import os
import pathlib
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from flax import traverse_util

from ichformer import LABELS
from ichformer.evaluation.tables.table import score_column
from ichformer.pipeline.store.records import Store
from ichformer.training.runs.run import Run
from ichformer.workflows.evaluate_run import predict_store

ROOT = pathlib.Path(__file__).parents[1]
ARCHIVES = sorted((ROOT / "tests" / "golden" / "earlier").glob("*.zip"))


@pytest.fixture(scope="module", params=ARCHIVES, ids=lambda path: path.stem)
def earlier(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("earlier")
    with zipfile.ZipFile(request.param) as archive:
        archive.extractall(folder)
    return folder, json.loads((folder / "expected.json").read_text())


def sha256(values) -> str:
    return hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()


def test_the_store_holds_the_same_voxels(earlier):
    folder, expected = earlier
    store = Store.open(folder / "store")
    found = [{"series": store.index["series"][row], "hu_sha256": sha256(store.read(row).volume.hu)} for row in range(4)]
    assert found == expected["scans"]


def test_the_run_has_the_same_parameters(earlier):
    folder, expected = earlier
    run = Run.open(folder / "run")
    parameters = traverse_util.flatten_dict(run.params, sep="/")
    assert {name: sha256(values) for name, values in sorted(parameters.items())} == expected["parameters"]
    assert (run.step, run.fingerprint) == (expected["step"], expected["fingerprint"])


def scores(folder: pathlib.Path, split: str) -> dict[str, list[float]]:
    """Of each scan of a split, by series, in the order of ``LABELS``."""
    table = predict_store(Run.open(folder / "run"), Store.open(folder / "store"), split)
    scans = table[table["slice"] == ""].set_index("series")
    return {series: list(map(float, row)) for series, *row in scans[list(map(score_column, LABELS))].itertuples()}


@pytest.mark.slow
def test_the_run_gives_the_same_scores(earlier):
    """To rounding: tests have eight devices, and are compiled without LLVM's help."""
    folder, expected = earlier
    found = scores(folder, "train")
    assert found.keys() == expected["scan_scores"].keys()
    for series, values in expected["scan_scores"].items():
        np.testing.assert_allclose(found[series], values, atol=1e-5)


@pytest.mark.slow
def test_the_run_gives_the_same_scores_as_it_is_used(earlier):
    """On one device, compiled as it is outside of tests: a few units of float32's last place, as processors differ."""
    folder, expected = earlier
    code = (
        "import json, pathlib, sys; from tests.test_earlier_version import scores\n"
        "print(json.dumps(scores(pathlib.Path(sys.argv[1]), sys.argv[2])))"
    )
    outside = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    command = [sys.executable, "-c", code, str(folder), "train"]
    done = subprocess.run(command, env=outside, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found.keys() == expected["scan_scores"].keys()
    for series, values in expected["scan_scores"].items():
        np.testing.assert_allclose(found[series], values, rtol=1e-6)  # NaN where nothing was trained
