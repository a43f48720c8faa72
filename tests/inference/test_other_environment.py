"""A bundle that was made here opens under another Python and another JAX, and predicts the same."""

import os
import subprocess

import numpy as np
import pytest

import ichformer as ich
from ichformer.inference.trained import open_trained
from ichformer.workflows.exports.write_export import export_folder

OTHER = "ICHFORMER_OTHER_PYTHON"
"""Names a Python with ichformer and another JAX: ``PYTHON -m pip install CHECKOUT`` in a virtual environment."""

PREDICT = """
import sys
import jax, numpy as np
import ichformer as ich
run = ich.open_run(sys.argv[1])
found = run.predict(ich.read_volume(sys.argv[2]))
np.savez(sys.argv[3], scan=list(found.scan_scores.values()), any=found.slice_scores["any"])
print(sys.version_info[:2], jax.__version__)
"""


@pytest.mark.full(minutes=1)
def test_a_bundle_elsewhere_predicts_the_same(tiny_run, tiny_store, tmp_path):
    other = os.environ.get(OTHER)
    if other is None:
        pytest.skip(f"no other Python: name one in {OTHER}")
    scan = next(path.parent for path in sorted((tiny_store.parent / "cohort").rglob("*.dcm")))
    bundle = tmp_path / "first.ichformer"
    export_folder(open_trained(tiny_run), bundle, as_bundle=True)
    (tmp_path / "predict.py").write_text(PREDICT)
    ours = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "TMPDIR")}
    command = [other, str(tmp_path / "predict.py"), str(bundle), str(scan), str(tmp_path / "found.npz")]
    subprocess.run(command, env=ours | {"JAX_PLATFORMS": "cpu"}, cwd=tmp_path, check=True)
    here, there = ich.open_run(bundle).predict(ich.read_volume(scan)), np.load(tmp_path / "found.npz")
    np.testing.assert_allclose(there["scan"], list(here.scan_scores.values()), atol=1e-5)
    np.testing.assert_allclose(there["any"], here.slice_scores["any"], atol=1e-5)
