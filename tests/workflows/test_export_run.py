"""A run as a few files to pass on: what it scores, what it leaves out, and what is refused."""

import json

import numpy as np
import pytest
import safetensors.numpy

from ichformer.errors import InputError
from ichformer.evaluation.thresholds import RULES
from ichformer.inference.scoring import score
from ichformer.inference.trained import open_trained
from ichformer.pipeline.store.records import Store
from ichformer.training.runs.portable import WEIGHTS_NAME
from ichformer.workflows.exports.export_run import export_run
from ichformer.workflows.parts.frozen import read_frozen


@pytest.fixture(scope="module")
def exported(tiny_run, tiny_store, tmp_path_factory):
    store = Store.open(tiny_store)
    folder = tmp_path_factory.mktemp("exported") / "run"
    return export_run(open_trained(tiny_run), folder, store=store, rules=RULES[::-1])


def test_it_scores_as_the_run_does(exported, tiny_run, tiny_store, tmp_path):
    """To the bit as float32; as float16 within what rounding does."""
    run, store = open_trained(tiny_run), Store.open(tiny_store)
    volume = store.read(0).volume
    expected = score(run.objective, run.variables, volume)[1]
    exact = export_run(run, tmp_path / "exact", dtype="float32")
    np.testing.assert_array_equal(score(exact.objective, exact.variables, volume)[1], expected)
    np.testing.assert_allclose(score(exported.objective, exported.variables, volume)[1], expected, atol=2e-3)
    assert (exact.step, exact.fingerprint) == (run.step, run.fingerprint)
    assert exported.fingerprint != run.fingerprint


def test_its_thresholds_are_its_own(exported, tmp_path, tiny_run):
    frozen = read_frozen(exported)
    assert frozen is not None
    assert frozen.thresholds.model == exported.fingerprint
    assert [one.rule for one in frozen.thresholds.of("scan", "any")] == [rule.name for rule in RULES[::-1]]
    assert read_frozen(export_run(open_trained(tiny_run), tmp_path / "without")) is None


def test_it_says_nothing_of_the_machine(exported, tiny_store):
    text = "".join((exported.path / name).read_text() for name in ("config.json", "run.json"))
    assert str(tiny_store.parent) not in text
    assert json.loads((exported.path / "config.json").read_text())["data"]["store"] == ""
    assert not {"checkpoints", "metrics.jsonl", "tensorboard"} & {file.name for file in exported.path.iterdir()}


def test_what_cannot_be_exported(tiny_run, exported, tmp_path):
    with pytest.raises(InputError, match="rules: found none; give one or more"):
        export_run(open_trained(tiny_run), tmp_path / "new", rules=())
    assert not (tmp_path / "new").exists()
    with pytest.raises(InputError, match="is there and is not an empty folder; name a new folder"):
        export_run(open_trained(tiny_run), exported.path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda found: found | {"more": np.zeros(1, np.float32)}, "is of another model: more is in one of them only"),
        (lambda found: {name: value * np.float16(np.nan) for name, value in found.items()}, "finite numbers"),
        (lambda found: {name: value[None] for name, value in found.items()}, "finite numbers"),
        (lambda found: found, "does not say after how many steps"),
    ],
    ids=["other names", "no numbers", "other shapes", "no steps"],
)
def test_damaged_weights_are_refused(exported, tmp_path, change, said):
    for name in ("config.json", "run.json"):
        (tmp_path / name).write_bytes((exported.path / name).read_bytes())
    found = safetensors.numpy.load_file(exported.path / WEIGHTS_NAME)
    safetensors.numpy.save_file(change(found), tmp_path / WEIGHTS_NAME)
    with pytest.raises(InputError, match=said):
        open_trained(tmp_path)
