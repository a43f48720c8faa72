"""Pages are followed step by step: each command, file and snippet that they show, in its order."""

import importlib
import pathlib
import shlex
import shutil
import sys

import nibabel
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from safetensors.numpy import save_file

from ichformer.cli import main
from ichformer.cohorts.registry import COHORTS
from ichformer.ct.corruptions import CORRUPTIONS
from ichformer.ct.phantom.make import make_phantom
from ichformer.explanations.registry import EXPLANATIONS
from ichformer.models.encoders.registry import ENCODERS
from ichformer.models.registry import registered_models
from ichformer.objectives.registry import OBJECTIVES
from ichformer.testing import TINY_SITES
from tests.pages import README, ROOT, WALKED, Shown, named, shown
from tests.registries import forget_after
from tests.tiny_weights import tiny_dinov2
from tests.typecheck import unchecked

PAGES = [
    pytest.param(page, marks=pytest.mark.slow(minutes=1) if quick else pytest.mark.full(minutes=3), id=named(page))
    for page in (README, *WALKED)
    if shown(page)
    for quick in [page.parent.name in ("how-to", "background") and page.stem != "fine-tune"]
]
MADE = {
    "README": ("labels.csv", "store", "runs/first"),
    "nifti-and-csv": ("labels.csv", "store", "runs/first"),
    "own-task": ("store",),
    "training": ("store", "runs/first"),
}
"""What the folder of a page lacks, because the page makes it."""
BEFORE = {"privacy": "prepare --dataset folder --source scans --labels labels.csv --columns any=bleed --out STORE"}
"""What the reader of a page has done."""
NOT_HERE = {
    "audit": "needs more patients: tests/workflows/test_audit_run.py",
    "queue": "needs a node: tests/serving",
    "bench": "measures: tests/bench",
    "serve": "does not end: tests/serving",
}
NOT_AT_HAND = ("https://", "hf://", "runs/slices")
"""Models elsewhere: tests/inference/test_opening.py; and one that fits no small model: training/test_inflation.py."""
_TRAIN = "--steps 2 --checkpoint-every 1 --data.batch-size 2 --data.num-slices 4 --parallel.data 1"
SMALLER = {
    "--data.fraction 0.05": "--data.fraction 0.5",
    "--parallel.fsdp 8": "--parallel.fsdp 2",
    "slice_vit_b": "slice_vit_nano",
    "slice_vit_l": "slice_vit_nano",
    "slice_vit_s": "slice_vit_nano",
    "swin3d_t": "swin3d_nano",
    "vit3d_s": "vit3d_nano",
}
"""What stands for models that would take minutes, and for many patients or devices."""
SMALL = {
    "demo": "--fast",
    "cross-validate": f"{_TRAIN} --folds 2",
    "find-learning-rate": "--steps 20 --data.batch-size 2 --data.num-slices 4 --parallel.data 1",
    "leave-one-site-out": _TRAIN,
    "phantom": "--scans 20",
    "prepare": "--size 32 --workers 1 --seed 3",
    "probe": "--draws 1",
    "robustness": "--corruption hu_shift",
    "train": _TRAIN,
}
"""What is added to commands, so that they take seconds; of an option that is given twice the last one counts."""


def write_scans(folder: pathlib.Path) -> pd.DataFrame:
    """Twelve heads, every second with a bleed, as NIfTI below a folder for each patient; returns their labels."""
    rows = []
    for i in range(12):
        phantom = make_phantom(i, site=TINY_SITES[0], subtypes=("intraparenchymal",) if i % 2 else ())
        path = folder / f"p{i:02d}" / "head.nii.gz"
        path.parent.mkdir(parents=True)
        affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ phantom.volume.affine  # from LPS to NIfTI's RAS
        nibabel.save(nibabel.Nifti1Image(phantom.volume.hu, affine), path)
        rows.append(
            {
                "path": f"p{i:02d}/head.nii.gz",
                "patient": f"p{i:02d}",
                "split": ("train", "train", "val", "val", "test", "test")[i // 2],
                "bleed": i % 2,
                "fracture": i // 2 % 2,
                "volume_ml": float(np.sum(phantom.blood_ml)),
            }
        )
    return pd.DataFrame(rows)


def predictions(seed: int, patients: str) -> pd.DataFrame:
    """Of somebody's model, for 40 patients."""
    rng = np.random.default_rng(seed)
    bleeds = np.arange(40) % 2
    names = [f"{patients}-{i}" for i in range(40)]
    scores = rng.uniform(0, 0.7, 40) + 0.3 * bleeds
    return pd.DataFrame({"patient": names, "study": names, "any": bleeds, "score_any": scores})


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """The scans of somebody, and their labels."""
    folder = tmp_path_factory.mktemp("own")
    write_scans(folder / "scans").to_csv(folder / "labels.csv", index=False)
    return folder


@pytest.fixture
def folder(own, tmp_path, tiny_store, tiny_run, monkeypatch):
    """The folder in which a reader works: scans, their labels, a store, a run and tables of predictions."""
    shutil.copytree(own, tmp_path, dirs_exist_ok=True)
    cohort = tiny_store.parent / "cohort"
    studies = pd.read_csv(cohort / "studies.csv")
    twice = studies[studies["patient"].duplicated(keep=False)].sort_values("patient")["path"]
    for name, path in zip(("EARLIER", "LATER"), twice, strict=False):
        shutil.copytree(cohort / path, tmp_path / name)
    for name in ("scan", "FOLDER_OF_DICOM", "FOLDER_OF_STUDIES/one"):
        shutil.copytree(cohort / studies["path"][0], tmp_path / name)
    shutil.copytree(cohort / studies["path"][1], tmp_path / "FOLDER_OF_STUDIES" / "two")
    shutil.make_archive(str(tmp_path / "more"), "zip", cohort / studies["path"][2])
    shutil.copy(own / "scans" / "p01" / "head.nii.gz", tmp_path)
    shutil.copytree(own / "scans" / "p02", tmp_path / "new_scans")
    for name in ("store", "labelled", "unlabelled"):
        shutil.copytree(tiny_store, tmp_path / name)  # a page may write into it
    shutil.copytree(tiny_run, tmp_path / "runs" / "first")
    shutil.copytree(tiny_run, tmp_path / "RUN")
    (tmp_path / "tiny").mkdir()  # where the run looks for its store
    (tmp_path / "tiny" / "store").symlink_to(tmp_path / "store")
    for seed, name in enumerate(("test", "other", "val", "other_model", "old", "new")):
        predictions(seed, "v" if name == "val" else "t").to_csv(tmp_path / f"{name}.csv", index=False)
    save_file(tiny_dinov2(), tmp_path / "dinov2.safetensors")
    forget_after(monkeypatch, registered_models(), COHORTS, CORRUPTIONS, ENCODERS, EXPLANATIONS, OBJECTIVES)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def run_command(words: list[str], own: pathlib.Path) -> None:
    verb = words[2] if words[0] == "--plugin" else words[0]
    if verb in NOT_HERE or any(word.startswith(NOT_AT_HAND) for word in words):
        return
    try:
        assert main([*words, *shlex.split(SMALL.get(verb, ""))]) in (None, 0)
    except SystemExit as ended:
        assert (verb, words[-1], ended.code) == ("scrub", "--check", 1)  # noqa: PT017, it found what would be disclosed
    if "--example-labels" in words:  # which the reader fills in
        shutil.copy(own / "labels.csv", "labels.csv")


def smaller(step: Shown) -> Shown:
    """The same of models that take seconds."""
    text = step.text
    for name, small in SMALLER.items():
        text = text.replace(name, small)
    return step._replace(text=text)


def walk(steps: list[Shown], own: pathlib.Path) -> dict[str, object]:
    """Does what a page shows, and returns the names that its snippets have made."""
    names: dict[str, object] = {"__name__": "page"}
    for step in map(smaller, steps):
        if step.kind == "command":
            run_command(step.words, own)
        elif step.file:
            pathlib.Path(step.file).write_text(step.text)
            if step.kind == "python":
                importlib.invalidate_caches()
                sys.modules.pop(pathlib.Path(step.file).stem, None)
        else:
            exec(compile(step.text, "page", "exec"), names)
    return names


@pytest.mark.parametrize("page", PAGES)
def test_a_page_can_be_followed(page, folder, own):
    steps = shown(page)
    for name in MADE.get(page.stem, ()):
        made = folder / name
        shutil.rmtree(made) if made.is_dir() else made.unlink()
    with unchecked():
        if page.stem in BEFORE:
            run_command(shlex.split(BEFORE[page.stem]), own)
        names = walk(steps, own)
    CHECKS.get(page.stem, lambda names: None)(names)


def is_narrower_by_row(names: dict) -> None:
    right, wrong = names["right"], names["wrong"]
    assert right.value == pytest.approx(wrong.value)
    share = (wrong.interval.high - wrong.interval.low) / (right.interval.high - right.interval.low)
    assert 0.25 < share < 0.45  # "about a third"


def differs_in_blood_alone(names: dict) -> None:
    assert names["changed"].any()
    assert not names["changed"][names["bleeding"].mask == 0].all()
    shown, made = (
        np.asarray(Image.open(place / "phantoms.png"), int) for place in (ROOT / "docs" / "background", pathlib.Path())
    )
    assert np.abs(shown - made).mean() < 1  # of 255 greys


CHECKS = {
    "intervals": is_narrower_by_row,
    "phantoms": differs_in_blood_alone,
    "own-task": lambda names: names["run"].labels == ("bleed", "fracture"),
}
