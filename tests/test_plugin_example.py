"""The plugin in ``tests/plugin_example``: installed with pip, and used from the command line as its README says."""

import json
import os
import pathlib
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace

import nibabel
import numpy as np
import pytest

from ichformer.ct.phantom.acquisition.sites import SITES
from ichformer.ct.phantom.make import make_phantom

EXAMPLE = pathlib.Path(__file__).parent / "plugin_example"
ROOT = EXAMPLE.parents[1]
SMALL = {
    "prepare": "--size 32 --workers 1 --seed 3",
    "train": "--steps 2 --data.batch-size 2 --data.num-slices 4 --parallel.data 1",
}
"""What a test adds to the commands, so that they take seconds."""


def write_scans(folder: pathlib.Path) -> None:
    """Twelve phantoms, every second with a bleed, and the table that the example's cohort reads."""
    folder.mkdir()
    lines = ["file,patient,bleed"]
    site = replace(SITES["alder"], pixels=64, thickness_mm=14.0, step_mm=3.6)
    for i in range(12):
        volume = make_phantom(i, site=site, subtypes=("intraparenchymal",) if i % 2 else ()).volume
        # From rows and columns towards the patient's back and left (LPS) to NIfTI's axes towards right and front (RAS).
        affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ volume.affine
        nibabel.save(nibabel.Nifti1Image(volume.hu, affine), folder / f"{i:02d}.nii.gz")
        lines.append(f"{i:02d}.nii.gz,{i},{i % 2}")
    (folder / "diagnoses.csv").write_text("\n".join(lines) + "\n")


def commands() -> list[list[str]]:
    """The commands of the README, after the one that installs."""
    shown = [line.partition("#")[0].split() for line in (EXAMPLE / "README.md").read_text().splitlines()]
    found = [words[1:] for words in shown if words[:1] == ["ichformer"]]
    assert [words[0] for words in found] == ["models", "prepare", "train", "train", "evaluate", "robustness"]
    return [[*words, *shlex.split(SMALL.get(words[0], "")), "--json"] for words in found]


def needs(run: pathlib.Path) -> dict[str, str]:
    """What a run needs, by kind: all of it is of the installed plugin."""
    found = json.loads((run / "run.json").read_text())["needs"]
    assert {(need["distribution"], need["version"]) for need in found} == {("ichformer-example", "0.1.0")}
    return {need["what"]: need["name"] for need in found}


@pytest.mark.slow(minutes=2)
def test_the_commands_of_its_readme(tmp_path):
    shutil.copytree(EXAMPLE, tmp_path / "source")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    pip += ["--disable-pip-version-check", "--target", str(tmp_path / "installed"), str(tmp_path / "source")]
    subprocess.run(pip, check=True, capture_output=True, text=True)
    write_scans(tmp_path / "scans")
    # One process for all commands, as importing JAX takes longer than most of them.
    code = f"from ichformer.cli import main\nfor words in {commands()!r}: main(words)"
    paths = os.pathsep.join([str(tmp_path / "installed"), str(ROOT)])
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": paths, "PYTHONSAFEPATH": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    listed, prepared, trained, encoded, evaluated, robustness = map(json.loads, done.stdout.splitlines())
    own = {model["name"]: model for model in listed["models"]}["example_brightness"]
    assert (own["params"], own["about"]) == (None, "the mean of each window, and a linear layer")
    assert prepared["series"] == 12
    assert np.isfinite([trained["metrics"]["loss"], encoded["metrics"]["loss"]]).all()
    assert evaluated["levels"][-1]["level"] == "scan"
    cells = [cell for level in robustness["levels"] for cell in level["cells"]]
    assert {cell["corruption"] for cell in cells} == {"example_drift"}
    cohort = {"cohort": "example_hospital"}
    assert needs(tmp_path / "run") == {
        "model": "example_brightness",
        "objective": "example_scans_count_twice",
        **cohort,
    }
    assert needs(tmp_path / "encoded") == {"encoder": "example_squares", **cohort}
    code = "import sys\nfrom ichformer.cli import main\nfor run in ('run', 'encoded'):\n"
    code += "    try: main(['evaluate', run])\n    except SystemExit as end: print(end.code)"
    without = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONSAFEPATH": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert without.stdout.split() == ["2", "2"]
    for missing in ("run: needs the model example_brightness", "encoded: needs the encoder example_squares"):
        said = f"{missing} of a plugin; install its plugin: pip install ichformer-example==0.1.0\n"
        assert said in without.stderr
