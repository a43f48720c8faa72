"""Preparing a cohort from Python: the command, the notebook and the demo call the same function."""

import pathlib

import pytest

import ichformer as ich
from ichformer.cli import main
from ichformer.cohorts.registry import COHORTS
from ichformer.cohorts.tables import write_left_out
from ichformer.errors import InputError
from ichformer.pipeline.preparation.config import PrepareConfig
from ichformer.pipeline.store.records import Store
from ichformer.testing import tiny_cohort
from ichformer.workflows.prepare_cohort import format_prepared, prepare_cohort
from tests.registries import forget_after
from tests.stores import prepare_here

CONFIG = PrepareConfig(size=16)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    return tiny_cohort(tmp_path_factory.mktemp("prepare") / "cohort", scans=6)


@pytest.fixture(autouse=True)
def _in_this_process(monkeypatch):
    """A pool takes seconds to start."""
    monkeypatch.setattr(
        "ichformer.workflows.prepare_cohort.prepare_index",
        lambda index, out, *, config, label_set, **_: prepare_here(index, out, config, label_set=label_set),
    )


@pytest.mark.slow
def test_the_result_and_the_command_say_the_same(cohort, tmp_path, capsys):
    found = prepare_cohort("phantom", source=cohort, out=tmp_path / "store", config=CONFIG, seed=3)
    assert isinstance(found.store, Store)
    assert found.card == tmp_path / "store" / "card.md"
    assert found.card.exists()
    assert (len(found.index), found.rejects, found.unused) == (6, 0, 0)
    assert set(found.store.index["split"]) == {"train", "val", "test"}
    assert found.notes == ()
    (warning,) = found.warnings  # of six scans some splits have no bleed of a kind
    assert warning.startswith("labels with one value only")
    main(["prepare", "--dataset", "phantom", "--source", str(cohort), "--out", str(tmp_path / "b"), "--size", "16"])
    assert capsys.readouterr().out == format_prepared(found).replace(f"{tmp_path}/store", f"{tmp_path}/b") + "\n"


def test_splits_by_site_by_fractions_and_of_the_source(cohort, tmp_path, monkeypatch):
    monkeypatch.setattr("ichformer.workflows.prepare_cohort.write_card", lambda store: store.path / "card.md")

    def split(dataset="phantom", **settings):
        return prepare_cohort(dataset, source=cohort, out=tmp_path / "store", config=CONFIG, **settings)

    held_out = split(hold_out_site="tiny-b", fractions={"train": 0.5, "val": 0.5}).store.index
    assert set(held_out[held_out["site"] == "tiny-b"]["split"]) == {"test"}
    others = held_out[held_out["site"] != "tiny-b"]["split"]
    assert set(others) == {"train", "val"}
    assert 1 <= (others == "val").sum() <= 2
    no_val = split(fractions={"train": 0.5, "test": 0.5})
    assert set(no_val.store.index["split"]) == {"train", "test"}
    assert any("no scan is in the split val" in warning for warning in no_val.warnings)
    with pytest.raises(InputError, match="the site that is held out is the test split"):
        split(hold_out_site="tiny-b", fractions={"train": 1.0})

    def with_split(source, *, cache, labels=None):
        return COHORTS["phantom"](source, cache=cache, labels=labels).assign(split="test")

    forget_after(monkeypatch, COHORTS)
    ich.register_cohort("mine")(with_split)
    own = split("mine")  # a cohort that was registered later
    assert set(own.store.index["split"]) == {"test"}
    with pytest.raises(InputError, match="a split of its own"):
        split("mine", fractions={"train": 1.0})


@pytest.mark.slow
def test_a_cohort_of_somebody_else_with_its_own_labels(cohort, tmp_path, monkeypatch):
    own = ich.LabelSet(names=("bleed", "fracture"), targets=("volume_ml",))
    forget_after(monkeypatch, COHORTS)

    @ich.register_cohort
    def ours(source, *, cache, labels=None):
        phantoms = COHORTS["phantom"](source, cache=cache)
        write_left_out({"13": "no head"}, pathlib.Path(cache) / "ours_left_out.csv")
        rows = [
            {
                "cohort": "ours",
                "origin": "ours",
                "patient": f"MUSTER {i}",
                "series": row["series"],
                "path": row["path"],
                "bleed": row["any"],
                "fracture": i % 2,
                "volume_ml": 2.5 * i,
            }
            for i, row in enumerate(phantoms.to_dict("records"))
        ]
        return ich.Cohort(index=ich.make_index(rows, label_set=own), label_set=own, notes=("made of phantoms",))

    out = tmp_path / "store"
    store = ich.prepare("ours", source=cohort, out=out, config=CONFIG, progress=False)
    assert store.label_set == own
    assert sorted(store.index["volume_ml"]) == [0.0, 2.5, 5.0, 7.5, 10.0, 12.5]
    found = prepare_cohort("ours", source=cohort, out=out, config=CONFIG)
    assert found.notes == ("made of phantoms", "left out 13: no head")
    assert "6 series, 0 left out (rejects.csv says why), 1 of no use\n" in format_prepared(found)
    assert not (out / "cache").exists()  # it had the names of patients
    assert not any(b"MUSTER" in file.read_bytes() for file in out.rglob("*") if file.is_file())
    COHORTS._loaded()["nothing"] = lambda source, *, cache, labels=None: None
    with pytest.raises(InputError, match="nothing: the adapter of this cohort returned None; let it return ich"):
        prepare_cohort("nothing", source=cohort, out=out)


def test_a_store_is_not_made_among_the_scans_that_it_is_made_of(cohort):
    before = sorted(cohort.rglob("*"))
    with pytest.raises(InputError, match="lies in the folder of the scans; name a folder outside of it"):
        prepare_cohort("folder", source=cohort, out=cohort / "dicom" / "store", config=CONFIG)
    with pytest.raises(InputError, match="lies in the folder of the scans"):
        prepare_cohort("phantom", source=cohort, out=cohort, config=CONFIG)
    with pytest.raises(InputError, match="does not exist"):
        prepare_cohort("folder", source="a\0b", out=cohort, config=CONFIG)
    assert sorted(cohort.rglob("*")) == before


def test_what_does_not_fit_is_one_line_and_writes_nothing(cohort, tmp_path):
    for wrong, message in (
        ({"dataset": "phantm"}, "there is no cohort 'phantm'; perhaps you meant phantom, or choose one of"),
        ({"dataset": "phantom", "columns": ("any=ICH",)}, "--columns: goes with --dataset folder only"),
        ({"dataset": "phantom", "cluster": "tcp://x:1", "workers": 1}, "the cluster has workers of its own"),
        ({"dataset": "phantom", "hold_out_site": "nowhere"}, "'nowhere' cannot be held out"),
    ):
        with pytest.raises(InputError, match=message):
            prepare_cohort(source=cohort, out=tmp_path / "store", **wrong)
    assert list(tmp_path.iterdir()) == []
