"""Every notebook runs from top to bottom and says what its paired script says."""

import pathlib

import pytest

NOTEBOOKS = sorted((pathlib.Path(__file__).parents[1] / "colab").glob("*.ipynb"))


def test_there_are_notebooks():
    assert NOTEBOOKS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_and_script_agree(path):
    jupytext = pytest.importorskip("jupytext", reason="the extra dev is not installed")
    notebook, script = (jupytext.read(file) for file in (path, path.with_suffix(".py")))
    assert [(c.cell_type, c.source) for c in notebook.cells] == [(c.cell_type, c.source) for c in script.cells]
    assert all(not cell.get("outputs") for cell in notebook.cells)


@pytest.mark.full(minutes=3)
@pytest.mark.filterwarnings("ignore")  # Jupyter's own; the notebook's code runs in another process
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(path, monkeypatch):
    # The other tests draw without a screen; a notebook shows what it draws.
    monkeypatch.delenv("MPLBACKEND", raising=False)
    nbclient = pytest.importorskip("nbclient", reason="the extra dev is not installed")
    nbformat = pytest.importorskip("nbformat", reason="the extra dev is not installed")
    notebook = nbformat.read(path, as_version=4)
    nbclient.NotebookClient(notebook, timeout=1800, kernel_name="python3").execute()
    assert any(output.output_type == "display_data" for output in notebook.cells[-1].outputs)
