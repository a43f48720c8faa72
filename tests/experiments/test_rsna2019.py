"""The recipes of RSNA 2019 on an imitation of its folder: two steps, a submission, and the competition's metric."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import log_loss

import ichformer as ich
from experiments import external_tests, rsna2019
from ichformer.errors import InputError
from ichformer.inference.trained import open_trained
from ichformer.training.config import DataConfig, ModelConfig
from ichformer.training.config.recipes import RECIPES
from ichformer.workflows.parts.predict_store import predict_store
from tests.cohorts.rsna import write_rsna

SMALLEST = {
    "rsna2019-slice-vit": "slice_vit_nano",
    "rsna2019-swin3d": "swin3d_nano",
    "rsna2019-hybrid": "hybrid_nano",
    "rsna2019-hybrid-effnet": "hybrid_nano",
    "rsna2019-medal": "cnn_gru_nano",
}
"""The family of each recipe in a size that two steps of two scans are short with."""


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> ich.Store:
    folder = tmp_path_factory.mktemp("rsna")
    write_rsna(folder / "rsna")
    return ich.prepare(
        "rsna2019",
        source=folder / "rsna",
        out=folder / "store",
        config={"size": 32},
        workers=1,
        progress=False,
    )


def shrink(monkeypatch, name: str) -> None:
    """The recipe with all of its settings but the size."""
    recipe = RECIPES[name]
    data = DataConfig(store="", batch_size=8, num_slices=4)
    model = ModelConfig(
        name=SMALLEST[name], drop_path=recipe.config.model.drop_path, dropout=recipe.config.model.dropout
    )
    config = dataclasses.replace(recipe.config, data=data, model=model)
    monkeypatch.setitem(RECIPES, name, dataclasses.replace(recipe, config=config))


def scored(table: pd.DataFrame) -> pd.DataFrame:
    """With a score of 0.5 where the training had nothing to learn from."""
    return table.assign(not_scored="").fillna({name: 0.5 for name in table if name.startswith("score_")})


@pytest.mark.slow
def test_external_tests_have_a_line_for_each_level(tiny_run, tiny_store):
    summary = ich.open_run(tiny_run).evaluate(tiny_store)
    line = external_tests.line("elsewhere", summary)
    assert line.startswith('elsewhere: AUROC of "any" by slice ')
    for level in summary.levels:
        (found,) = (one for one in level.labels if one.label == "any")
        assert f"{found.n_positive} of {found.n} positive" in line


def test_every_recipe_of_rsna_has_a_small_form():
    assert set(SMALLEST) == set(rsna2019.OF_RSNA)


@pytest.mark.slow(minutes=1)
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name == "rsna2019-hybrid" else pytest.mark.full) for name in SMALLEST]
)
def test_two_steps_give_a_submission_that_names_every_image(store, tmp_path, monkeypatch, name):
    shrink(monkeypatch, name)
    run = open_trained(rsna2019.trained(name, store, tmp_path / "run", steps=2))
    # The imitation has one bleed: the other labels are not trained, and a submission without them is none.
    with pytest.raises(InputError, match="have no score"):
        rsna2019.submission(run, store, "train")
    monkeypatch.setattr(rsna2019, "predict_store", lambda *told: scored(predict_store(*told)))
    file, known = rsna2019.submission(run, store, "train"), rsna2019.truth(store, "train")
    assert file["ID"].tolist() == known["ID"].tolist()
    assert len(file) == 6 * sum(store.n_slices[row] for row in store.rows("train"))
    assert (
        file["ID"].str.fullmatch(r"ID_\w+_(epidural|intraparenchymal|intraventricular|subarachnoid|subdural|any)").all()
    )
    assert file["Label"].between(0, 1).all()
    assert rsna2019.competition_loss(known, file) > 0


def tables(seed: int, images: int = 50) -> tuple[pd.DataFrame, pd.DataFrame, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels, scores = rng.integers(0, 2, (images, 6)), rng.random((images, 6))
    scores[0, :2] = 0, 1
    names = [f"ID_{number:09x}" for number in range(images)]
    return rsna2019._rows(names, labels), rsna2019._rows(names, scores), labels, scores


def test_the_loss_is_that_of_the_competition():
    known, file, labels, scores = tables(1)
    by_label = [log_loss(labels[:, k], np.clip(scores[:, k], 1e-15, 1 - 1e-15)) for k in range(6)]
    wanted = np.average(by_label, weights=[1, 1, 1, 1, 1, 2])
    assert rsna2019.competition_loss(known, file.sample(frac=1, random_state=0)) == pytest.approx(wanted, rel=1e-12)
    assert rsna2019.competition_loss(known, known) == pytest.approx(0, abs=1e-12)


def test_a_submission_that_is_not_whole_is_refused():
    known, file, _, _ = tables(2)
    for wrong in (file.iloc[1:], pd.concat([file, file.iloc[:1]]), file.assign(ID=file["ID"] + "x")):
        with pytest.raises(InputError, match="each once"):
            rsna2019.competition_loss(known, wrong)
