"""Two scans of a patient through the command: painted bleeds in a head that moved, and what is refused."""

import json
import shutil
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pydicom
import pytest
from jax import Array
from scipy.spatial.transform import Rotation

from ichformer import LABELS
from ichformer.cli import main
from ichformer.ct.io.dicom.series import Series, find_series
from ichformer.ct.io.nifti import NiftiFile
from ichformer.ct.phantom import SITES, Phantom, make_phantom
from ichformer.ct.phantom.write import write_series
from ichformer.ct.windows import WINDOWS
from ichformer.errors import InputError
from ichformer.lesions.frozen import LESIONS_NAME, FrozenLabel, FrozenLesions, frozen_values
from ichformer.lesions.volumes import VolumeClass
from ichformer.models.contract import CAM_LAYER, Prediction
from ichformer.objectives.classification import Classification
from ichformer.pipeline.preparation.config import RECIPE_VERSION, PrepareConfig
from ichformer.training.config import DataConfig, TrainConfig
from ichformer.training.runs.contract import CONTRACT_FACT, Contract, Stage
from ichformer.training.runs.run import Run
from ichformer.workflows.follow_up.times import Taken, hours_between, taken
from ichformer.workflows.follow_up.two_scans import OneScan, check_measures, check_pair, read_one
from ichformer.workflows.prediction.score_scan import open_reader

pytest.importorskip("SimpleITK")

BLOOD_HU = 70
GROWS, GONE, NEW = (30.0, -10.0, 20.0), (-35.0, 20.0, 30.0), (-30.0, -25.0, 20.0)
"""Middles of bleeds: mm to the left of the middle of the brain, behind it and above it."""


class BloodMap(nn.Module):
    """Its lesion map shows what is nearer to the paint than to the brain; bone is denser."""

    @nn.compact
    def __call__(self, x: Array, slice_mask: Array, spacing_mm: Array, train: bool) -> Prediction:
        is_blood = (x > 53 / 80) & (x < 0.99)
        shown = jnp.asarray([label in SHOWN for label in LABELS]).reshape(1, 1, 1, 1, -1)
        logits = jnp.where(is_blood & shown, 8.0, -8.0)
        slices = logits.max(axis=(2, 3))
        scans = jnp.where(slice_mask[..., None], slices, -8.0).max(axis=1)
        features = {CAM_LAYER: self.perturb(CAM_LAYER, x[:, :, ::8, ::8]), "slices": slices}
        return Prediction(slice_logits=slices, scan_logits=scans, features=features, lesion_logits=logits)


SHOWN = ("subdural", "any")


def painted(phantom: Phantom, bleeds: dict[tuple[float, ...], float]) -> tuple[Phantom, float]:
    """The phantom with balls of blood (middle -> radius in mm) in a brain without any, and their ml."""
    volume, inside = phantom.volume, phantom.cavity
    points = np.indices(inside.shape).reshape(3, -1).T @ volume.affine[:3, :3].T
    middle = points[inside.ravel()].mean(axis=0)
    hu = np.where(inside, np.minimum(volume.hu, 45), np.where(volume.hu > 45, np.maximum(volume.hu, 300), volume.hu))
    near = [np.linalg.norm(points - middle - at, axis=1) <= radius_mm for at, radius_mm in bleeds.items()]
    mask = np.logical_or.reduce(near).reshape(inside.shape)
    hu[mask] = BLOOD_HU
    ml = float(mask.sum() * np.prod(volume.spacing_mm)) / 1000
    return replace(phantom, volume=replace(volume, hu=hu.astype(np.int16))), ml


def write(phantom: Phantom, folder: Path, *, study: str, day: str, turn_deg=(0, 0, 0)) -> Path:
    """The series of a patient who turned."""
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", turn_deg, degrees=True).as_matrix()
    affine = affine @ phantom.volume.affine
    write_series(phantom, folder, patient="7", name="DOE^JANE", study=study, series=f"{study}.1")
    axes = affine[:3, [2, 1]] / np.linalg.norm(affine[:3, [2, 1]], axis=0)
    for file in folder.iterdir():
        header = pydicom.dcmread(file)
        origin = affine[:3, 3] + (header.InstanceNumber - 1) * affine[:3, 0]
        header.ImagePositionPatient = [f"{mm:.6f}" for mm in origin]
        header.ImageOrientationPatient = [f"{part:.9f}" for part in axes.T.ravel()]
        header.AcquisitionDate, header.AcquisitionTime = day, "101500"
        header.save_as(file)
    return folder


@dataclass(frozen=True)
class Pair:
    """Where two scans and a run lie, and how much was painted."""

    run: Run
    monday: Path
    tuesday: Path
    ml: tuple[float, float]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp("follow_up")
    head = make_phantom(1, site=replace(SITES["alder"], step_mm=3.0, pixels=128))
    before, monday_ml = painted(head, {GROWS: 10.0, GONE: 8.0})
    after, tuesday_ml = painted(head, {GROWS: 15.0, NEW: 9.0})
    run = Run(
        path=folder / "run",
        config=TrainConfig(data=DataConfig(store="stores/phantom")),
        prepare=PrepareConfig(size=128, keep="brain"),
        objective=Classification(model=BloodMap(), windows=(WINDOWS["brain"],), lesion_weight=1.0, lesion_labels=SHOWN),
        params={},
        step=7,
        facts={CONTRACT_FACT: Contract(stages=(Stage(objective="classification", recipe=RECIPE_VERSION),)).to_json()},
    )
    run.path.mkdir()
    classes = (VolumeClass(up_to_ml=None, n=40, low_factor=0.9, high_factor=1.1),)
    labels = tuple(
        FrozenLabel(label=name, threshold=0.5, dice=0.9, n=60, n_positive=40, volume_classes=classes) for name in SHOWN
    )
    frozen = FrozenLesions(split="val", n_patients=60, labels=labels, model=run.fingerprint)
    (run.path / LESIONS_NAME).write_text(json.dumps(frozen_values(frozen)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "open", classmethod(lambda cls, path, given=None: run))
        yield Pair(
            run=run,
            monday=write(before, folder / "monday", study="1.2.3.4", day="20260105"),
            tuesday=write(after, folder / "tuesday", study="1.2.3.5", day="20260106", turn_deg=(9, -4, 12)),
            ml=(monday_ml, tuesday_ml),
        )


@pytest.fixture(scope="module")
def opened(pair) -> tuple[OneScan, OneScan]:
    reader = open_reader(pair.run)
    return read_one(pair.monday, reader), read_one(pair.tuesday, reader)


@pytest.mark.slow
def test_the_command_says_how_much_was_painted(pair, tmp_path, capsys):
    out = tmp_path / "out"
    words = [str(pair.monday), str(pair.tuesday), "--run", str(pair.run.path), "--out", str(out), "--dicom", "--json"]
    main(["follow-up", *words])
    found = json.loads(capsys.readouterr().out)
    assert {file.name for file in out.iterdir()} == {"follow_up.dcm", "follow_up.html", "follow_up.json"}
    kept = json.loads((out / "follow_up.json").read_text())
    assert {name: found[name] for name in kept} == kept
    whole = found["labels"]["any"]
    assert (whole["earlier"]["ml"], whole["later"]["ml"]) == pytest.approx(pair.ml, rel=0.06)
    assert whole["growth"]["ml"] == pytest.approx(pair.ml[1] - pair.ml[0], rel=0.1)
    assert whole["growth"]["change"] == "grown"
    assert [one["fate"] for one in found["bleeds"]] == ["same", "new", "gone"]
    assert (found["hours_between"], found["remarks"]) == (24.0, [])
    assert found["registration"]["turned_deg"] == pytest.approx(
        np.degrees(Rotation.from_euler("xyz", (9, -4, 12), degrees=True).magnitude()), abs=0.5
    )
    report = pydicom.dcmread(out / "follow_up.dcm")
    assert (report.StudyInstanceUID, report.PatientID) == ("1.2.3.5", "7")
    written = (out / "follow_up.html").read_text() + (out / "follow_up.json").read_text()
    assert not any(word in written for word in ("JANE", "1.2.3.4", "20260105", "2026-01-05"))


@pytest.mark.slow
def test_pairs_that_are_none_are_refused(opened, pair, tmp_path):
    monday, tuesday = opened
    assert check_pair(monday, tuesday, dicom=True) == (24.0, ())
    with pytest.raises(InputError, match="was taken before the scan that was named as the earlier one; name the e"):
        check_pair(tuesday, monday, dicom=False)
    with pytest.raises(InputError, match="is the same scan as the earlier one; name two scans"):
        check_pair(monday, monday, dicom=False)
    other = with_patient(tuesday, "SECRET")
    hours, (said,) = check_pair(monday, other, dicom=False)
    assert hours == 24.0
    assert said == "The scans have different PatientIDs. Make sure that both are of one patient."
    with pytest.raises(InputError, match="has another PatientID than the earlier scan") as refused:
        check_pair(monday, other, dicom=True)
    assert "SECRET" not in str(refused.value)
    (said,) = check_pair(monday, with_patient(tuesday, ""), dicom=False)[1]
    assert "no PatientID" in said
    both = tmp_path / "both"
    for name in ("monday", "tuesday"):
        shutil.copytree(getattr(pair, name), both / name)
    with pytest.raises(InputError, match="holds 2 scans to choose from; name the folder or file of one"):
        read_one(both, open_reader(pair.run))


def with_patient(one: OneScan, patient_id: str) -> OneScan:
    series = one.chosen.scan
    assert isinstance(series, Series)
    headers = tuple(replace(header, patient_id=patient_id) for header in series.headers)
    return replace(one, chosen=replace(one.chosen, scan=replace(series, headers=headers)))


@pytest.mark.slow
def test_a_run_without_thresholds_and_a_scan_without_a_brain_are_refused(pair, tmp_path):
    reader = open_reader(pair.run)
    with pytest.raises(InputError, match="measures no lesions: no threshold was fixed for its lesion map"):
        check_measures(replace(reader, lesions=None))
    shutil.copytree(pair.monday, tmp_path / "air")
    for file in (tmp_path / "air").iterdir():
        header = pydicom.dcmread(file)
        header.PixelData = bytes(len(header.PixelData))
        header.save_as(file)
    with pytest.raises(InputError, match=r"is not scored: .*; compare two scans that `predict` scores"):
        read_one(tmp_path / "air", reader)


def test_whole_days_are_counted_where_a_time_of_the_day_is_missing():
    at = [Taken(at=datetime(2026, 1, day, hour), has_time=bool(hour)) for day, hour in ((5, 22), (6, 0), (6, 8))]
    assert hours_between(at[0], at[2]) == 10.0
    assert (hours_between(at[0], at[1]), hours_between(at[1], at[2])) == (24.0, 0.0)
    assert hours_between(at[0], Taken(at=None, has_time=False)) is None


@pytest.mark.slow
def test_times_are_read_as_headers_write_them(pair, tmp_path):
    first = sorted(pair.monday.iterdir())[0]
    for number, (tags, found) in enumerate(
        [
            ({"AcquisitionDateTime": "20260105101500.000000+0100"}, (datetime(2026, 1, 5, 10, 15), True)),
            ({"AcquisitionDate": "20260105", "AcquisitionTime": "1015"}, (datetime(2026, 1, 5, 10, 15), True)),
            ({"StudyDate": "20260105"}, (datetime(2026, 1, 5), False)),
            ({"StudyDate": "2026", "SeriesDate": "x"}, (None, False)),
        ]
    ):
        header = pydicom.dcmread(first)
        for name in TIMES:
            if name in header:
                delattr(header, name)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for name, value in tags.items():
                setattr(header, name, value)
            (tmp_path / str(number)).mkdir()
            header.save_as(tmp_path / str(number) / "1.dcm")
        (series,) = find_series(tmp_path / str(number)).series
        assert (taken(series).at, taken(series).has_time) == found
    assert taken(NiftiFile(path=first)) == Taken(at=None, has_time=False)


TIMES = [f"{of}{what}" for of in ("Acquisition", "Content", "Series", "Study") for what in ("Date", "Time")]
