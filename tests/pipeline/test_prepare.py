"""Prepare: what goes in comes out in the same place, once, whatever breaks on the way."""

import csv
import dataclasses
import hashlib
import json
import multiprocessing
import os
import pathlib
import shutil
import signal
import zipfile
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor, ThreadPoolExecutor

import nibabel
import numpy as np
import pytest
from scipy import ndimage

from ichformer import LABELS
from ichformer.cli import main
from ichformer.cohorts.folder import adapter as folder
from ichformer.cohorts.index import make_index, read_index
from ichformer.cohorts.leakage import check_leakage
from ichformer.cohorts.reading import places, read_place
from ichformer.ct.fingerprint import fingerprint
from ichformer.ct.geometry.regrid import remove_tilt
from ichformer.ct.io.scans import read_volume
from ichformer.ct.volume import AIR_HU
from ichformer.errors import InputError
from ichformer.pipeline.preparation import shards
from ichformer.pipeline.preparation.config import PrepareConfig
from ichformer.pipeline.preparation.prepare import prepare_index
from ichformer.pipeline.preparation.recipe import prepare_volume
from ichformer.pipeline.preparation.workers import run_all
from ichformer.pipeline.store.records import Store
from ichformer.testing import tiny_cohort
from tests.ct.builders import ramp, write_series
from tests.stores import CONFIG, prepare_here, shard_paths
from tests.typecheck import unchecked


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    return tiny_cohort(tmp_path_factory.mktemp("phantoms") / "cohort", scans=6, prevalence=1.0)


@pytest.fixture
def index(cohort):
    return read_index(cohort / "studies.csv")


def digests(store: pathlib.Path) -> dict[str, str]:
    files = (path for path in store.rglob("*") if path.is_file())
    return {str(path.relative_to(store)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def rejects(store: Store) -> list[dict[str, str]]:
    with (store.path / "rejects.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_scans_labels_and_masks_arrive(index, tmp_path):
    store = prepare_here(index, tmp_path / "store")
    assert store.config == dataclasses.asdict(CONFIG)
    assert rejects(store) == []
    assert set(store.index.columns) >= {"cohort", "site", "patient", "study", "series", "split", "origin", *LABELS}
    assert not {"path", "mask", "slice_labels", "boxes"} & set(store.index.columns)
    assert (store.path / "index.json").read_text().find(str(tmp_path)) == -1
    by_series = index.set_index("series")
    for row, entry in store.index.iterrows():
        scan, study = store.read(row), by_series.loc[entry["series"]]
        expected = prepare_volume(read_volume(study["path"]), CONFIG)
        np.testing.assert_array_equal(scan.volume.hu, expected.hu)
        np.testing.assert_array_equal(scan.volume.affine, expected.affine)
        assert scan.volume.source == expected.source
        assert scan.scan_labels.tolist() == study[list(LABELS)].tolist()
        assert scan.slice_labels.max(0).tolist() == scan.scan_labels.tolist()
        assert scan.mask is not None
        bleeds = np.unique(scan.mask[scan.mask > 0])
        assert all(scan.scan_labels[value - 1] == 1 for value in bleeds)
        # Blood is brighter than the brain round it, so the mask lies where the HU are only if both went the same way.
        outside_hu = np.median(scan.volume.hu[(scan.mask == 0) & (scan.volume.hu > 0) & (scan.volume.hu < 80)])
        if (scan.mask > 0).sum() > 20:
            assert np.median(scan.volume.hu[scan.mask > 0]) > outside_hu


@pytest.mark.slow
def test_a_store_knows_its_pixels_whatever_their_labels(index, tmp_path):
    store = prepare_here(index, tmp_path / "a")
    pixels = store.index.set_index("series")["pixels"]
    assert pixels[index["series"]].tolist() == [fingerprint(read_place(place).hu) for place in places(index)]
    assert store.read(0).pixels == pixels.iloc[0] != ""
    renamed = index.assign(series=[f"1.{k}" for k in range(6)], patient="x", study="", origin="y")
    renamed[["mask", "slice_labels"]] = ""
    renamed[list(LABELS)] = np.nan
    other = prepare_here(renamed, tmp_path / "b", PrepareConfig(size=16))
    with pytest.raises(InputError, match="pixels: 6 of 6 series are in training and in test"):
        check_leakage(store.index, other.index)


@pytest.mark.slow
def test_same_bytes_with_processes_and_in_any_order(index, tmp_path, capfd):
    store = prepare_here(index, tmp_path / "a")
    prepare_index(index.iloc[::-1], tmp_path / "b", config=CONFIG, workers=2)
    assert digests(tmp_path / "a") == digests(tmp_path / "b")
    assert len(digests(tmp_path / "a")) == 6 + len(("index.json", "rejects.csv", "scans.jsonl"))
    captured = capfd.readouterr()
    assert captured.out == ""
    assert "6/6" in captured.err
    assert len(store.index) == 6


class Failing(ThreadPoolExecutor):
    """Breaks at the fourth task."""

    submitted = 0

    def submit(self, *args: object, **options: object) -> Future:
        self.submitted += 1
        if self.submitted == 4:
            self.shutdown(wait=True)
            raise BrokenExecutor("the machine was taken away")
        return super().submit(*args, **options)


def test_interrupted_and_gone_on_with(index, tmp_path, monkeypatch):
    out = tmp_path / "store"
    with pytest.raises(BrokenExecutor):
        prepare_index(index, out, config=CONFIG, executor=Failing(1), progress=False)
    made = {path.name: path.stat().st_mtime_ns for path in (out / "shards").iterdir()}
    assert len(made) == 3
    with pytest.raises(InputError, match="interrupted; run prepare again"):
        Store.open(out)
    (out / "shards" / ".half.array_record.1.tmp").write_bytes(b"of a killed worker")
    reads = []
    monkeypatch.setattr(shards, "read_place", lambda *args, **named: reads.append(1) or read_place(*args, **named))
    store = prepare_here(index, out)
    assert len(reads) == 3
    assert made.items() <= {path.name: path.stat().st_mtime_ns for path in (out / "shards").iterdir()}.items()
    assert digests(out) == digests(prepare_here(index, tmp_path / "at once").path)
    reads.clear()
    prepare_here(index, out)
    assert (reads, len(store.index)) == ([], 6)


def test_only_what_is_missing_or_damaged_or_changed_is_done(index, tmp_path):
    out = tmp_path / "store"
    store = prepare_here(index, out)
    whole = digests(out)
    cut, gone = (pathlib.Path(path) for path in shard_paths(store, [1, 3]))
    cut.write_bytes(cut.read_bytes()[:1000])
    gone.unlink()
    prepare_here(index, out)
    assert digests(out) == whole
    # A split does not touch the pixels, another label does.
    store = prepare_here(index.assign(split="val"), out)
    assert set(store.index["split"]) == {"val"}
    assert shard_paths(store, range(6)) == shard_paths(prepare_here(index, out), range(6))
    relabelled = index.copy()
    relabelled.loc[0, ["slice_labels", "mask"]] = ""
    again = prepare_here(relabelled, out)
    assert len(set(again.index["shard"]) - set(store.index["shard"])) == 1
    assert len(prepare_here(index.iloc[:2], out).index) == 2


def test_an_interrupted_store_checks_its_damaged_shards(index, tmp_path):
    out = tmp_path / "store"
    whole = digests(prepare_here(index, out).path)
    shard = next((out / "shards").iterdir())
    data = bytearray(shard.read_bytes())
    data[len(data) // 16] ^= 0xFF
    shard.write_bytes(data)
    values = json.loads((out / "index.json").read_text())
    (out / "index.json").write_text(json.dumps(values | {"series": None}))
    prepare_here(index, out)
    assert digests(out) == whole


def test_another_configuration_is_refused(index, tmp_path):
    prepare_here(index.iloc[:1], tmp_path / "store")
    before = digests(tmp_path / "store")
    with pytest.raises(InputError, match="name another folder, or delete this one"):
        prepare_here(index, tmp_path / "store", PrepareConfig(size=48))
    assert digests(tmp_path / "store") == before


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"size": 0}, "size: found 0; give 16 to 1024"),
        ({"size": 9999}, "size: found 9999; give"),
        ({"field_of_view_mm": 1.0}, "field_of_view_mm: found 1.0; give 50"),
        ({"slice_spacing_mm": 50.0}, "slice_spacing_mm: found 50.0; give"),
        ({"slice_spacing_mm": 5.0, "remove_tilt": False}, "leave the tilt's removal on"),
        ({"keep": "Brain"}, "keep: found 'Brain'; perhaps you meant 'brain'; take 'head' or 'brain'"),
    ],
)
def test_senseless_configurations(values, said):
    with unchecked(), pytest.raises(InputError, match=said):
        PrepareConfig(**values)


@pytest.mark.parametrize("asked", [["--size", "3"], ["--keep", "Brain"], ["--field-of-view-mm", "1"]])
def test_a_senseless_configuration_leaves_no_store(cohort, tmp_path, capsys, asked):
    out = tmp_path / "store"
    with pytest.raises(SystemExit) as stop:
        main(["prepare", "--dataset", "phantom", "--source", str(cohort), "--out", str(out), *asked])
    assert stop.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not out.exists()


@pytest.mark.slow
def test_the_brain_alone(index, tmp_path):
    head = prepare_here(index, tmp_path / "head")
    store = prepare_here(index, tmp_path / "brain", dataclasses.replace(CONFIG, keep="brain"))
    blood = []
    assert store.config["keep"] == "brain"
    assert len(store.index) == len(head.index) == 6
    for row in range(6):
        scan, whole = store.read(row), head.read(row).volume
        hu, cell_ml = scan.volume.hu, float(np.prod(scan.volume.spacing_mm)) / 1000
        assert "outside_blanked" in [note.code for note in scan.volume.audit.notes]
        assert (hu == AIR_HU).mean() > 0.4
        assert 800 < np.count_nonzero((hu > 0) & (hu < 100)) * cell_ml < 2000
        # Bone is left as the edge's blur alone; a child's skull is thin on pixels of 8 mm.
        assert (hu > 600).mean() < 0.01
        assert (hu > 300).mean() < 0.2 * (whole.hu > 300).mean()
        # Framed as the head is, and untouched where the brain is; at its edge no bone is blurred into it.
        kept = hu > AIR_HU
        deep = ndimage.binary_erosion(kept, np.ones((1, 3, 3)), iterations=2)
        assert deep.any()
        np.testing.assert_array_equal(hu[deep], whole.hu[deep])
        edge = kept & (whole.hu > 110)
        assert np.mean(hu[edge] < whole.hu[edge]) > 0.8
        np.testing.assert_array_equal(scan.volume.affine, whole.affine)
        assert scan.mask is not None
        # Where blood shows: on this coarse grid a part of it is lost in the bone's voxels, which go.
        blood.append(hu[(scan.mask > 0) & (whole.hu <= 110)])
    assert (np.concatenate(blood) > AIR_HU).mean() > 0.97


def test_a_scan_without_a_brain_is_left_out_where_the_brain_is_wanted(index, tmp_path):
    write_series(tmp_path / "scans", ramp(), series_uid="1.1")
    found = folder.load(tmp_path / "scans", cache=tmp_path / "cache").index
    rows = [*found.to_dict("records"), *index.iloc[:1].to_dict("records")]
    store = prepare_here(make_index(rows), tmp_path / "store", PrepareConfig(size=32, keep="brain"))
    (reject,) = rejects(store)
    assert reject["number"] == "1"
    assert "no brain" in reject["reason"]


def test_bad_series_are_left_out_with_a_reason(index, tmp_path):
    place = tmp_path / "scans"
    bad = {
        "1.1": write_series(place / "cut", ramp(), series_uid="1.1"),
        "1.2": write_series(place / "mr", ramp(), series_uid="1.2", Modality="MR"),
        "1.3": write_series(place / "one", ramp(slices=1), series_uid="1.3"),
        "1.5": write_series(place / "\u202ename", ramp(), series_uid="1.5"),
    }
    cut = bad["1.1"][2]
    cut.write_bytes(cut.read_bytes()[:-100])
    found = folder.load(place, cache=tmp_path / "cache").index
    missing = {"cohort": "folder", "origin": "folder", "patient": "x", "series": "1.4", "path": str(place / "none")}
    rows = [*found.to_dict("records"), missing, *index.iloc[:2].to_dict("records")]
    store = prepare_here(make_index(rows), tmp_path / "store")
    reasons = {rows[int(row["number"]) - 1]["series"]: row for row in rejects(store)}
    assert set(reasons) == {"1.1", "1.2", "1.3", "1.4"}
    assert len(store.index) == 3
    for series, words in (("1.1", "PixelData"), ("1.2", "MR"), ("1.3", "one slice"), ("1.4", "does not exist")):
        assert words in reasons[series]["reason"]
        assert str(tmp_path) not in reasons[series]["reason"]
        assert reasons[series]["path"] == ""


def test_nothing_could_be_read(tmp_path):
    write_series(tmp_path / "scans", ramp(), Modality="MR")
    index = folder.load(tmp_path / "scans", cache=tmp_path / "cache").index
    with pytest.raises(InputError, match=r"holds no scan; see rejects\.csv"):
        prepare_here(index, tmp_path / "store")
    assert "MR" in (tmp_path / "store" / "rejects.csv").read_text()


def test_even_slices_keep_labels_and_masks_in_step(index, tmp_path):
    config = dataclasses.replace(CONFIG, slice_spacing_mm=3.0)
    store = prepare_here(index, tmp_path / "store", config)
    bleeding = 0
    for row in range(len(store.index)):
        scan = store.read(row)
        assert scan.volume.spacing_mm[0] == 3.0
        assert scan.volume.audit.steps_mm == ()
        assert len(scan.slice_labels) == len(scan.volume.hu)
        if scan.mask is not None:
            in_mask = scan.mask.any((1, 2))
            # A slice label asks for more than a voxel, and a new slice takes those of all it is made of.
            assert (scan.slice_labels[in_mask & (np.count_nonzero(scan.mask, axis=(1, 2)) > 8), -1] == 1).all()
            bleeding += int(in_mask.any())
    assert bleeding > 0


def test_a_nifti_file_and_an_archive_are_prepared_like_a_folder(index, tmp_path):
    study = index.iloc[0]
    volume = read_volume(study["path"])
    straight, _ = remove_tilt(volume)
    affine = np.diag([-1.0, -1, 1, 1]) @ straight.affine
    nibabel.save(nibabel.Nifti1Image(straight.hu, affine), tmp_path / "scan.nii.gz")
    with zipfile.ZipFile(tmp_path / "scan.zip", "w") as archive:
        for file in sorted(pathlib.Path(study["path"]).iterdir()):
            archive.write(file, f"inner/{file.name}")
    rows = [
        {"cohort": "folder", "origin": "folder", "patient": name, "series": name, "path": str(path), "split": "train"}
        for name, path in {
            "folder": study["path"],
            "zip": tmp_path / "scan.zip" / "inner",
            "nifti": tmp_path / "scan.nii.gz",
        }.items()
    ]
    store = prepare_here(make_index(rows), tmp_path / "store")
    assert rejects(store) == []
    folder, nifti, archive = (store.read(row).volume for row in range(3))
    np.testing.assert_array_equal(archive.hu, folder.hu)
    assert archive.source == folder.source
    if not volume.audit.steps_mm:
        np.testing.assert_array_equal(nifti.hu, folder.hu)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MemoryError("no room"), "needs more memory than there is (MemoryError)"),
        (KeyError("x"), "a fault of ichformer (KeyError in ichformer/pipeline/preparation/shards.py, line "),
    ],
)
def test_a_fault_in_one_series_does_not_stop_the_rest(index, tmp_path, monkeypatch, error, words):
    calls = []

    def faulty(*args, **named):
        calls.append(args)
        if len(calls) == 2:
            raise error
        return read_place(*args, **named)

    monkeypatch.setattr(shards, "read_place", faulty)
    store = prepare_here(index, tmp_path / "store")
    assert len(store.index) == 5
    (row,) = rejects(store)
    assert words in row["reason"]
    monkeypatch.undo()
    assert len(prepare_here(index, tmp_path / "store").index) == 6


@pytest.mark.parametrize("what", ["shape", "place", "values", "not finite", "complex", "text"])
def test_masks_of_another_grid(index, tmp_path, what):
    image = nibabel.load(index["mask"][0])
    voxels, affine = np.asanyarray(image.dataobj), image.affine.copy()
    path = tmp_path / "mask.nii.gz"
    if what == "shape":
        voxels = voxels[:, :, :-1]
    elif what == "place":
        affine[:3, 3] += 3
    elif what == "values":
        voxels = voxels.astype(np.float32) + 0.5
    elif what == "not finite":
        voxels = voxels.astype(np.float32)
        voxels[0, 0] = [np.nan, np.inf, -np.inf, 1e30][: voxels.shape[2]] + [0] * max(0, voxels.shape[2] - 4)
    elif what == "complex":
        voxels = voxels.astype(np.complex64)
    nibabel.save(nibabel.Nifti1Image(voxels, affine), path)
    if what == "text":
        path.write_text("no mask")
    changed = index.iloc[:2].copy()
    changed.loc[0, "mask"] = str(path)
    store = prepare_here(changed, tmp_path / "store")
    (reject,) = rejects(store)
    words = {"shape": "shape", "place": "off the series", "complex": "complex", "text": "NIfTI"}
    assert words.get(what, "other values") in reject["reason"]


def test_labels_that_fit_no_slice_or_contradict(index, cohort, tmp_path):
    text = (cohort / "slice_labels.csv").read_text().splitlines()
    first = index["series"][0]
    for name, change in (
        ("other", lambda line: line.replace(f"{first},", f"{first},9.9.", 1)),
        ("none", lambda line: "" if line.startswith(first) else line),
    ):
        table = tmp_path / f"{name}.csv"
        table.write_text("\n".join(filter(None, map(change, text))) + "\n")
        changed = index.assign(slice_labels=str(table))
        if name == "none":
            with pytest.raises(InputError, match="has no row of series"):
                prepare_here(changed, tmp_path / name)
        else:
            assert "none of its slices" in rejects(prepare_here(changed, tmp_path / name))[0]["reason"]
    negative = index.assign(**dict.fromkeys(LABELS, 0.0))
    with pytest.raises(InputError, match="holds no scan"):
        prepare_here(negative, tmp_path / "contradict")
    assert "a slice is positive" in (tmp_path / "contradict" / "rejects.csv").read_text()


def test_no_place_to_write(index, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="Not a directory; name a place inside a folder"):
        prepare_here(index, tmp_path / "file" / "store")


def test_a_full_disk_stops_it_and_leaves_no_half_shard(index, tmp_path, monkeypatch):
    class FullDisk:
        def __init__(self, path: bytes, _: str):
            pathlib.Path(os.fsdecode(path)).write_bytes(b"half")

        def write(self, _: bytes) -> None:
            raise RuntimeError("No space left on device")

    monkeypatch.setattr(shards, "ArrayRecordWriter", FullDisk)
    with pytest.raises(InputError, match="free some space"):
        prepare_here(index, tmp_path / "store")
    assert list((tmp_path / "store" / "shards").iterdir()) == []


@pytest.mark.slow
def test_the_real_head(real_data, tmp_path):
    index = folder.load(real_data / "dcm_qa_ct", cache=tmp_path / "cache").index
    store = prepare_here(index, tmp_path / "store", PrepareConfig(size=128, field_of_view_mm=None))
    heads = [store.read(row).volume for row in range(len(store.index))]
    # The plastic head is a hollow skull.
    assert all(0.05 < np.mean(head.hu > -300) < 0.9 for head in heads)
    assert all(head.audit.tilt_deg == 0 for head in heads)
    assert 0.15 < max(np.mean((head.hu > 0) & (head.hu < 80)) for head in heads) < 0.6


def kill_or_answer(task: tuple[str, str]) -> str:
    """In a worker: dies for "killer", dies once for "once", answers otherwise."""
    name, folder = task
    flag = pathlib.Path(folder) / name
    if name == "killer" or (name == "once" and not flag.exists()):
        flag.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return name.upper()


@pytest.mark.slow
def test_a_killed_worker_takes_only_its_own_task_with_it(tmp_path):
    tasks = [(name, str(tmp_path)) for name in ("a", "once", "b", "killer", "c", "d")]
    results = dict(run_all(kill_or_answer, tasks, executor=None, workers=2))
    assert results == {task: None if task[0] == "killer" else task[0].upper() for task in tasks}


def test_a_broken_executor_of_ones_own_is_said(tmp_path):
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as executor, pytest.raises(BrokenExecutor):
        list(run_all(kill_or_answer, [("killer", str(tmp_path))], executor=executor, workers=1))


def test_sources_can_move(index, cohort, tmp_path):
    store = prepare_here(index, tmp_path / "store")
    shutil.copytree(cohort, tmp_path / "moved")
    moved = read_index(tmp_path / "moved" / "studies.csv")
    assert prepare_here(moved, tmp_path / "store").index.equals(store.index)
    assert digests(prepare_here(moved, tmp_path / "other").path) == digests(tmp_path / "store")
