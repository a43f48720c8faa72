"""What docs/sharing.md shows is run as it stands there."""

import os
import subprocess
import sys

import pytest

from ichformer.inference.trained import open_trained
from ichformer.workflows.exports.write_export import export_compiled
from tests.test_docs import ROOT, snippets
from tests.typecheck import unchecked

PAGE = ROOT / "docs" / "sharing.md"


@pytest.mark.parametrize(
    ("number", "form", "library"),
    [
        pytest.param(0, "stablehlo", "flatbuffers", marks=pytest.mark.slow),
        pytest.param(1, "onnx", "onnxruntime", marks=pytest.mark.full),
    ],
)
def test_snippets_need_no_ichformer(number, form, library, tiny_run, tmp_path):
    pytest.importorskip(library)
    with unchecked():  # symbols stand where numbers are annotated
        export_compiled(open_trained(tiny_run), tmp_path / f"first-{form}", form=form, slices=8)
    check = "\nimport sys; assert set(scores) == set(described['labels']) and 'ichformer' not in sys.modules\n"
    (tmp_path / "snippet.py").write_text(snippets(PAGE)[number] + check)
    subprocess.run([sys.executable, "snippet.py"], cwd=tmp_path, env=os.environ | {"PYTHONPATH": ""}, check=True)
