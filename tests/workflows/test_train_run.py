"""``ich.train`` and ``ich.open_run``: names or objects, what a run records of them, and predictions from Python."""

import dataclasses
import json
import shutil
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ichformer as ich
from ichformer import LABELS
from ichformer.ct.phantom.make import make_phantom
from ichformer.ct.windows import WINDOWS
from ichformer.errors import InputError
from ichformer.models.contract import Prediction
from ichformer.objectives.classification import Classification
from ichformer.objectives.registry import OBJECTIVES
from ichformer.pipeline.augmentation.sample import Sample
from ichformer.testing import TINY_SITES
from ichformer.training.config import OptimConfig, TrainConfig, read_config
from ichformer.training.runs.run import seen_scans
from ichformer.workflows.train_run import _settings
from tests.registries import forget_after
from tests.typecheck import unchecked


class Net(nn.Module):
    """A model of somebody else's, as small as can be."""

    width: int = 4

    @nn.compact
    def __call__(self, x, slice_mask, spacing_mm, train):
        hidden = nn.Dense(self.width)(x.mean((2, 3)))
        slices = self.perturb("cam", hidden[:, :, None, None] * jnp.ones((1, 1, 2, 2, 1)))
        logits = nn.Dense(len(LABELS))(slices.mean((2, 3)))
        scan = jnp.where(slice_mask[..., None], logits, -jnp.inf).max(1)
        return Prediction(slice_logits=logits, scan_logits=scan, features={"slices": hidden, "cam": slices})


class Wrong(Net):
    """Its logits are of two labels, where the store has six."""

    @nn.compact
    def __call__(self, x, slice_mask, spacing_mm, train):
        logits = nn.Dense(2)(x.mean((2, 3)))
        return Prediction(slice_logits=logits, scan_logits=logits.max(1), features={"slices": logits})


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScansOnly(Classification):
    """A loss of somebody else's."""

    model: nn.Module | None = None
    windows: tuple = (WINDOWS["brain"], WINDOWS["bone"])

    def loss(self, params, batch, rng, train):
        _, weight, metrics = super().loss(params, batch, rng, train)
        return metrics["scan_loss"][0], weight, metrics


def darker(sample: Sample, rng: np.random.Generator) -> Sample:
    return dataclasses.replace(sample, hu=sample.hu - np.int16(rng.integers(3)))


def too_few(sample: Sample, rng: np.random.Generator) -> Sample:
    return dataclasses.replace(sample, hu=sample.hu[:1], slice_labels=sample.slice_labels[:1])


SHORT = {"steps": 2, "data": {"batch_size": 2, "num_slices": 4}, "parallel": {"data": 1}, "progress": False}


@pytest.fixture(scope="module")
def made(tmp_path_factory, tiny_store) -> Path:
    """A run that was trained with objects in place of names."""
    folder = tmp_path_factory.mktemp("objects") / "run"
    run = ich.train(tiny_store, model=Net(width=3), objective=ScansOnly(), augment=darker, out=folder, **SHORT)
    assert run is not None
    return folder


def phantom() -> ich.Volume:
    return make_phantom(3, site=TINY_SITES[0], subtypes=("intraparenchymal",)).volume


def settings_of(**given) -> TrainConfig:
    """The configuration that ``train`` makes of its arguments."""
    named = {name: given.pop(name, None) for name in ("model", "objective", "augment")}
    return _settings("store", *named.values(), given)[0]


def test_settings_are_those_of_the_configuration():
    config = settings_of(
        model="slice_vit_s",
        objective={"loss": "focal"},
        optim={"learning_rate": 3e-4},
        data={"batch_size": 4, "augmentation": {"flip": 0.0}},
        steps=100,
    )
    assert (config.model.name, config.objective.name, config.objective.loss) == (
        "slice_vit_s",
        "classification",
        "focal",
    )
    assert (config.optim, config.steps) == (OptimConfig(learning_rate=3e-4), 100)
    assert (config.data.store, config.data.batch_size, config.data.augmentation.flip) == ("store", 4, 0.0)
    assert settings_of(optim=config.optim, model=config.model).optim is config.optim


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"step": 5}, "train: there is no setting 'step'; perhaps you meant steps, or choose"),
        ({"learning_rate": 1e-3}, "there is no setting 'learning_rate'; give it as optim={'learning_rate': ...}"),
        (
            {"optim": {"learning_rat": 1.0}},
            "optim: there is no setting 'learning_rat'; perhaps you meant learning_rate",
        ),
        (
            {"data": {"augmentation": {"flop": 1}}},
            "data, augmentation: there is no setting 'flop'; perhaps you meant flip",
        ),
        ({"optim": 3e-4}, "optim: found 0.0003; give a dictionary or an instance of OptimConfig"),
        ({"optim": {"learning_rate": -1.0}}, "--optim.learning-rate: -1.0 is out of range"),
        ({"model": 5}, "model: found a int; give a name of ichformer.list_models"),
        ({"model": Net}, "model: found a type; give a name of"),
        ({"objective": ScansOnly}, "objective: found <class .*, which has no init and loss; give a name"),
        ({"objective": Net()}, "which has no init and loss"),
        ({"objective": ScansOnly()}, "objective: the objective has no model; give a module as model="),
        ({"objective": ScansOnly(model=Net()), "model": "hybrid_nano"}, "has a model of its own; leave model= out"),
    ],
)
def test_what_no_setting_can_be_is_one_line(given, said):
    with unchecked(), pytest.raises(InputError, match=said) as error:
        settings_of(**given)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"model": "slice_vit_x"}, "slice_vit_x: there is no such model; perhaps you meant slice_vit_"),
        ({"objective": "clasification"}, "clasification: there is no such objective; perhaps you meant classification"),
        (
            {"model": Wrong()},
            r"model, slice_logits: expected the shape \[1, 2, 6\], found \[1, 2, 2\]; give a logit for",
        ),
        ({"model": ich.create_model("cnn2d_nano", labels=("a", "b"))}, "model: scores a, b, the store has epidural"),
    ],
)
def test_what_does_not_go_together_is_refused_before_there_is_a_folder(given, said, tiny_store, tmp_path):
    with pytest.raises(InputError, match=said):
        ich.train(tiny_store, out=tmp_path / "run", **{**SHORT, **given})
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_change_of_another_size_is_named(tiny_store, tmp_path):
    with pytest.raises(
        InputError, match=r"augment=too_few: gave hu as int16 of \[1, 32, 32\], expected int16 of \[4, "
    ):
        ich.train(tiny_store, model=Net(), augment=too_few, out=tmp_path / "run", **SHORT)


@pytest.mark.slow
def test_a_run_records_the_objects_that_it_needs(made):
    config, facts = read_config(made / "config.json"), json.loads((made / "run.json").read_text())
    assert config.model.name == f"{__name__}:Net"
    assert (config.objective.name, config.objective.windows) == (f"{__name__}:ScansOnly", ("brain", "bone"))
    needs = {need["what"]: need for need in facts["needs"]}
    assert {what: (need["name"], need["module"]) for what, need in needs.items()} == {
        "objective": (f"{__name__}:ScansOnly", __name__),
        "augment": (f"{__name__}:darker", __name__),
    }
    assert (made / "thresholds.json").exists()


@pytest.mark.slow
def test_a_run_of_objects_opens_with_them_and_says_what_is_missing(made):
    volume = phantom()
    found = ich.open_run(made, model=Net(width=3), objective=ScansOnly()).predict(volume)
    assert set(found.scan_scores) <= set(LABELS)
    assert all(0 < value < 1 for value in found.scan_scores.values())
    with pytest.raises(
        InputError, match=r"run: was trained with the objective .*:ScansOnly, which was given as an obj"
    ):
        ich.open_run(made)
    with pytest.raises(InputError, match=r"was trained with another objective than .*ScansOnly with the settings"):
        ich.open_run(made, model=Net(width=5), objective=ScansOnly())


@pytest.mark.slow
def test_a_run_of_objects_goes_on_with_the_same_ones_only(made, tiny_store):
    again = {"out": made, "model": Net(width=3), "objective": ScansOnly(), **SHORT}
    run = ich.train(tiny_store, augment=darker, **again)  # all steps are done
    assert run.run.step == 2
    with pytest.raises(InputError, match="the run was begun with another augment than is given now"):
        ich.train(tiny_store, **again)


@pytest.mark.slow
def test_an_objective_by_name_gets_model_and_settings(tiny_store, tmp_path, monkeypatch):
    forget_after(monkeypatch, OBJECTIVES)
    seen = []

    @ich.register_objective(name="scans_only")
    def build(model, settings, label_set):
        seen.append((model, settings.windows, label_set.columns))
        return ScansOnly(model=model, windows=settings.display_windows)

    run = ich.train(
        tiny_store,
        model="cnn2d_nano",
        objective={"name": "scans_only", "windows": ("bone",)},
        out=tmp_path / "r",
        **SHORT,
    )
    assert seen[0][1:] == (("bone",), LABELS)
    assert type(run.run.objective) is ScansOnly
    facts = json.loads((tmp_path / "r" / "run.json").read_text())
    assert [(need["what"], need["name"], need["module"]) for need in facts["needs"]] == [
        ("objective", "scans_only", __name__)
    ]
    monkeypatch.undo()
    with pytest.raises(InputError, match=r"r: needs the objective scans_only of a plugin; .*--plugin .*test_train_run"):
        ich.open_run(tmp_path / "r")


@pytest.mark.parametrize(
    ("model", "objective"),
    [
        pytest.param("slice_vit_nano", "mae", marks=pytest.mark.slow(minutes=2)),
        pytest.param("swin3d_nano", "simmim", marks=pytest.mark.full(minutes=2)),
        pytest.param("hybrid_nano", "spark", marks=pytest.mark.full(minutes=2)),
    ],
)
def test_a_pretraining_gives_features_and_reconstructions_and_starts_a_classifier(
    tiny_store, tmp_path, model, objective
):
    given = ich.train(tiny_store, model=model, objective=objective, out=tmp_path / "before", **SHORT)
    run, volume = ich.open_run(tmp_path / "before"), phantom()
    assert isinstance(given, ich.PretrainedModel)
    assert isinstance(run, ich.PretrainedModel)
    assert len(repr(run).splitlines()) == 2
    assert f"objective {objective}" in repr(run)
    assert run.labels == run.targets == ()
    features = run.features(volume)
    np.testing.assert_array_equal(features, given.features(volume))
    assert np.isfinite(features).all()
    table = ich.embed(run, tiny_store, split="val", progress=False)
    assert table.filter(like="feature_").shape == (len(ich.Store.open(tiny_store).rows("val")), len(features))
    made = run.reconstruct(volume)
    size = ich.Store.open(tiny_store).config["size"]
    assert made.pixels.shape == made.seen.shape == made.truth.shape == (len(volume.hu), size, size, 3)
    assert 0.01 < np.mean(made.seen != made.truth) < 0.9
    np.testing.assert_array_equal(run.reconstruct(volume).seen, made.seen)
    assert (run.reconstruct(volume, seed=1).seen != made.seen).any()
    for refused in (lambda: run.predict(volume), lambda: run.evaluate(tiny_store), lambda: run.explain(volume)):
        with pytest.raises(InputError, match=f"was trained for '{objective}' and gives no labels"):
            refused()
    exported = run.export(tmp_path / "exported", dtype="float32")
    np.testing.assert_array_equal(exported.features(volume), features)
    assert not (tmp_path / "exported" / "checkpoints").exists()
    with pytest.raises(InputError, match="is there and is not an empty folder"):
        run.export(tmp_path / "exported")
    started = ich.train(tiny_store, model=model, out=tmp_path / "run", init_from=str(exported.path), **SHORT)
    assert started.labels == LABELS
    seen = [
        set(table["series"]) for table in (seen_scans(exported.path), seen_scans(started.path)) if table is not None
    ]
    assert seen[0]
    assert seen[0] <= seen[1]


@pytest.mark.parametrize(
    ("model", "objective"),
    [
        pytest.param("vit3d_nano", "jepa", marks=pytest.mark.full(minutes=2)),
        pytest.param(
            "slice_vit_nano", {"name": "dino", "prototypes": 32, "small_views": 1}, marks=pytest.mark.slow(minutes=2)
        ),
    ],
)
def test_a_pretraining_with_a_teacher_goes_on_where_it_was_and_gives_features(tiny_store, tmp_path, model, objective):
    settings = SHORT | {"steps": 3, "model": model, "objective": objective, "log_every": 1, "checkpoint_every": 1}
    whole = ich.train(tiny_store, out=tmp_path / "whole", **settings)
    shutil.copytree(tmp_path / "whole", tmp_path / "resumed")
    shutil.rmtree(tmp_path / "resumed" / "checkpoints" / "3")
    resumed = ich.train(tiny_store, out=tmp_path / "resumed", **settings)
    jax.tree.map(np.testing.assert_array_equal, resumed.run.params, whole.run.params)
    losses = [
        [json.loads(line)["loss"] for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("whole", "resumed")
    ]
    assert losses[0] == losses[1]
    assert len(losses[0]) == 3
    features = ich.open_run(tmp_path / "whole").features(phantom())
    assert np.isfinite(features).all()
    np.testing.assert_array_equal(resumed.features(phantom()), features)
    with pytest.raises(InputError, match="gives no pixels"):
        resumed.reconstruct(phantom())


@pytest.mark.slow
def test_an_opened_run_predicts_explains_and_gives_features(tiny_run):
    run, volume = ich.open_run(tiny_run), phantom()
    assert len(repr(run).splitlines()) == 2
    assert f"slice_vit_nano, {run.run.step} steps" in repr(run)
    found = run.predict(volume)
    assert found.not_scored is None
    trained = run.run.trained_outputs
    assert (tuple(found.scan_scores), tuple(found.slice_scores)) == (trained.scan, trained.slice)
    assert "any" in trained.scan
    assert all(
        values.shape == (len(volume.hu),) and values.dtype == np.float32 for values in found.slice_scores.values()
    )
    # slice_vit_nano makes the scan's logit of the slices' by their maximum
    assert found.scan_scores["any"] == pytest.approx(found.slice_scores["any"].max(), rel=1e-5)
    assert 0 < found.thresholds["any"] < 1
    assert len(repr(found).splitlines()) == 2
    heat = run.explain(volume, "any")
    assert (heat.shape, heat.dtype) == (volume.hu.shape, np.float32)
    assert -1 <= heat.min() < heat.max() <= 1, "the default method has a sign"
    assert np.abs(heat).max() == pytest.approx(1)
    assert run.explain(volume, label="any", level="scan").shape == volume.hu.shape
    features = run.features(volume)
    assert (features.shape, features.dtype) == ((96,), np.float32)
    assert np.isfinite(features).all()


@pytest.mark.slow
def test_scores_are_those_of_the_store(tiny_run, tiny_store):
    """A scan that is read and prepared anew gets the scores that it has in the table of its store."""
    from ichformer.cohorts.index import read_index
    from ichformer.workflows.evaluate_run import predict_store

    run, store = ich.open_run(tiny_run), ich.Store.open(tiny_store)
    table = predict_store(run.run, store, "test")
    index = read_index(tiny_store.parent / "cohort" / "studies.csv").set_index("series")
    row = table[table["slice"] == ""].iloc[0]
    found = run.predict(ich.read_volume(index.loc[row["series"], "path"]))
    assert "any" in found.scan_scores
    for label in found.scan_scores:
        assert found.scan_scores[label] == pytest.approx(row[f"score_{label}"], abs=1e-5)
    slices = table[(table["series"] == row["series"]) & (table["slice"] != "")]
    for label in found.slice_scores:
        np.testing.assert_allclose(found.slice_scores[label], slices[f"score_{label}"], atol=1e-5)


@pytest.mark.slow
def test_what_is_no_head_has_a_reason_in_place_of_scores(tiny_run):
    run, volume = ich.open_run(tiny_run), phantom()
    air = dataclasses.replace(volume, hu=np.full_like(volume.hu, -1000))
    found = run.predict(air)
    assert (found.scan_scores, found.slice_scores, found.not_scored.code) == ({}, {}, "no_brain")
    assert repr(found) == "ScanPrediction: not scored. No brain was found in this scan."
    with pytest.raises(InputError, match=r"cannot be scored\. No brain was found"):
        run.explain(air, "any")


@pytest.mark.slow
def test_what_is_asked_for_wrongly_is_one_line(tiny_run):
    run, volume = ich.open_run(tiny_run), phantom()
    with pytest.raises(
        InputError, match="label: there is no label 'ani'; perhaps you meant any, or choose one of epidural"
    ):
        run.explain(volume, "ani")
    with (
        unchecked(),
        pytest.raises(InputError, match=r"expected a Volume, found a ndarray of shape \[2, 3, 4, 5\]; read it"),
    ):
        run.predict(np.zeros((2, 3, 4, 5)))


@pytest.mark.slow
def test_evaluating_writes_where_out_says_and_else_nowhere(tiny_run, tiny_store, tmp_path):
    run = ich.open_run(tiny_run)
    before = sorted(tiny_run.iterdir())
    summary = run.evaluate(tiny_store)
    assert sorted(tiny_run.iterdir()) == before
    assert run.evaluate(ich.Store.open(tiny_store), out=tmp_path / "out").to_json() == summary.to_json()
    assert {"metrics.json", "evaluation.html"} <= {file.name for file in (tmp_path / "out").iterdir()}
