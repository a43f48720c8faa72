"""Before the first step a training says what it knows of each label, and refuses to learn from nothing.

And what its folder and its process are afterwards: the store is found from everywhere, the process is as it was.
"""

import contextlib
import io
import json
import logging
import os
import signal
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ichformer import LABELS
from ichformer.ct.windows import WINDOWS
from ichformer.errors import InputError
from ichformer.inference.trained import training_store
from ichformer.models.contract import Prediction
from ichformer.objectives.classification import Classification
from ichformer.pipeline.batch import Batch
from ichformer.pipeline.store.records import Store
from ichformer.training import process
from ichformer.training.build import build_objective
from ichformer.training.config import DataConfig, ModelConfig, ObjectiveConfig, ParallelConfig, TrainConfig
from ichformer.training.labels import LABELS_NAME, as_trained, for_known_labels, format_labels
from ichformer.training.runs.run import Run, read_facts
from ichformer.training.trainer import run_training
from tests.scan_labels import Given, store_of
from tests.typecheck import unchecked

POSITIVE = {"any": 1.0, "subdural": 1.0, "epidural": 0.0}
NEGATIVE = {"any": 0.0, "subdural": 0.0, "epidural": 0.0}


def config_of(store: Store | str, **objective) -> TrainConfig:
    return TrainConfig(
        data=DataConfig(store=str(store.path) if isinstance(store, Store) else store, batch_size=2, num_slices=4),
        model=ModelConfig(name="slice_vit_nano"),
        objective=ObjectiveConfig(**objective),
        parallel=ParallelConfig(data=1),
        steps=1,
    )


@pytest.fixture(scope="module")
def by_scan(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Labels of scans only: of the subdural label both kinds, of the epidural one negatives, of others nothing."""
    given = [Given(slices=6, scan=POSITIVE if i % 2 else NEGATIVE) for i in range(4)]
    return store_of(tmp_path_factory.mktemp("by_scan"), given)


OURS = ("jax", "logging", "signals")


def state_of_the_process() -> dict[str, object]:
    loggers = [logging.getLogger(name) for name in ("", "absl", "jax", "orbax")]
    return {
        "jax": dict(jax.config.values),
        "logging": [(each.level, list(each.filters), list(each.handlers)) for each in loggers],
        "warnings": list(warnings.filters),
        "signals": {number: signal.getsignal(number) for number in signal.valid_signals()},
        "environment": dict(os.environ),
    }


@pytest.fixture(scope="module")
def told(by_scan) -> tuple[Path, str]:
    """The folder of a run of one step, trained with relative paths, and what the training said.

    Neither it nor opening the run changes the process.
    """
    folder, said = by_scan.path.parent, io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stderr(said):
        patch.setattr(process, "keep_freed_memory", lambda: pytest.fail("mallopt"))
        patch.chdir(folder)
        before = state_of_the_process()
        run_training(config_of("store"), "runs/one")
        # What libraries do to warnings and the environment when they are first imported is theirs.
        between = state_of_the_process()
        assert {name: between[name] for name in OURS} == {name: before[name] for name in OURS}
        Run.open("runs/one")
        assert state_of_the_process() == between
    return folder / "runs" / "one", said.getvalue()


def refused(store: Store, **objective) -> InputError:
    config = config_of(store, **objective)
    with pytest.raises(InputError) as error:
        run_training(config, store.path / "run", progress=False)
    assert not (store.path / "run").exists()
    return error.value


def test_the_training_says_what_it_knows_and_what_it_leaves_out(told):
    run, said = told
    rows = {
        line.split()[0]: line.split()[1:]
        for line in said.splitlines()
        if line.startswith("  ") and line.split()[:1] and line.split()[0] in LABELS
    }
    assert rows["subdural"] == rows["any"] == ["2", "2", "0", "0"]
    assert rows["epidural"] == ["0", "4", "0", "0"]
    assert "Not trained: epidural (known of 0 positive and 4 negative scans" in said
    assert "subarachnoid (nothing is known of it)" in said
    assert "give that many, evenly spaced." in said
    found = json.loads((run / LABELS_NAME).read_text())
    assert found["trained"] == {"slice": [], "scan": ["subdural", "any"]}
    assert found["counts"]["any"] == {
        "positive_scans": 2, "negative_scans": 2, "positive_slices": 0, "negative_slices": 0
    }  # fmt: skip


def test_an_opened_run_has_the_losses_that_it_was_trained_with(told, tmp_path):
    run, _ = told
    objective = Run.open(run).objective
    assert (objective.slice_labels, objective.scan_labels) == ((), ("subdural", "any"))
    for text in ("", "[]", '{"trained": {"slice": [], "scan": ["ich"]}}', '{"trained": {"slice": 1, "scan": 2}}'):
        (tmp_path / LABELS_NAME).write_text(text)
        with pytest.raises(InputError, match=r"labels\.json[:,] .*the file is damaged"), unchecked():
            as_trained(replace(objective, scan_labels=LABELS), tmp_path)


def test_nothing_is_known_of_any_label(tmp_path):
    store = store_of(tmp_path, [Given(slices=3), Given(slices=3)])
    error = refused(store)
    assert "no label of any scan or slice is known in the split 'train'" in str(error)
    assert "--labels" in error.fix
    # What needs no labels goes on.
    config = config_of(store, name="mae")
    objective, known = for_known_labels(build_objective(config), config, store)
    assert objective == build_objective(config)
    assert known is None


@pytest.mark.parametrize(("labels", "words"), [(NEGATIVE, "0 positive and 2 negative scans"), (POSITIVE, "2 positive")])
def test_scans_of_one_kind_alone_teach_nothing(tmp_path, labels, words):
    """All would be answered alike with a loss of 0."""
    store = store_of(tmp_path, [Given(slices=3, scan={"any": labels["any"]}) for _ in range(2)])
    error = refused(store)
    assert "any (known of " in str(error)
    assert words in str(error)
    assert error.fix == "add labelled scans: training needs positives and negatives"


def test_a_label_that_is_asked_for_needs_both(by_scan):
    error = refused(by_scan, labels=("epidural", "subdural", "any"))
    assert error.where == "--objective.labels"
    assert "epidural (known of 0 positive and 4 negative scans, 0 positive and 0 negative slices)" in str(error)
    assert "--objective.labels subdural any" in error.fix
    assert "nothing is known of it" in str(refused(by_scan, labels=("subarachnoid",)))


def test_labels_of_scans_without_a_weight_teach_nothing(by_scan):
    assert "any (known of 2 positive" in str(refused(by_scan, scan_weight=0.0))


def test_a_named_label_is_trained_alone(by_scan):
    config = config_of(by_scan, labels=("any",))
    objective, known = for_known_labels(build_objective(config), config, by_scan)
    assert objective.scan_labels == ("any",)
    assert objective.slice_labels == ()
    assert "Not trained: epidural" in format_labels(known, objective)


def test_the_log_odds_are_measured_where_the_loss_needs_them(by_scan):
    config = config_of(by_scan, loss="logit_adjusted")
    objective, known = for_known_labels(build_objective(config), config, by_scan)
    count = known.counts["any"]
    expected = np.log(count.positive_scans / count.negative_scans)
    assert objective.scan_statistics.log_odds[LABELS.index("any")] == pytest.approx(expected)
    assert objective.slice_statistics.log_odds == (0.0,) * 6  # no slice is known
    plain = config_of(by_scan)
    assert for_known_labels(build_objective(plain), plain, by_scan)[0].scan_statistics is None


def test_a_label_that_the_store_does_not_have_is_refused(by_scan):
    error = refused(by_scan, labels=("stroke",))
    assert error.where == "--objective.labels"
    assert "there is no label 'stroke'" in str(error)


def test_a_level_of_one_kind_alone_has_no_loss(tmp_path):
    """Slices of negative scans alone would teach the slices' own layer to say no to everything."""
    given = [
        Given(slices=3, scan={"any": 1.0}, by_slice={"any": [np.nan] * 3}),
        Given(slices=3, scan={"any": 0.0}, by_slice={"any": [0.0] * 3}),
    ]
    store = store_of(tmp_path, given)
    config = config_of(store)
    objective, _ = for_known_labels(build_objective(config), config, store)
    assert (objective.slice_labels, objective.scan_labels) == ((), ("any",))


class Constant(nn.Module):
    @nn.compact
    def __call__(self, x, slice_mask, spacing_mm, train):
        logits = self.param("logits", nn.initializers.normal(), (2, 6))
        slice_logits = jnp.broadcast_to(logits[:1, None], (*x.shape[:2], 6))
        return Prediction(slice_logits=slice_logits, scan_logits=jnp.broadcast_to(logits[1:], (len(x), 6)), features={})


@pytest.mark.slow
def test_labels_without_a_loss_change_nothing():
    every = Classification(model=Constant(), windows=(WINDOWS["brain"],))
    some = replace(every, slice_labels=(), scan_labels=("subdural", "any"))
    batch = Batch(
        hu=jnp.zeros((2, 3, 4, 4), jnp.int16),
        slice_mask=jnp.ones((2, 3), bool),
        spacing_mm=jnp.ones((2, 3)),
        slice_labels=jnp.zeros((2, 3, 6)),
        scan_labels=jnp.asarray([[0.0, 0, 0, 0, 0, 0], [np.nan, 0, 0, 0, 1, 1]]),
        weight=jnp.ones(2),
        row=jnp.zeros(2, jnp.int32),
    )
    params = every.init(jax.random.key(0), batch)["params"]
    nothing = jnp.full_like(batch.slice_labels, jnp.nan)
    only = jnp.asarray([label in ("subdural", "any") for label in LABELS])
    wanted = batch._replace(slice_labels=nothing, scan_labels=jnp.where(only[None], batch.scan_labels, jnp.nan))
    found = some.loss(params, batch, jax.random.key(0), False)
    jax.tree.map(np.testing.assert_array_equal, found, every.loss(params, wanted, jax.random.key(0), False))
    assert float(found[1]) == 2


def test_a_run_finds_its_store_from_any_folder_and_after_a_move(told, tmp_path, monkeypatch):
    run, _ = told
    store = run.parents[1] / "store"
    monkeypatch.chdir(tmp_path)
    assert training_store(str(run)).samefile(store)
    assert Run.open(run).config.data.store == str(store)
    assert json.loads((run / "config.json").read_text())["data"]["store"] == "../../store"
    assert read_facts(run / "run.json")["store_from_run"] == "../../store"
    moved = tmp_path / "elsewhere"
    os.rename(run.parents[1], moved)
    try:
        assert training_store(moved / "runs" / "one").samefile(moved / "store")
        # As runs used to keep a relative path: it was relative to a folder above the run.
        text = (moved / "runs/one/config.json").read_text()
        old = moved / "runs" / "old"
        old.mkdir()
        (old / "config.json").write_text(text.replace(json.dumps("../../store"), '"store"'))
        facts = read_facts(moved / "runs/one/run.json")
        del facts["store_from_run"]
        (old / "run.json").write_text(json.dumps(facts))
        assert training_store(old).samefile(moved / "store")
        (moved / "store").rename(moved / "gone")
        with pytest.raises(InputError, match=r"is not there; name the folder it is in now \(--store\)"):
            training_store(moved / "runs" / "one")
        (moved / "gone").rename(moved / "store")
    finally:
        os.rename(moved, run.parents[1])


def test_the_command_line_sets_up_its_own_process(monkeypatch):
    kept = []
    monkeypatch.setattr(process, "keep_memory_of_steps", lambda: kept.append(True))
    absl = logging.getLogger("absl")
    monkeypatch.setattr(absl, "filters", [])
    printed = []
    monkeypatch.setattr(sys, "unraisablehook", lambda said: printed.append(str(said.exc_value)))
    process.own_process()
    assert kept == [True]
    record = logging.LogRecord("absl", logging.ERROR, "/x/orbax/checkpoint/a.py", 1, "failed", None, (None, None, None))
    assert not absl.filter(record)
    record.exc_info = None
    assert absl.filter(record)
    closed = "Event loop is closed"
    for text, of in ((closed, None), (closed, print), ("another", None)):
        sys.unraisablehook(SimpleNamespace(exc_value=RuntimeError(text), object=of))
    assert printed == [closed, "another"]
