"""A store and a run that an earlier commit wrote still open, and hold and give the same.

Archives of ``golden/earlier`` were made with the package of the commit that they are named by: four tiny phantoms
prepared at 32 x 32 pixels, a run of two steps on some of them, and ``expected.json``, what that package said of both.
The run is of ``cnn2d_nano``, or of ``slice_vit_nano`` with thresholds and familiarity; the parameters of that one were
rounded to three values an array, so that the archive stays small. To add another, do the same with a later commit and
leave the earlier ones as they are.
"""

import hashlib
import json
import os
import pathlib
import platform
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from flax import traverse_util

from ichformer import LABELS
from ichformer.evaluation.ood import OOD_NAME, read_ood
from ichformer.evaluation.tables.table import score_column
from ichformer.evaluation.thresholds import THRESHOLDS_NAME, read_thresholds
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


def test_the_run_gives_the_same_scores(earlier):
    """To rounding: tests have eight devices, and are compiled without LLVM's help."""
    folder, expected = earlier
    found = scores(folder, expected.get("split", "train"))
    assert found.keys() == expected["scan_scores"].keys()
    for series, values in expected["scan_scores"].items():
        np.testing.assert_allclose(found[series], values, atol=1e-5)


@pytest.mark.parametrize("earlier", [path for path in ARCHIVES if "slice_vit" in path.stem], indirect=True)
def test_thresholds_and_familiarity_are_the_same(earlier):
    folder, expected = earlier
    model = Run.open(folder / "run").fingerprint
    found = read_thresholds(folder / "run" / THRESHOLDS_NAME, model=model).thresholds
    values = [[one.level, one.label, one.rule, one.value] for one in found if one.value is not None]
    assert values == [list(one.values()) for one in expected["thresholds"]]
    familiarity = read_ood(folder / "run" / OOD_NAME, model=model)
    np.testing.assert_allclose(familiarity.distances(np.array(expected["features"])), expected["distances"], rtol=1e-9)
    np.testing.assert_array_equal(familiarity.percentiles(np.array(expected["features"])), expected["percentiles"])


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() != "x86_64", reason="another processor rounds otherwise")
def test_the_run_gives_the_same_scores_to_the_bit(earlier):
    """On one device, compiled as it is outside of tests."""
    folder, expected = earlier
    code = (
        "import json, pathlib, sys; from tests.test_earlier_version import scores\n"
        "print(json.dumps(scores(pathlib.Path(sys.argv[1]), sys.argv[2])))"
    )
    outside = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    command = [sys.executable, "-c", code, str(folder), expected.get("split", "train")]
    done = subprocess.run(command, env=outside, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    np.testing.assert_equal(json.loads(done.stdout), expected["scan_scores"])  # NaN where nothing was trained
