"""The audit from the command to its files, with models of which it is known what they look at."""

import json
from dataclasses import replace

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array

from experiments.planted_shortcuts import planted
from ichformer import LABELS
from ichformer.cli import main
from ichformer.cohorts.registry import COHORTS
from ichformer.ct.windows import WINDOWS
from ichformer.errors import InputError
from ichformer.explanations.audit.effects import NAMED_SD, Exchanged, draw_donors, given_and_taken
from ichformer.models.contract import Prediction
from ichformer.objectives.classification import Classification
from ichformer.pipeline.store.records import Store
from ichformer.testing import tiny_cohort
from ichformer.workflows.explanations.audit_run import EXCHANGES, audit
from tests.stores import CONFIG, prepare_here
from tests.workflows.counter import open_counter


class Brightness(nn.Module):
    """Its logit is the brightness of a square of a slice in the middle of the scan, at a place that is given."""

    rows: tuple[int, int]
    columns: tuple[int, int]

    @nn.compact
    def __call__(self, x: Array, slice_mask: Array, spacing_mm: Array, train: bool) -> Prediction:
        part = x[:, :, slice(*self.rows), slice(*self.columns), 0].mean((2, 3))
        slice_logits = jnp.stack([10 * part] * len(LABELS), axis=-1)
        return Prediction(slice_logits=slice_logits, scan_logits=slice_logits[:, 4], features={})


CORNER, CENTRE = Brightness((0, 5), (0, 5)), Brightness((12, 18), (12, 20))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """16 scans, of which half have a mark in a corner."""
    folder = tmp_path_factory.mktemp("audit")
    index = COHORTS["phantom"](tiny_cohort(folder / "cohort", scans=16, seed=5), cache=folder / "cache")
    clean = prepare_here(index.assign(split="test"), folder / "clean")
    return planted(clean, "mark", folder / "marked", (0.5, 0.5), seed=11)


@pytest.fixture
def opened(tmp_path, monkeypatch):
    """Opens a run of a model."""

    def open_run(model: nn.Module):
        run = open_counter(tmp_path / "run", monkeypatch)
        made = replace(run, prepare=CONFIG, objective=Classification(model=model, windows=(WINDOWS["brain"],)))
        monkeypatch.setattr(type(run), "open", classmethod(lambda cls, path, given=None: made))
        return made

    return open_run


@pytest.mark.slow
def test_the_command_names_the_corner_that_a_model_reads(store, opened, tmp_path, capsys) -> None:
    out = tmp_path / "out"
    main(["audit", str(opened(CORNER).path), "--store", str(store.path), "--out", str(out), "--json"])
    told = json.loads(capsys.readouterr().out)
    assert told == json.loads((out / "audit.json").read_text())
    assert told["leans"]
    causes = {one["cause"]: one for one in told["causes"]}
    assert [name for name, one in causes.items() if one["verdict"] == "leans"] == ["corners"]
    # A scan with the corner of another has the other's score, so that the share follows from the scores as they are.
    series, logits = zip(*[(scan["series"], scan["logit"]) for scan in told["scans"]], strict=True)
    patients = np.unique(store.index.set_index("series").loc[list(series), "patient"], return_inverse=True)[1]
    donors, scores = draw_donors(patients, times=EXCHANGES, seed=0), np.array(logits)
    given, taken = given_and_taken(scores, Exchanged(logits=scores[donors], donors=donors))
    assert causes["corners"]["share"]["value"] == pytest.approx(np.mean(given * taken) / scores.var(), rel=1e-3)
    moved = np.abs(given + taken) / 2 >= NAMED_SD * scores.std()
    assert [scan["named"] for scan in told["scans"]] == np.where(moved, "corners", "").tolist()
    assert moved.mean() > 0.5
    assert {scan["series"] for scan in told["scans"]} == set(store.index["series"])
    assert (out / "audit.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.full
def test_a_model_that_reads_the_brain_alone_raises_no_alarm(store, opened, tmp_path, capsys) -> None:
    main(["audit", str(opened(CENTRE).path), "--store", str(store.path), "--out", str(tmp_path / "out")])
    text = capsys.readouterr().out
    assert text.startswith("No cause is found")
    told = json.loads((tmp_path / "out" / "audit.json").read_text())
    verdicts = {one["cause"]: (one["verdict"], one["why"]) for one in told["causes"]}
    assert verdicts["corners"] == ("does not lean", "no score depends on it")
    assert not any(scan["named"] for scan in told["scans"])
    assert "not covered" in text


@pytest.mark.slow
def test_what_the_preparation_removed_is_not_audited(store, opened, monkeypatch) -> None:
    run = opened(CENTRE)
    brain = replace(run, prepare=replace(CONFIG, keep="brain"))
    bare = replace(store, config={**store.config, "keep": "brain"})
    found = audit(brain, bare, None, replicates=100, progress=False)
    for one in found.causes:
        if one.cause != "texture":
            assert (one.verdict, one.why) == ("not audited", "the preparation removes it")


@pytest.mark.slow
def test_too_few_patients_or_an_unknown_label_are_refused(store, opened) -> None:
    run = opened(CENTRE)
    few = replace(store, index=store.index.head(3))
    with pytest.raises(InputError, match="at least 8 patients"):
        audit(run, few, None, progress=False)
    with pytest.raises(InputError, match="choose one of"):
        audit(run, store, None, label="fracture", progress=False)
