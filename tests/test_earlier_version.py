"""A store and a run that an earlier commit wrote still open, and hold and give the same.

``golden/earlier/COMMIT.zip`` was made with the package of that commit: four tiny phantoms prepared at 32 x 32 pixels,
two steps of ``cnn2d_nano`` on three of them, and ``expected.json``, what that package said of both. To add another, do
the same with a later commit and leave the earlier ones as they are.
"""

import hashlib
import json
import pathlib
import zipfile

import numpy as np
import pytest
from flax import traverse_util

from ichformer import LABELS
from ichformer.pipeline.store.records import Store
from ichformer.training.runs.run import Run
from ichformer.workflows.evaluate_run import predict_store

ARCHIVES = sorted((pathlib.Path(__file__).parent / "golden" / "earlier").glob("*.zip"))


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


def test_the_run_gives_the_same_scores(earlier):
    """To the bit on one device of the machine that made them (seen there). Tests have eight devices."""
    folder, expected = earlier
    table = predict_store(Run.open(folder / "run"), Store.open(folder / "store"), "train")
    scans = table[table["slice"] == ""].set_index("series")
    for series, scores in expected["scan_scores"].items():
        np.testing.assert_allclose(
            scans.loc[series, [f"score_{name}" for name in LABELS]].astype(float), scores, atol=1e-5
        )
