"""Every notebook runs from top to bottom, says what its paired script says, and begins with the same cell."""

import os
import pathlib
import subprocess
import sys
import venv

import pytest

ROOT = pathlib.Path(__file__).parents[1]
COLAB = ROOT / "colab"
NOTEBOOKS = sorted(COLAB.glob("*.ipynb"))
QUICK = ("01_quickstart", "02_read_any_ct")
BEFORE_JAX = 'os.environ.setdefault("XLA_FLAGS"'


def test_there_are_notebooks():
    assert [path.stem[:2] for path in NOTEBOOKS] == [f"{number:02d}" for number in range(1, 11)]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_and_script_agree(path):
    jupytext = pytest.importorskip("jupytext", reason="the extra dev is not installed")
    notebook, script = (jupytext.read(file) for file in (path, path.with_suffix(".py")))
    assert [(c.cell_type, c.source) for c in notebook.cells] == [(c.cell_type, c.source) for c in script.cells]
    assert all(not cell.get("outputs") for cell in notebook.cells)


def test_all_begin_with_the_same_installation():
    jupytext = pytest.importorskip("jupytext", reason="the extra dev is not installed")
    first = {}
    for path in NOTEBOOKS:
        code = [cell.source for cell in jupytext.read(path).cells if cell.cell_type == "code"]
        first[path.stem] = next(source for source in code if BEFORE_JAX not in source)
    assert len(set(first.values())) == 1
    (installation,) = set(first.values())
    assert 'find_spec("ichformer")' in installation
    assert "jax.devices()" in installation


@pytest.mark.filterwarnings("ignore")  # Jupyter's own; the notebook's code runs in another process
@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, marks=pytest.mark.slow(minutes=1) if path.stem in QUICK else pytest.mark.full(minutes=4))
        for path in NOTEBOOKS
    ],
    ids=lambda path: path.stem,
)
def test_notebook_runs(path, monkeypatch):
    # The other tests draw without a screen, on eight devices; a notebook shows what it draws, on what there is.
    monkeypatch.delenv("MPLBACKEND", raising=False)
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    nbclient = pytest.importorskip("nbclient", reason="the extra dev is not installed")
    nbformat = pytest.importorskip("nbformat", reason="the extra dev is not installed")
    notebook = nbformat.read(path, as_version=4)
    nbclient.NotebookClient(notebook, timeout=1800, kernel_name="python3").execute()
    assert any(output.output_type == "display_data" for output in notebook.cells[-1].outputs)


@pytest.mark.full(minutes=6)
def test_the_first_notebook_runs_where_colabs_packages_are_installed_before(tmp_path):
    """As there: numpy, jax and pandas stand already, in other versions, and the first cell installs ichformer."""
    venv.create(tmp_path / "env", with_pip=True)
    python = str(tmp_path / "env" / "bin" / "python")
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "XLA_FLAGS")}
    subprocess.run([python, "-m", "pip", "install", "-q", "-r", COLAB / "preinstalled.txt"], check=True, env=clean)
    source = (COLAB / "01_quickstart.py").read_text(encoding="utf-8")
    assert 'SOURCE = "ichformer"' in source
    # Matplotlib without a screen. Not from a file, as a notebook's cells are none either.
    done = subprocess.run(
        [python, "-c", source.replace('SOURCE = "ichformer"', f'SOURCE = "{ROOT}"')],
        cwd=tmp_path,
        env=clean | {"MPLBACKEND": "agg"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert f"Python {sys.version.split()[0]}" in done.stdout
