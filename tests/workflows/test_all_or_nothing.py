"""An evaluation writes all of its files or none, and never over what it reads or beside those of another."""

import csv
import io
import subprocess
import sys
import threading
import unicodedata

import numpy as np
import pytest

from ichformer.errors import InputError
from ichformer.evaluation.summary import format_summary
from ichformer.evaluation.tables.files import read_predictions
from ichformer.files.csv_fields import FORMULA_SIGNS, is_number
from ichformer.files.lease import hold
from ichformer.reporting.evaluation import folder
from ichformer.reporting.evaluation.folder import FILES
from ichformer.workflows.evaluate_table import evaluate
from tests.evaluation.tables import prediction_table, write_predictions

ANY = ("any",)
HOSTILE = ("=cmd|'/c calc'!A1", "\x1b]0;x\x07", "\u202eevil", "@x\r\ny", "\uff0bz", "'-1+2")


def table_of(seed, **columns):
    return prediction_table(n_patients=30, n_slices=1, prevalence=0.4, seed=seed).assign(**columns)


def there(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture(autouse=True, scope="module")
def _without_plots():
    """They take most of the time, and what is tested is the same without them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ichformer.reporting.evaluation.page.level_plots", lambda *_: ())
        yield


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    out = tmp_path_factory.mktemp("old") / "out"
    evaluate(table_of(0), out=out, labels=ANY, replicates=2)
    return there(out)


@pytest.fixture
def out(old, tmp_path):
    (tmp_path / "out").mkdir()
    for name, data in old.items():
        (tmp_path / "out" / name).write_bytes(data)
    return tmp_path / "out"


def test_a_refusal_leaves_the_evaluation_that_is_there(out, old):
    number = np.arange(30)
    for weights in (np.where(number % 2, 1e308, 1e-308), np.where(number % 2, 1.0, -1e-320), np.zeros(30)):
        with pytest.raises(InputError, match="column weight"):
            evaluate(table_of(1, weight=weights), out=out, labels=ANY, replicates=2)
    assert there(out) == old


@pytest.mark.parametrize("part", ["render_page", "model_card", "claim", "predictions_csv", "json_bytes"])
def test_a_fault_of_ours_leaves_the_evaluation_that_is_there(out, old, monkeypatch, part):
    def fault(*_args, **_kwargs):
        raise RuntimeError(part)

    monkeypatch.setattr(folder, part, fault)
    with pytest.raises(RuntimeError, match=part):
        evaluate(table_of(1), out=out, labels=ANY, replicates=2)
    assert there(out) == old


def test_weights_of_any_size_are_evaluated_whole(out):
    evaluate(table_of(1, weight=np.linspace(1e307, 1e308, 30)), out=out, labels=ANY, replicates=2)
    assert set(there(out)) == set(FILES)


@pytest.mark.slow
def test_two_evaluations_at_once_leave_the_files_of_one(out):
    """The one that finds another at work is refused in one line, or comes after it."""
    alone = {}
    for seed in (1, 2):
        evaluate(table_of(seed), out=out, labels=ANY, replicates=2)
        alone[seed] = there(out)
    refused = []

    def run(seed):
        try:
            evaluate(table_of(seed), out=out, labels=ANY, replicates=2)
        except InputError as error:
            refused.append(str(error))

    threads = [threading.Thread(target=run, args=(seed,)) for seed in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert there(out) in alone.values()
    assert len(refused) < 2
    with hold(out, what="evaluation"), pytest.raises(InputError, match=r"another evaluation .* works there"):
        evaluate(table_of(1), out=out, labels=ANY, replicates=2)


KILLED = """
import os, signal, sys
from pathlib import Path
from ichformer.reporting.evaluation import page
from ichformer.workflows.evaluate_table import evaluate
from tests.workflows.test_all_or_nothing import ANY, table_of
original, moved = os.replace, []
def replace(source, target):
    if ".lease" not in str(source):
        moved.append(target)
        if len(moved) == 3:
            os.kill(os.getpid(), signal.SIGKILL)
    return original(source, target)
os.replace = replace
page.level_plots = lambda *_: ()
evaluate(table_of(1), out=Path(sys.argv[1]), labels=ANY, replicates=2)
"""


@pytest.mark.slow
def test_a_killed_evaluation_leaves_no_page_beside_the_predictions_of_another(out, old):
    assert subprocess.run([sys.executable, "-c", KILLED, str(out)], check=False).returncode == -9
    found = {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}
    assert found.keys() & set(FILES) == {"predictions.csv", "evaluation.html"}  # both new; "metrics.json" comes last
    assert not [name for name in found if name in FILES and found[name] == old[name]]
    evaluate(table_of(2), out=out, labels=ANY, replicates=2)
    after = there(out)
    assert set(after) == set(FILES)
    evaluate(table_of(2), out=out, labels=ANY, replicates=2)
    assert there(out) == after


def test_what_is_read_is_never_replaced(tmp_path):
    both = table_of(0, split="test")
    path = write_predictions(both, tmp_path / "predictions.csv", labels=ANY)
    before = path.read_bytes()
    with pytest.raises(
        InputError, match=r"predictions\.csv: would be replaced by what is written; name another folder"
    ):
        evaluate(path, out=tmp_path, labels=ANY, replicates=2)
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(InputError, match="would be replaced"):
        evaluate(path, out=tmp_path / "link", labels=ANY, replicates=2)
    assert path.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["link", "predictions.csv"]


def test_thresholds_appear_with_the_evaluation_that_fixed_them(tmp_path):
    write_predictions(table_of(0), tmp_path / "p.csv", labels=ANY)
    write_predictions(prediction_table("val", n_patients=30, n_slices=1), tmp_path / "v.csv", labels=ANY)
    evaluate(tmp_path / "p.csv", out=tmp_path / "out", calibrate_on=tmp_path / "v.csv", labels=ANY, replicates=2)
    assert set(there(tmp_path / "out")) == {*FILES, "thresholds.json"}


def test_nothing_that_is_written_or_printed_holds_a_formula_or_a_control_character(tmp_path):
    number = np.arange(30)
    hostile = {
        name: np.array(HOSTILE, object)[number % len(HOSTILE)] for name in ("site", "group_x", "study", "series")
    }
    patients = [f"{HOSTILE[i % len(HOSTILE)]}{i}" for i in number]
    table = table_of(0, split=HOSTILE[1], patient=patients, **hostile)
    summary = evaluate(table, out=tmp_path / "out", labels=ANY, replicates=2)
    for name, data in there(tmp_path / "out").items():
        text = data.decode()
        assert not {c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp")} - {"\n"}, name
    rows = csv.reader(io.StringIO((tmp_path / "out" / "predictions.csv").read_text(encoding="utf-8"), newline=""))
    for field in (field for row in rows for field in row):
        assert field.strip()[:1] not in tuple(FORMULA_SIGNS) or is_number(field)
    assert read_predictions(tmp_path / "out" / "predictions.csv", labels=ANY).rows["patient"].tolist() == patients
    assert not {c for c in format_summary(summary) if unicodedata.category(c) in ("Cc", "Cf")} - {"\n"}
