"""Maps over a scan as it was read: they lie over the blood, and their folder names nobody."""

import gzip
import inspect
import json
import re
from dataclasses import replace
from pathlib import Path

import jax.numpy as jnp
import nibabel
import numpy as np
import pytest
from PIL import Image

import ichformer as ich
from ichformer.cli import main
from ichformer.cli.command import load_command
from ichformer.ct.anatomy.outside import air_outside
from ichformer.explanations.registry import DEFAULT_METHOD, EXPLANATIONS
from ichformer.explanations.score import Explanation
from ichformer.training.runs.run import Run
from tests.registries import forget_after
from tests.workflows.counter import HOTTEST, open_counter, write_head

SECRETS = {"PatientName": "DOE^JANE", "PatientID": "MRN-4711", "StudyDescription": "CT OF JANE"}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    return open_counter(tmp_path / "runs" / "counter", monkeypatch)


@pytest.mark.slow
def test_the_command_writes_maps_on_the_grid_of_the_scan_and_pictures(run, tmp_path, monkeypatch, capsys) -> None:
    scan, out = write_head(tmp_path / "scan", degrees=18.0, **SECRETS), tmp_path / "out"
    volume = ich.read_volume(scan)
    forget_after(monkeypatch, EXPLANATIONS)

    @ich.register_explanation("like_blood", signed=True)
    def of_blood(score):
        x = score.windowed[..., 0]
        return Explanation(maps=jnp.where(jnp.abs(x - 0.875) < 0.06, 1.0, jnp.where(x > 0.95, -0.5, 0.0)))

    words = ["explain", str(run.path), str(scan), "--out", str(out), "--method", "hires_cam", "like_blood", "--json"]
    main([*words, "--level", "slice"])
    told = json.loads(capsys.readouterr().out)
    assert told == json.loads((out / "explanation.json").read_text())
    assert told["notice"].startswith("Research use only.")
    assert not told["slices_are_even"] or not volume.audit.steps_mm
    cam, own = told["explanations"]
    assert (cam["method"], cam["signed"], cam["cells"]["of"], cam["cells"]["rows"]) == (
        "hires_cam",
        False,
        "features",
        12,
    )
    assert (own["method"], own["signed"], own["cells"]["of"]) == ("like_blood", True, "input")
    outside = air_outside(volume.hu)
    for one in (cam, own):
        image = nibabel.load(out / one["voxels"])
        values = np.asarray(image.dataobj).transpose(2, 1, 0)
        assert values.shape == volume.hu.shape
        assert np.abs(values).max() == pytest.approx(1)
        assert outside.any()
        assert not values[outside].any()
        # The highest place lies in the bleed, also by the coordinates of the file: NIfTI has them in RAS, we in LPS.
        place = np.unravel_index(values.argmax(), values.shape)
        assert abs(place[0] - HOTTEST[0]) <= 2
        # To a cell of 8 mm: 16 rows of 0.5 mm and 20 columns of 0.4 mm.
        assert np.hypot(0.5 * (place[1] - HOTTEST[1]), 0.4 * (place[2] - HOTTEST[2])) < 8 * 2**0.5
        ours = volume.affine @ np.array([*place, 1.0])
        theirs = image.affine @ np.array([*place[::-1], 1.0])
        np.testing.assert_allclose(theirs[:3], ours[:3] * [-1, -1, 1], atol=1e-2)
        assert image.header["descrip"].item() == b""
        with Image.open(out / one["picture"]) as picture:
            colours = np.asarray(picture).astype(int)
        assert (np.ptp(colours, axis=2) > 60).sum() > 100  # a grey picture has none
    for file in out.iterdir():
        data = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
        assert not re.search(rb"DOE|JANE|MRN|1\.2\.3", data)
        assert str(tmp_path).encode() not in data


def test_a_mirrored_scan_has_the_mirrored_map(run, tmp_path) -> None:
    volume = ich.read_volume(write_head(tmp_path / "scan", degrees=0.0))
    mirrored = replace(volume, hu=volume.hu[:, :, ::-1].copy())
    maps = [ich.explain(run.path, one, level="scan", method="hires_cam") for one in (volume, mirrored)]
    assert maps[0].max() == pytest.approx(1)
    np.testing.assert_allclose(maps[1], maps[0][:, :, ::-1], atol=1e-4)
    # The score of the scan is that of its highest slice alone.
    assert maps[0].any(axis=(1, 2)).tolist() == [i == HOTTEST[0] for i in range(len(volume.hu))]


def test_a_wrong_method_or_scan_is_one_line_and_nothing_is_written(run, tmp_path, capsys) -> None:
    scan = write_head(tmp_path / "scan")
    for method, said in {"hirescam": "there is no explanation", "lesions": "cannot explain this model"}.items():
        with pytest.raises(SystemExit) as stop:
            main(["explain", str(run.path), str(scan), "--out", str(tmp_path / "out"), "--method", method])
        assert stop.value.code == 2
        assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_command_explains_as_python_does_where_nothing_is_said() -> None:
    words = inspect.signature(load_command("explain").run).parameters
    assert words["method"].default == (DEFAULT_METHOD,)
