"""``import ichformer as ich``: its public names, their examples, and that asking for one loads only what it needs."""

import doctest
import inspect
import shutil
import subprocess
import sys

import jax
import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import save_file

import ichformer as ich
from ichformer.cohorts.registry import COHORTS
from ichformer.ct.audit import Audit
from ichformer.ct.corruptions import CORRUPTIONS
from ichformer.models.encoders.registry import ENCODERS
from ichformer.models.registry import registered_models
from ichformer.objectives.registry import OBJECTIVES
from ichformer.pipeline.preparation.config import PrepareConfig
from ichformer.testing import tiny_cohort
from ichformer.training.config import DataConfig, TrainConfig
from ichformer.workflows import prepare_cohort
from tests.registries import forget_after
from tests.tiny_weights import tiny_dinov2

BLOCK = """
volume = ich.read_volume("scan/")                         # Volume; its repr is two readable lines, not arrays
ich.list_models("swin*"); model = ich.create_model("swin3d_t", labels=("bleed", "fracture"), channels=3, scan_pool="attention")
variables = model.init(key, **ich.example_inputs(model))  # jit inside; raw HU in place of windows is refused or warned of
run = ich.train(store, model="slice_vit_s", out="runs/a") # names or objects: model=MyModule(), objective=MyObjective(), augment=fn
run = ich.open_run("runs/a"); run.predict(volume); run.explain(volume, "any"); run.features(volume); run.evaluate(store)
ich.evaluate(table); ich.compare(a, b)                    # a DataFrame or a file; missing optional columns are filled in
store = ich.prepare("folder", source="scans/", labels="labels.csv", out="store")
"""  # noqa: E501
"""What the library promised, letter by letter."""


def test_every_public_name_is_there_and_documented():
    assert set(ich.__all__) <= set(dir(ich))
    for name in ich.__all__:
        value = getattr(ich, name)
        if callable(value):
            assert inspect.getdoc(value), name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = ich.nothing


def test_names_and_places_are_the_same_list():
    assert sorted(ich._PLACES) == sorted(name for name in ich.__all__ if name not in ("LABELS", "SUBTYPES"))


@pytest.mark.slow  # two processes
@pytest.mark.parametrize(("names", "not_loaded"), [("ich", {"numpy", "jax"}), ("ich.read_volume, ich.Volume", {"jax"})])
def test_a_name_loads_only_what_it_needs(names, not_loaded):
    code = f"import sys, ichformer as ich; {names}; print('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not_loaded & set(done.stdout.split()) == set()


def test_a_volume_is_shown_as_two_lines_without_arrays_or_header_text():
    audit = Audit(description="JOHN DOE", tilt_deg=18.46, missing_slices=2).with_note("tilt", "of JOHN DOE")
    volume = ich.Volume(
        hu=np.full((3, 4, 5), 40, np.int16),
        spacing_mm=(5.0, 0.4883, 0.4883),
        affine=np.diag([0.4883, 0.4883, 5.0, 1.0]),
        source=("1.2.3", "1.2.4", "1.2.5"),
        audit=audit,
    )
    shown = repr(volume)
    assert len(shown.splitlines()) == 2
    assert shown == (
        "Volume: 3 slices of 4 x 5, 40 to 40 HU, 5 mm between slices, pixels of 0.488 x 0.488 mm\n"
        "        CT; tilt 18.5 degrees; 2 slices missing; notes: tilt"
    )


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with "scans", "labels.csv" and "scan", in which the defaults are those of tiny scans and trainings."""
    cohort = tiny_cohort(tmp_path / "cohort", scans=16)
    studies = pd.read_csv(cohort / "studies.csv")
    shutil.copytree(cohort / "dicom", tmp_path / "scans")
    shutil.copytree(cohort / studies["path"][0], tmp_path / "scan")
    studies["path"] = studies["path"].str.removeprefix("dicom/")
    studies[["path", *ich.LABELS]].to_csv(tmp_path / "labels.csv", index=False)
    for kind, changes in ((TrainConfig, {"steps": 2}), (DataConfig, {"num_slices": 4})):
        for name, value in changes.items():
            monkeypatch.setitem(inspect.unwrap(kind.__init__).__kwdefaults__, name, value)
    small = PrepareConfig(size=32)
    monkeypatch.setitem(inspect.unwrap(prepare_cohort.prepare).__kwdefaults__, "config", small)
    forget_after(monkeypatch, registered_models(), COHORTS, CORRUPTIONS, ENCODERS, OBJECTIVES)
    registered_models()._loaded()["slice_vit_s"] = registered_models()["slice_vit_nano"]
    save_file(tiny_dinov2(), tmp_path / "dinov2.safetensors")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def predictions(seed: int) -> pd.DataFrame:
    """Of somebody else's model: no column but those that are needed."""
    rng = np.random.default_rng(seed)
    bleeds = np.arange(40) % 2
    return pd.DataFrame(
        {"patient": [str(i) for i in range(40)], "any": bleeds, "score_any": rng.uniform(0, 0.7, 40) + 0.3 * bleeds}
    )


@pytest.mark.slow(minutes=2)
def test_the_block_letter_by_letter(folder):
    *lines, prepare = BLOCK.strip().splitlines()
    names = {"ich": ich, "key": jax.random.key(0), "table": predictions(0), "a": predictions(1), "b": predictions(2)}
    for line in (prepare, *lines):  # a store comes before what is trained on it
        exec(line, names)
    assert len(repr(names["volume"]).splitlines()) == 2
    assert names["model"].labels == ("bleed", "fracture")
    assert names["run"].path.name == "a"
    assert isinstance(names["store"], ich.Store)


@pytest.mark.slow(minutes=2)
def test_the_examples_of_all_names_run(folder):
    """Those of a name's own docstring, and those of the package; each name is in one of them."""
    finder, runner = doctest.DocTestFinder(recurse=False), doctest.DocTestRunner()
    scope = {"table": predictions(0), "other_table": predictions(1)}
    (package,) = finder.find(ich, "ichformer", globs=scope)
    shown = "".join(example.source for example in package.examples)
    for name in sorted(ich.__all__):
        value = getattr(ich, name)
        own = finder.find(value, name, module=sys.modules[value.__module__]) if callable(value) else []
        assert any(test.examples for test in own) or f"ich.{name}" in shown, f"{name} has no example"
    runner.run(package)
    for name in ("create_model", "list_models", "prepare", "train", "open_run"):
        for test in finder.find(getattr(ich, name), name, module=sys.modules[getattr(ich, name).__module__]):
            runner.run(test)
    assert runner.summarize() == (0, runner.tries)
    assert runner.tries > 20
