"""What people give to the public functions by mistake is one line that says what was found and what to do."""

from pathlib import Path

import jax
import numpy as np
import pandas as pd
import pytest

import ichformer as ich
from ichformer.testing import tiny_cohort
from tests.typecheck import unchecked

TABLE = pd.DataFrame({"patient": ["a", "b", "c"], "any": ["yes", "No", None], "score_any": [0.9, 0.2, 0.5]})
LABELS = pd.DataFrame({"path": ["a"], "any": [1]})
HU = np.zeros((3, 4, 5), np.int16)


def volume(**changes):
    given = {"hu": HU, "spacing_mm": (5.0, 1.0, 1.0), "affine": np.eye(4), "source": ("1", "2", "3")}
    return ich.Volume(**{**given, **changes})


CASES = {
    "read_volume of an array": (
        lambda: ich.read_volume(HU),
        "source: found .*ndarray of shape .3, 4, 5.; give the path",
    ),
    "read_volume of None": (lambda: ich.read_volume(None), "source: found None; give the path"),
    "a window that is a number": (lambda: ich.read_volume("scan", window_hu=80), "window_hu: found 80; take a tuple"),
    "a Volume of four axes": (lambda: volume(hu=HU[None]), r"Volume.hu: expected int16 .*found int16 \[1, 3, 4, 5\]"),
    "a Volume of floats": (lambda: volume(hu=HU * 1.0), r"found float64 \[3, 4, 5\]; .*astype\(np.int16\)"),
    "a Volume of a list": (lambda: volume(hu=[1]), "Volume.hu: .*found a list"),
    "a spacing that is one number": (lambda: volume(spacing_mm=5), "Volume.spacing_mm: found 5; give three"),
    "a source that is one text": (lambda: volume(source="123"), "Volume.source: found '123' for 3 slices"),
    "a matrix that is none": (lambda: volume(affine=None), "Volume.affine: found None; give a finite NumPy matrix"),
    "a model that is None": (lambda: ich.create_model(None), "name: found None; give a name of ichformer.list_models"),
    "several models": (lambda: ich.create_model(["swin3d_t"]), "name: found .'swin3d_t'.; give a name"),
    "no such dtype": (lambda: ich.create_model("swin3d_t", dtype="float99"), "dtype: found 'float99'; take float32"),
    "a dtype of whole numbers": (lambda: ich.create_model("cnn2d_nano", dtype=int), "dtype: found .*; take float32"),
    "labels that are a number": (lambda: ich.create_model("cnn2d_nano", labels=5), "labels: found 5; take a tuple"),
    "a pattern that is a number": (lambda: ich.list_models(3), "pattern: found 3; take text"),
    "inputs of a name": (lambda: ich.example_inputs("swin3d_t"), "expected a model, found 'swin3d_t'; give the module"),
    "inputs of no size": (
        lambda: ich.example_inputs(ich.create_model("cnn2d_nano"), size=0),
        "size: 0 is out of range",
    ),
    "a seed in place of a key": (
        lambda: ich.create_model("cnn2d_nano").init(0, **ich.example_inputs(ich.create_model("cnn2d_nano"))),
        "rngs: expected a random key, found 0; give jax.random.key",
    ),
    "a table as a store": (lambda: ich.train(LABELS, out="run"), "store: found a DataFrame of shape .*; give a Store"),
    "no folder for a run": (lambda: ich.train("store", out=None), "out: found None; give the run's folder"),
    "an augmentation that is a number": (
        lambda: ich.train("store", out="run", augment=3),
        "augment: found 3; give a f",
    ),
    "a setting of another type": (lambda: ich.train("store", out="run", steps="3"), "^steps: found '3'; take a whole"),
    "a nested setting of another type": (
        lambda: ich.train("store", out="run", data={"batch_size": "3"}),
        "^data.batch_size: found '3'; take a whole",
    ),
    "no cohort": (lambda: ich.prepare(None, source="a", out="b"), "dataset: found None; give the name of a cohort"),
    "another cohort": (lambda: ich.prepare("foldr", source="a", out="b"), "^dataset: .* perhaps you meant folder"),
    "a source that is a table": (lambda: ich.prepare("folder", source=LABELS, out="b"), "source: found a DataFrame"),
    "labels that are a table": (
        lambda: ich.prepare("folder", source="a", out="b", labels=LABELS),
        "labels: found a DataFrame of shape .*; save the table as CSV",
    ),
    "names without labels": (
        lambda: ich.prepare("folder", source="a", out="b", label_names="bleed"),
        "^label_names: goes with .*; name it with labels",
    ),
    "a text for a number": (lambda: ich.prepare("folder", source="a", out="b", seed="x"), "seed: found 'x'; take a w"),
    "thresholds as a dictionary": (
        lambda: ich.evaluate(TABLE, thresholds={"any": 0.5}),
        "thresholds: found a dict; give the file thresholds.json",
    ),
    "a number as a table": (lambda: ich.evaluate(5), "predictions: is 5; give a pandas DataFrame"),
    "a number as a folder": (lambda: ich.evaluate(TABLE, out=5), "out: found 5; name a folder"),
    "a number as labels": (lambda: ich.evaluate(TABLE, labels=5), "labels: found 5; take a tuple of text"),
    "a share that is text": (lambda: ich.evaluate(TABLE, prevalence="x"), "prevalence: found 'x'; give a share"),
    "replicates that are text": (lambda: ich.evaluate(TABLE, replicates="x"), "replicates: found 'x'; take at least 1"),
    "a table without patients": (
        lambda: ich.evaluate(TABLE.drop(columns="patient")),
        "no column patient; add it: it names the patient of each row; found any, score_any",
    ),
    "one text as names": (lambda: ich.compare(TABLE, TABLE, names="ab"), "names: found 'ab'; give a list with a name"),
    "one file as thresholds": (lambda: ich.compare(TABLE, TABLE, thresholds="a"), "thresholds: found 'a'; give a list"),
    "a run that is None": (lambda: ich.open_run(None), "path: found None; give the folder of a run"),
    "a store that is None": (lambda: ich.Store.open(None), "store: found None; give the folder of a store"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_wrong_input_is_refused_in_one_line(case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    call, said = CASES[case]
    with unchecked(), pytest.raises(ich.InputError, match=said) as refused:
        call()
    assert "\n" not in str(refused.value)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def scan(tmp_path_factory) -> ich.Volume:
    cohort = tiny_cohort(tmp_path_factory.mktemp("one"), scans=1)
    return ich.read_volume(cohort / pd.read_csv(cohort / "studies.csv")["path"][0])


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda run, scan: run.explain(scan, 5), "label: there is no label 5; choose one of epidural"),
        (lambda run, scan: run.explain(scan, "any", level="voxel"), "level: found 'voxel'; take 's"),
        (lambda run, scan: run.predict(scan.hu), "volume: expected a Volume, found .*ndarray of shape"),
        (lambda run, scan: run.features(None), "volume: expected a Volume, found None"),
        (lambda run, scan: run.evaluate(LABELS), "store: found a DataFrame of shape .*; give a Store or its folder"),
        (lambda run, scan: run.evaluate("store", out=3), "out: found 3; give a path"),
        (lambda run, scan: ich.evaluate(run.path), r"is the folder of one run.*call ichformer.open_run\(folder\)"),
        (lambda run, scan: ich.read_volume(run.path), "is the folder of one run, not a scan; name a folder of DICOM"),
        (
            lambda run, scan: ich.open_run(run.path / "config.json"),
            "run/config.json: is a file; name the folder of a r",
        ),
    ],
)
def test_a_wrong_input_to_a_trained_model(tiny_run, scan, call, said):
    run = ich.open_run(tiny_run)
    with unchecked(), pytest.raises(ich.InputError, match=said):
        call(run, scan)


def test_a_store_in_place_of_a_scan_a_table_or_a_run(tiny_store):
    for wrong in (ich.read_volume, ich.evaluate, ich.open_run):
        with pytest.raises(ich.InputError, match="store"):
            wrong(tiny_store)


def test_one_text_is_one_name():
    assert ich.create_model("cnn2d_nano", labels="any").labels == ("any",)
    by_text, by_list = (ich.evaluate(TABLE, labels=labels, replicates=2) for labels in ("any", ["any"]))
    assert by_text == by_list
    with unchecked(), pytest.raises(ich.InputError, match="nowhere"):
        ich.train("nowhere", out="run", objective={"labels": "any", "windows": "brain"})


def test_yes_and_no_are_labels_in_a_table_and_in_a_file(tmp_path):
    TABLE.to_csv(tmp_path / "table.csv", index=False)
    numbers = TABLE.assign(any=[1, 0, np.nan])
    found = [ich.evaluate(table, replicates=2) for table in (TABLE, tmp_path / "table.csv", numbers)]
    assert found[0] == found[1] == found[2]
    assert found[0].levels[0].labels[0].n_positive == 1


def test_prepare_has_its_settings_in_its_signature():
    with pytest.raises(TypeError, match="unexpected keyword argument 'seeds'"):
        ich.prepare("folder", source="a", out="b", seeds=3)


@pytest.mark.slow
def test_names_of_labels_for_prepare_reach_the_store(tmp_path):
    cohort = tiny_cohort(tmp_path / "cohort", scans=12)
    studies = pd.read_csv(cohort / "studies.csv")
    table = studies.assign(bleed=studies["any"], volume_ml=np.arange(len(studies)) / 2)
    table["path"] = table["path"].str.removeprefix("dicom/")
    table[["path", "bleed", "volume_ml"]].to_csv(tmp_path / "labels.csv", index=False)
    store = ich.prepare(
        "folder",
        source=cohort / "dicom",
        labels=tmp_path / "labels.csv",
        out=tmp_path / "store",
        label_names="bleed",
        targets="volume_ml",
        config={"size": 16},
        progress=False,
    )
    assert store.label_set.columns == ("bleed", "volume_ml")
    first, second = repr(store).splitlines()
    assert first == f"Store: 12 scans of {store.index['patient'].nunique()} patients, {tmp_path / 'store'}"
    assert second.startswith("       labels and targets bleed, volume_ml; scans by split: ")


def test_a_summary_and_a_comparison_are_two_lines():
    other = TABLE.assign(score_any=[0.1, 0.2, 0.5])
    assert repr(ich.evaluate(TABLE, replicates=2)).splitlines() == [
        "Summary: 3 scans of 3 patients",
        "         scan AUROC any 1.000; 1 warnings",
    ]
    table = pd.DataFrame({"patient": list("abcd"), "any": [0, 0, 1, 1], "score_any": [0.1, 0.4, 0.3, 0.9]})
    (found,) = ich.compare(table.assign(score_any=[0.6, 0.2, 0.3, 0.4]), table, names=("old", "new"), replicates=2)
    assert repr(found).splitlines() == [
        "Comparison: new minus old, 4 scans of 4 patients",
        "            AUROC any +0.250",
    ]
    assert len(repr((ich.evaluate(other, replicates=2),)).splitlines()) == 2


def test_type_checkers_see_the_annotations():
    assert Path(ich.__file__).with_name("py.typed").exists()


@pytest.mark.slow
def test_apply_refuses_what_init_refuses_and_costs_nothing_within_jit():
    model = ich.create_model("cnn2d_nano", labels=("any",))
    inputs = ich.example_inputs(model, slices=2, size=16)
    variables = model.init(jax.random.key(0), **inputs)
    x = inputs["x"]

    def apply(**changes):
        return model.apply(variables, **{**inputs, **changes}).scan_logits

    for changes, said in (
        ({"x": x + 40}, r"expected values in \[0, 1\], found 40 to 40; apply windows to the HU first"),
        ({"x": x * np.nan}, "expected values .*found NaN"),
        ({"x": x[..., :1]}, r"x: expected 3 channels, for which the parameters were made; found 1 in the shape"),
        ({"x": x[0]}, "add the axis of scans"),
        ({"x": "scan"}, "x: expected an array, found 'scan'"),
        ({"x": np.zeros(x.shape, np.int16)}, "found int16; apply windows"),
        ({"spacing_mm": 0 * inputs["spacing_mm"]}, "spacing_mm: expected positive numbers, found 0 to 0"),
    ):
        with unchecked(), pytest.raises(ich.InputError, match=said):
            apply(**changes)
    with unchecked(), pytest.raises(ich.InputError, match="found NaN"):
        model.init(jax.random.key(0), **{**inputs, "x": x * np.nan})
    with pytest.raises(ich.InputError, match="expected 3 channels"):
        jax.jit(lambda x: apply(x=x))(x[..., :2])
    assert jax.jit(lambda x: apply(x=x))(x + 40).shape == (1, 1)  # values are not known there
