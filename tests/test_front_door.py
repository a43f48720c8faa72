"""``import ichformer as ich``: its public names, their examples, and that asking for one loads only what it needs."""

import doctest
import inspect
import shutil
import subprocess
import sys

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import save_file

import ichformer as ich
from ichformer.cohorts.index import make_index
from ichformer.cohorts.registry import COHORTS
from ichformer.ct.audit import Audit
from ichformer.ct.corruptions import CORRUPTIONS
from ichformer.explanations.registry import EXPLANATIONS
from ichformer.models.encoders.registry import ENCODERS
from ichformer.models.registry import registered_models
from ichformer.objectives.classification import Classification
from ichformer.objectives.registry import OBJECTIVES
from ichformer.pipeline.preparation.config import PrepareConfig
from ichformer.testing import tiny_cohort
from ichformer.training.config import DataConfig, TrainConfig
from tests.registries import forget_after
from tests.tiny_weights import tiny_dinov2
from tests.typecheck import unchecked

BLOCK = """
volume = ich.read_volume("scan/")                         # Volume; its repr is two readable lines, not arrays
ich.list_models("swin*"); model = ich.create_model("swin3d_t", labels=("bleed", "fracture"), channels=3, scan_pool="attention")
variables = model.init(key, **ich.example_inputs(model))  # jit inside; raw HU in place of windows is refused or warned of
run = ich.train(store, model="slice_vit_s", out="runs/a") # names or objects: model=MyModule(), objective=MyObjective(), augment=fn
run = ich.open_run("runs/a"); run.predict(volume); run.explain(volume, "any"); run.features(volume); run.evaluate(store)
ich.evaluate(table); ich.compare(a, b)                    # a DataFrame or a file; missing optional columns are filled in
store = ich.prepare("folder", source="scans/", labels="labels.csv", out="store")
@ich.register_model / register_encoder / register_objective / register_cohort / register_corruption
"""  # noqa: E501
"""What the library promised, letter by letter."""

REGISTRATIONS = """
@ich.register_model
def mine(labels=ich.LABELS):
    return ich.create_model("cnn2d_nano", labels=labels)

@ich.register_encoder
class Squares(nn.Module):
    dtype: object = jnp.float32

@ich.register_objective
def scans_only(model, settings, label_set):
    return Classification(model=model, windows=settings.display_windows)

@ich.register_cohort("our_hospital")
def load(source, *, cache, labels=None):
    return make_index([])

@ich.register_corruption(unit="HU of drift", levels=(2, 4, 8, 16, 32))
def drift(scan, level, rng):
    return scan.with_hu(scan.volume.hu + rng.uniform(-level, level))
"""
"""Each decorator of the last line of ``BLOCK``, in its shortest form."""


PUBLIC = {name: getattr(ich, name) for name in ich.__all__ if callable(getattr(ich, name))}
METHODS = {
    f"TrainedModel.{name}": value
    for name, value in vars(ich.TrainedModel).items()
    if inspect.isfunction(value) and not name.startswith("_")
}


def examples(name: str) -> doctest.DocTest:
    """Those of a name's own docstring."""
    value = {**PUBLIC, **METHODS}[name]
    found = doctest.DocTestFinder(recurse=False).find(value, name, module=sys.modules[value.__module__])
    return found[0]


def test_every_public_name_is_there():
    assert set(ich.__all__) <= set(dir(ich))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = ich.nothing


@pytest.mark.parametrize("name", [*PUBLIC, *METHODS])
def test_every_public_name_has_an_example(name):
    assert examples(name).examples


@pytest.mark.parametrize(
    "name", ["read_volume", "prepare", "predict", "evaluate", "compare", "embed", "probe", *METHODS]
)
def test_what_a_function_gives_and_refuses_is_documented(name):
    text = inspect.getdoc({**PUBLIC, **METHODS}[name])
    assert "Returns:" in text
    assert "Raises:" in text


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
    tiny = ((TrainConfig, {"steps": 2}), (DataConfig, {"num_slices": 4}), (PrepareConfig, {"size": 32}))
    for kind, changes in tiny:
        for name, value in changes.items():
            monkeypatch.setitem(inspect.unwrap(kind.__init__).__kwdefaults__, name, value)
    forget_after(monkeypatch, registered_models(), COHORTS, CORRUPTIONS, ENCODERS, EXPLANATIONS, OBJECTIVES)
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
def test_the_block_letter_by_letter(folder, monkeypatch):
    *lines, prepare, registrations = BLOCK.strip().splitlines()
    names = {"ich": ich, "key": jax.random.key(0), "table": predictions(0), "a": predictions(1), "b": predictions(2)}
    compiled = []
    jit = jax.jit
    monkeypatch.setattr(jax, "jit", lambda f, *args, **kwargs: compiled.append(f) or jit(f, *args, **kwargs))
    for line in (prepare, *lines):  # a store comes before what is trained on it
        exec(line, names)
        if "model.init" in line:
            assert any(f.__qualname__.startswith("ScanModel.init") for f in compiled if hasattr(f, "__qualname__"))
    assert len(repr(names["volume"]).splitlines()) == 2
    assert names["model"].labels == ("bleed", "fracture")
    assert names["run"].path.name == "a"
    assert isinstance(names["store"], ich.Store)
    hu = names["volume"].hu[None, ..., None].repeat(3, axis=-1).astype(np.float32)
    inputs = {**ich.example_inputs(names["model"], slices=hu.shape[1]), "x": hu}
    for call in (lambda: names["model"].init(names["key"], **inputs), lambda: names["model"].apply({}, **inputs)):
        with pytest.raises(ich.InputError, match=r"x: expected values in \[0, 1\].*apply windows"):
            call()
    for line in registrations.removeprefix("@ich.").split(" / "):
        assert f"@ich.{line}" in REGISTRATIONS


def test_own_things_are_registered_in_five_forms(monkeypatch):
    forget_after(monkeypatch, registered_models(), COHORTS, CORRUPTIONS, ENCODERS, EXPLANATIONS, OBJECTIVES)
    names = {"ich": ich, "nn": nn, "jnp": jnp, "Classification": Classification, "make_index": make_index}
    with unchecked():
        exec(REGISTRATIONS, {**names, "__name__": __name__})
    assert "mine" in ich.list_models("m*")
    assert ich.create_model("mine", labels="any").labels == ("any",)
    for name, registry in {
        "Squares": ENCODERS,
        "scans_only": OBJECTIVES,
        "our_hospital": COHORTS,
        "drift": CORRUPTIONS,
    }.items():
        assert name in registry


@pytest.mark.full(minutes=2)
def test_the_examples_of_all_names_run(folder):
    """Those of the package, which prepare a store and train a run; then those of each name and method."""
    runner = doctest.DocTestRunner()
    scope = {"table": predictions(0), "other_table": predictions(1)}
    (package,) = doctest.DocTestFinder(recurse=False).find(ich, "ichformer", globs=scope)
    runner.run(package)
    for name in sorted((*PUBLIC, *METHODS)):
        runner.run(examples(name))
    assert runner.summarize() == (0, runner.tries)
