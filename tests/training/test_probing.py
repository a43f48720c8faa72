"""Probing while a pretraining runs: its figures, its pictures, what it says, and that the training does not feel it."""

import dataclasses
import io
import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd
import pytest
from PIL import Image
from tensorboardX.proto.event_pb2 import Event

import ichformer as ich
from ichformer.errors import InputError, Stopped
from ichformer.evaluation.probes.probe import probe_features
from ichformer.evaluation.probes.table import feature_names
from ichformer.models.families.slice_vit import slice_vit
from ichformer.pipeline.loader import evaluation_batches
from ichformer.pipeline.store.records import Store
from ichformer.training.build import Given
from ichformer.training.config import DataConfig, ObjectiveConfig, OptimConfig, ParallelConfig, TrainConfig
from ichformer.training.monitoring import probing as module
from ichformer.training.monitoring.probed_scans import choose_scans
from ichformer.training.monitoring.probing import Probed, Probing
from ichformer.training.monitoring.strip import TILE_PX
from ichformer.training.runs.pretrained_run import PretrainedRun
from ichformer.training.sharding.parallel import make_mesh
from ichformer.training.state import TrainState, create_state
from ichformer.training.trainer import run_training
from tests.training.test_writers import records

EVERY, STEPS, SLICES = 2, 4, 6
SMALL = Given(
    model=slice_vit(patch_size=8, width=16, depth=1, num_heads=2, context_depth=1, context_heads=2, labels=ich.LABELS)
)


@pytest.fixture(scope="module")
def store(tiny_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The tiny store with patients of both classes in "train" and in "val", and one scan in "test"."""
    folder = tmp_path_factory.mktemp("probing") / "store"
    shutil.copytree(tiny_store, folder)
    values = json.loads((folder / "index.json").read_text())
    scans = values["series"]
    for label in (0, 1):
        patients = sorted({scan["patient"] for scan in scans if scan["any"] == label})
        for scan in scans:
            if scan["patient"] in patients:
                scan["split"] = "val" if patients.index(scan["patient"]) % 5 in (1, 3) else "train"
    scans[0]["split"] = "test"
    (folder / "index.json").write_text(json.dumps(values))
    return Store.open(folder)


@dataclasses.dataclass(frozen=True)
class Moments:
    """A pretraining whose features are mean, deviation and largest value of each slice, after one parameter."""

    constant: bool = False

    def init(self, rng, batch):
        return {"params": {"w": jnp.ones(())}}

    def loss(self, params, batch, rng, train):
        return params["w"] * batch.weight.sum(), batch.weight.sum(), {}

    def features(self, params, batch):
        x = jnp.clip(batch.hu.astype(jnp.float32), -100, 300)
        found = jnp.stack([x.mean((2, 3)), x.std((2, 3)), x.max((2, 3))], axis=-1) / 100
        return jnp.ones_like(found) * params["w"] if self.constant else found * params["w"]


def config_of(store: Store, **settings) -> TrainConfig:
    return TrainConfig(
        data=DataConfig(store=str(store.path), batch_size=8, num_slices=SLICES),
        objective=ObjectiveConfig(name="mae", decoder_width=32, decoder_depth=1),
        optim=OptimConfig(warmup_steps=1),
        **{"parallel": ParallelConfig(data=1), "steps": STEPS, "log_every": 1, "probe_every": EVERY, **settings},
    )


def state_of(value: float) -> TrainState:
    return create_state({"w": jnp.asarray(value)}, optax.sgd(0.1), ema=False)


def probing_of(store: Store, folder: Path, objective: object = Moments(), *, devices: int = 1, **settings) -> Probing:
    config = config_of(store, parallel=ParallelConfig(data=devices), **settings)
    return Probing(config, objective, store, make_mesh(config.parallel), folder)


def probe(probing: Probing, *, step: int = 0, value: float = 1.0, stopping: Callable[[], bool] = lambda: False):
    return probing(state_of(value), step, stopping=stopping)


def expected_of(objective: object, params: object, store: Store) -> dict[str, float]:
    """The figures by the table of features, whose scans are computed one by one."""
    chosen, rows, features = choose_scans(store), [], jax.jit(objective.features)
    for row in chosen.rows.tolist():
        (batch,) = evaluation_batches(store, rows=np.array([row]), batch_size=1, num_slices=SLICES)
        slices = np.asarray(features(params, batch), np.float64)[0, batch.slice_mask[0]]
        index = store.index.iloc[row]
        known = {"patient": index["patient"], "split": index["split"], "any": index["any"], "not_scored": ""}
        known |= dict.fromkeys(("study", "series", "site", "slice"), "")
        rows.append(known | dict(zip(feature_names(slices.shape[1]), slices.mean(0), strict=True)))
    table = pd.DataFrame(rows)
    train, val = table[table["split"] == "train"], table[table["split"] == "val"]
    expected = {}
    for method in ("ridge", "knn"):
        found = probe_features(train, val, label="any", method=method)
        for share in found.shares:
            if share.mean_auroc is not None:
                expected[f"probe_{method}_any_auroc_{100 * share.fraction:g}"] = share.mean_auroc
        collapse = found.collapse
    return expected | {
        "feature_rank": collapse.effective_rank,
        "feature_spread": collapse.spread,
        "feature_similarity": collapse.similarity,
        "features_collapsed": 0.0,
    }


@pytest.mark.slow
@pytest.mark.parametrize("devices", [1, 8])
def test_figures_are_those_of_the_probes_on_any_number_of_devices(store, tmp_path, devices):
    found = probe(probing_of(store, tmp_path, devices=devices))
    expected = expected_of(Moments(), {"w": 1.0}, store)
    assert {"probe_ridge_any_auroc_100", "probe_knn_any_auroc_100"} <= set(expected)
    assert found.metrics == pytest.approx(expected, rel=1e-4)
    assert (found.picture, found.warnings) == (None, ())


def test_probed_scans_are_few_patients_of_both_splits(store):
    chosen = choose_scans(store)
    splits = store.index["split"].to_numpy()
    assert set(splits[chosen.fitted]) == {"train"}
    assert set(splits[chosen.scored]) == {"val"}
    patients = store.index["patient"].iloc[chosen.rows]
    assert patients.is_unique
    assert set(patients) == set(store.index["patient"][splits != "test"])
    assert set(chosen.fitted_labels) == set(chosen.scored_labels) == {0.0, 1.0}
    assert "1 % of" in str(chosen)


def test_of_many_patients_a_part_is_taken_with_as_many_positives(store):
    index = pd.concat([store.index] * 100, ignore_index=True)
    patients = [f"{patient}-{i}" for i, patient in enumerate(index["patient"])]
    many = dataclasses.replace(store, index=index.assign(patient=patients))
    chosen = choose_scans(many)
    assert (len(chosen.fitted), len(chosen.scored)) == (200, 100)
    share = index["any"][index["split"] == "train"].mean()
    assert chosen.fitted_labels.mean() == pytest.approx(share, abs=0.01)


def test_a_collapse_is_said_once_in_one_line(store, tmp_path):
    probing = probing_of(store, tmp_path, Moments(constant=True))
    first, second = probe(probing, step=2), probe(probing, step=4)
    (said,) = first.warnings
    assert said.startswith("step 2: the features of all ")
    assert "have collapsed" in said
    assert "\n" not in said
    assert first.metrics["features_collapsed"] == second.metrics["features_collapsed"] == 1
    assert second.warnings == ()


def test_features_that_are_no_numbers_are_said_and_not_probed(store, tmp_path):
    found = probe(probing_of(store, tmp_path), step=2, value=np.nan)
    assert found.metrics == {}
    assert found.warnings == ("step 2: features are no numbers, so nothing was probed",)


def test_what_takes_more_than_its_share_is_said_once(store, tmp_path, monkeypatch):
    """Probings of 2 s and 48 s for the steps between them, after a first one and first steps that compile."""
    seconds = iter([0.0, 60.0, 600.0, 602.0, 650.0, 652.0, 700.0, 702.0])
    monkeypatch.setattr(module.time, "perf_counter", lambda: next(seconds))
    probing = probing_of(store, tmp_path, probe_every=100, steps=300)
    said = [probe(probing, step=step).warnings for step in (0, 100, 200, 300)]
    text = "probing takes 4.0 % of the time, 2.0 s after 100 steps of 48.0 s together"
    assert said == [(), (), (f"{text}; --probe-every 413 takes less than 1 %",), ()]


def test_who_is_told_to_stop_leaves_nothing(store, tmp_path):
    answers = iter([False, True])
    assert probe(probing_of(store, tmp_path), stopping=lambda: next(answers)) is None
    assert list(tmp_path.iterdir()) == []


def test_a_probing_that_was_kept_is_not_done_again(store, tmp_path):
    probing = probing_of(store, tmp_path)
    assert probing.is_due(0)
    assert not probing.is_kept(0)
    probing.keep(2, Probed(metrics={"feature_rank": 2.0}, picture=None, warnings=()), [])
    again = probing_of(store, tmp_path)
    assert [again.is_kept(step) for step in (0, 2, 4)] == [True, True, False]


def test_what_cannot_be_probed_is_refused(store, tmp_path):
    with pytest.raises(InputError, match="--probe-every: classification is no pretraining"):
        run_training(
            dataclasses.replace(config_of(store), objective=ObjectiveConfig()), tmp_path / "run", progress=False
        )
    assert list(tmp_path.iterdir()) == []
    for index in (
        store.index.assign(split=store.index["split"].replace("val", "test")),
        store.index.assign(any=store.index["any"].where(store.index["split"] != "val")),
    ):
        with pytest.raises(InputError, match="the split 'val' has 0 patients with and 0 without any"):
            probing_of(dataclasses.replace(store, index=index), tmp_path)
    with pytest.raises(InputError, match="--probe-every"):
        config_of(store, probe_every=-1)


@pytest.fixture(scope="module")
def watched(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("watched") / "run"
    run_training(config_of(store), folder, given=SMALL, progress=False)
    return folder


def lines_of(run: Path) -> dict[int, dict[str, float]]:
    """By step, what follows from the scans alone; the lines of a step together."""
    found: dict[int, dict[str, float]] = {}
    for line in map(json.loads, (run / "metrics.jsonl").read_text().splitlines()):
        timed = ("step", "goodput", "input_bound", "probing", "scans_per_s")
        found.setdefault(line["step"], {}).update({k: v for k, v in line.items() if k not in timed})
    return found


def params_of(run: Path) -> list[np.ndarray]:
    return [np.asarray(leaf) for leaf in jax.tree.leaves(PretrainedRun.open(run, SMALL).params)]


@pytest.mark.slow
def test_a_run_logs_figures_of_its_checkpoint(store, watched):
    lines = lines_of(watched)
    assert [step for step, metrics in lines.items() if "feature_rank" in metrics] == [0, 2, 4]
    assert "loss" in lines[1]
    assert "loss" not in lines[0]
    run = PretrainedRun.open(watched, SMALL)
    expected = expected_of(run.objective, run.params, store)
    found = {name: value for name, value in lines[STEPS].items() if name.startswith(("probe_", "feature"))}
    assert found == pytest.approx(expected, rel=1e-3)
    assert all("probing" in json.loads(line) for line in (watched / "metrics.jsonl").read_text().splitlines()[1:])


@pytest.mark.slow
def test_pictures_are_in_the_folder_and_in_tensorboard(watched):
    names = ["step_00000000.png", "step_00000002.png", "step_00000004.png"]
    assert sorted(path.name for path in (watched / "probing").iterdir()) == ["last.json", *names]
    (events,) = (watched / "tensorboard").iterdir()
    shown = {
        event.step: value.image
        for event in map(Event.FromString, records(events))
        for value in event.summary.value
        if value.tag == "reconstruction"
    }
    assert list(shown) == [0, 2, 4]
    pictures = []
    for name, image in zip(names, shown.values(), strict=True):
        data = (watched / "probing" / name).read_bytes()
        assert image.encoded_image_string == data
        picture = Image.open(io.BytesIO(data))
        assert picture.size == (image.width, image.height)
        assert picture.size[0] >= 3 * TILE_PX
        assert picture.size[1] >= 4 * TILE_PX
        pictures.append(np.asarray(picture, np.int64)[-4 * TILE_PX :])
    first, last = pictures[0], pictures[-1]
    left, middle, right = slice(0, TILE_PX), slice(TILE_PX + 8, 2 * TILE_PX), slice(-TILE_PX, None)
    np.testing.assert_array_equal(first[:, left], last[:, left])  # the same pixels are hidden every time
    np.testing.assert_array_equal(first[:, right], last[:, right])
    assert (first[:, left] != first[:, right]).any()
    assert (first[:, middle] != last[:, middle]).any()


@pytest.mark.slow
def test_parameters_are_those_of_a_run_without_probing_to_the_bit(store, watched, tmp_path):
    run_training(config_of(store, probe_every=0), tmp_path / "run", given=SMALL, progress=False)
    for with_it, without in zip(params_of(watched), params_of(tmp_path / "run"), strict=True):
        np.testing.assert_array_equal(with_it, without)
    assert not (tmp_path / "run" / "probing").exists()


@pytest.mark.slow
def test_a_run_that_is_stopped_in_a_probing_makes_up_for_it(store, watched, tmp_path, monkeypatch):
    """And pictures that would be too many are left out."""
    monkeypatch.setattr(module, "MOST_PICTURES", 2)
    call = Probing.__call__

    def told(self: Probing, state: TrainState, step: int, *, stopping: Callable[[], bool]) -> Probed | None:
        if step == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return call(self, state, step, stopping=stopping)

    with monkeypatch.context() as patch:
        patch.setattr(Probing, "__call__", told)
        with pytest.raises(Stopped, match="stopped after step 2 of 4; all is saved"):
            run_training(config_of(store), tmp_path / "run", given=SMALL, progress=False)
    assert "feature_rank" not in lines_of(tmp_path / "run")[2]
    run_training(config_of(store), tmp_path / "run", given=SMALL, progress=False)
    assert lines_of(tmp_path / "run") == lines_of(watched)
    for resumed, whole in zip(params_of(tmp_path / "run"), params_of(watched), strict=True):
        np.testing.assert_array_equal(resumed, whole)
    pictures = sorted(path.name for path in (tmp_path / "run" / "probing").glob("*.png"))
    assert pictures == ["step_00000000.png", "step_00000004.png"]
    assert PretrainedRun.open(tmp_path / "run", SMALL).step == STEPS
