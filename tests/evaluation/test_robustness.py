"""The corruption benchmark: figures from tables whose answer is known, and the whole way on a tiny trained run."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score

from ichformer import LABELS
from ichformer.cli import main
from ichformer.cohorts.registry import COHORTS
from ichformer.ct.corruptions import CORRUPTIONS, SEVERITIES
from ichformer.errors import InputError
from ichformer.evaluation.ood import OOD_NAME, read_ood
from ichformer.evaluation.robustness import Key, corrupted, format_robustness, summarise_robustness
from ichformer.evaluation.tables.checked import check_table
from ichformer.evaluation.tables.table import CheckedTable, columns
from ichformer.pipeline.store.records import Store
from ichformer.statistics.metrics import auroc
from ichformer.testing import tiny_cohort
from ichformer.training.config import DataConfig, ModelConfig, OptimConfig, ParallelConfig, TrainConfig
from ichformer.training.runs.run import Run
from ichformer.training.trainer import run_training
from ichformer.workflows.evaluate_run import freeze_ood
from ichformer.workflows.parts.predict_store import predict_and_embed, predict_store
from tests.stores import prepare_here

SPLITS = ("train", "train", "val", "test")


def table(scores: np.ndarray, truth: np.ndarray, *, slices: bool = True) -> CheckedTable:
    """Scans [n] and, where wanted, three slices of each, the second with the scan's label and score."""
    rows = []
    for i, (score, label) in enumerate(zip(scores, truth, strict=True)):
        ids = {"patient": f"p{i // 2}", "study": "", "series": f"s{i}", "site": "", "split": "test"}
        for name, y, p in [("", label, score)] + slices * [("0", 0.0, 0.1), ("1", label, score), ("2", 0.0, 0.2)]:
            rows.append({**ids, "slice": name} | dict.fromkeys(LABELS, y) | {f"score_{one}": p for one in LABELS})
    return check_table(pd.DataFrame(rows, columns=columns()))


@pytest.fixture
def truth() -> np.ndarray:
    return np.tile([0.0, 1.0], 30)


def test_losses_are_differences_of_scikit_learns_aurocs(truth):
    rng = np.random.default_rng(0)
    clean = truth * 0.4 + rng.uniform(0, 0.6, 60)
    worse = {
        key: np.clip(clean + rng.normal(0, 0.1 * key[1], 60), 0, 1)
        for key in [("tilt", severity) for severity in SEVERITIES] + [("metal", 1), ("metal", 5)]
    }
    found = summarise_robustness(table(clean, truth), {k: table(v, truth) for k, v in worse.items()}, replicates=300)
    assert [level.level for level in found.levels] == ["slice", "scan"]
    scans = found.levels[1]
    assert (scans.n, scans.n_positive, scans.n_positive_patients) == (60, 30, 30)
    wanted = {key: roc_auc_score(truth, clean) - roc_auc_score(truth, scores) for key, scores in worse.items()}
    for cell in scans.cells:
        key = (cell.corruption, cell.severity)
        assert cell.loss.value == pytest.approx(wanted[key], abs=1e-12)
        assert cell.auroc.value == pytest.approx(roc_auc_score(truth, worse[key]), abs=1e-12)
        assert cell.loss.interval.low < cell.loss.value < cell.loss.interval.high
        assert cell.value == CORRUPTIONS[cell.corruption].levels[cell.severity - 1]
    assert scans.mean_loss.value == pytest.approx(np.mean(list(wanted.values())), abs=1e-12)
    assert scans.by_corruption["metal"].value == pytest.approx((wanted["metal", 1] + wanted["metal", 5]) / 2, abs=1e-12)
    text = format_robustness(found)
    assert f"{wanted['tilt', 5]:+.3f}" in text
    assert "30 of 60 positive" in text


def test_scores_that_did_not_change_lose_nothing_and_have_no_interval_of_width_0(truth):
    scores = np.random.default_rng(0).uniform(size=60)
    found = summarise_robustness(table(scores, truth), {("metal", 1): table(scores, truth)}, replicates=100)
    for level in found.levels:
        assert level.cells[0].loss.value == 0
        assert level.cells[0].loss.interval is None


def test_one_class_is_not_estimable_and_fewer_slices_are_evaluated_as_they_are(truth):
    scores = np.random.default_rng(0).uniform(size=60)
    found = summarise_robustness(table(scores, truth * 0), {("tilt", 1): table(scores, truth * 0)}, replicates=50)
    assert found.levels[1].clean.value is None
    assert found.levels[1].mean_loss.value is None
    assert "not estimable" in format_robustness(found)
    json.dumps(found.to_json(), allow_nan=False)
    fewer = table(scores, truth)
    fewer = check_table(fewer.rows[fewer.rows["slice"] != "2"])
    found = summarise_robustness(table(scores, truth), {("missing_slices", 5): fewer}, replicates=50)
    assert found.levels[0].n == 180
    kept = fewer.rows[fewer.rows["slice"] != ""]
    assert found.levels[0].cells[0].auroc.value == pytest.approx(roc_auc_score(kept["any"], kept["score_any"]))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Store]:
    """A few steps on twelve tiny scans: it need not find blood, only have features of its own."""
    folder = tmp_path_factory.mktemp("robustness")
    index = COHORTS["phantom"](tiny_cohort(folder / "cohort", scans=24), cache=folder / "cache")
    # By patient, so that nobody is in two splits.
    patient = pd.factorize(index["patient"])[0]
    index = index.assign(split=[SPLITS[number % 4] for number in patient])
    store = prepare_here(index, folder / "store")
    config = TrainConfig(
        data=DataConfig(store=str(store.path), batch_size=8, num_slices=8),
        model=ModelConfig(name="slice_vit_nano"),
        optim=OptimConfig(warmup_steps=2),
        parallel=ParallelConfig(data=1),
        steps=10,
    )
    run_training(config, folder / "run", progress=False)
    return Run.open(folder / "run"), store


@pytest.mark.slow
@pytest.mark.parametrize("key", [("dose_noise", 5), ("thickness", 4), ("missing_slices", 5)])
def test_a_corrupted_store_keeps_labels_in_step(run, key: Key):
    _, store = run
    for row in map(int, store.rows("test")[:3]):
        clean, worse = store.read(row), corrupted(store, key).read(row)
        assert len(worse.slice_labels) == len(worse.volume.hu) == len(worse.mask) <= len(clean.volume.hu)
        np.testing.assert_array_equal(worse.scan_labels, clean.scan_labels)
        if key[0] == "missing_slices":
            at = [clean.volume.source.index(name) for name in worse.volume.source]
            np.testing.assert_array_equal(worse.slice_labels, clean.slice_labels[at])
            np.testing.assert_array_equal(worse.mask, clean.mask[at])
    assert (store.read(0).volume.hu == store.read(0).volume.hu).all()


@pytest.mark.slow
def test_scans_draw_their_own_numbers_which_the_seed_decides(run):
    _, store = run
    key: Key = ("tilt", 5)
    tilts = [corrupted(store, key).read(row).volume.audit.tilt_deg for row in range(8)]
    assert tilts == [corrupted(store, key).read(row).volume.audit.tilt_deg for row in range(8)]
    assert min(tilts) < 0 < max(tilts)
    assert tilts != [corrupted(store, key, seed=1).read(row).volume.audit.tilt_deg for row in range(8)]


@pytest.mark.slow
def test_embedding_gives_one_vector_a_scan_and_the_same_table(run):
    opened, store = run
    table, features = predict_and_embed(opened, store, "test", batch_size=3)
    pd.testing.assert_frame_equal(table, predict_store(opened, store, "test", batch_size=3))
    assert len(features) == (table["slice"] == "").sum()
    # A scan's own features do not depend on the scans and the padding beside it.
    again = predict_and_embed(opened, store, "test", batch_size=8)
    order = table[table["slice"] == ""]["series"].tolist()
    other = again[0][again[0]["slice"] == ""]["series"].tolist()
    np.testing.assert_allclose(features, again[1][[other.index(name) for name in order]], atol=1e-5)


class Upended(Store):
    """Scans of something that is no head: noise in a box, rows and slices exchanged."""

    def read(self, row, *, slices=None):
        from dataclasses import replace

        scan = super().read(row)
        hu = scan.volume.hu
        box = np.full_like(hu, -1024)
        box[:, 4:-4, 4:-4] = np.random.default_rng(row).integers(-800, 1500, box[:, 4:-4, 4:-4].shape)
        return replace(scan, volume=replace(scan.volume, hu=box))


@pytest.mark.full
def test_corrupted_scans_and_what_is_no_head_are_further_from_the_training(run):
    opened, store = run
    distance = freeze_ood(opened, store)
    _, clean = predict_and_embed(opened, store, "test")
    usual = distance.distances(clean)

    def apart(other: Store) -> float:
        found = distance.distances(predict_and_embed(opened, other, "test")[1])
        return auroc(np.repeat([0.0, 1.0], [len(usual), len(found)]), np.concatenate([usual, found]))

    assert apart(store) == 0.5
    assert apart(Upended(path=store.path, config=store.config, index=store.index)) > 0.95
    # Noise and kernels are lost on pixels of 8 mm, and heads of the training lie tilted themselves.
    found = {name: apart(corrupted(store, (name, 5))) for name in CORRUPTIONS}
    for name in ("thickness", "hu_shift", "window_error", "field_of_view"):
        assert found[name] > 0.8, name


@pytest.mark.slow
def test_the_command_writes_json_and_picture_and_freezes_the_score(run, tmp_path: Path, capsys):
    opened, store = run
    (opened.path / OOD_NAME).unlink(missing_ok=True)
    command = ["robustness", str(opened.path), "--store", str(store.path), "--out", str(tmp_path / "out")]
    main([*command, "--corruption", "tilt", "thickness", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found == json.loads((tmp_path / "out" / "robustness.json").read_text())
    assert [one["level"] for one in found["levels"]] == ["slice", "scan"]
    assert len(found["levels"][1]["cells"]) == 10
    assert {one["corruption"] for one in found["ood"]} == {"", "tilt", "thickness"}
    with Image.open(tmp_path / "out" / "robustness.png") as picture:
        assert picture.size[0] > 500
    frozen = read_ood(opened.path / OOD_NAME)
    assert frozen.usual.size == len(store.rows("val"))
    for name in ("study", "patient"):
        assert not any(str(one) in json.dumps(found) for one in store.index[name])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("option", "value", "fix"),
    [("--corruption", "fog", "metal"), ("--split", "no", "test"), ("--split", "train", "patient")],
)
def test_bad_words_are_one_line_and_leave_nothing(run, tmp_path, capsys, option, value, fix):
    opened, store = run
    with pytest.raises(SystemExit) as stop:
        main(["robustness", str(opened.path), "--store", str(store.path), "--out", str(tmp_path / "o"), option, value])
    assert stop.value.code == 2
    assert fix in capsys.readouterr().err
    assert not (tmp_path / "o").exists()


@pytest.mark.slow
def test_a_store_of_another_preparation_is_refused(run, tmp_path):
    from ichformer.workflows.measure_robustness import corruption_benchmark

    opened, store = run
    index = json.loads((store.path / "index.json").read_text())
    index["config"]["size"] = 64
    (tmp_path / "index.json").write_text(json.dumps(index))
    (tmp_path / "shards").symlink_to(store.path / "shards")
    with pytest.raises(InputError, match="prepare it as the run"):
        corruption_benchmark(opened.path, tmp_path, tmp_path / "o", progress=False)
