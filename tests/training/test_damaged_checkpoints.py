"""Damaged checkpoints: a flipped bit is found, one line says so, and the one before is taken. Without a training."""

import json
import os
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest

from ichformer.errors import InputError
from ichformer.training.checkpoints.checkpoint import Checkpoints
from ichformer.training.checkpoints.files import CHECKSUMS_NAME, steps_in
from tests.training.test_recovery import state_of


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoints of steps 2, 4 and 6, of which 4 is the best and 6 was not evaluated."""
    folder = tmp_path_factory.mktemp("whole") / "checkpoints"
    checkpoints = Checkpoints(folder, every=2, keep=3)
    for step, loss in ((2, 0.5), (4, 0.25), (6, None)):
        checkpoints.save(step, state_of(step), metrics=None if loss is None else {"val_loss": loss})
    checkpoints.close()
    return folder


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    shutil.copytree(whole, tmp_path / "run" / "checkpoints")
    return tmp_path / "run" / "checkpoints"


def opened(folder: Path) -> tuple[int, float]:
    """The step that whoever evaluates takes, and its parameter."""
    checkpoints = Checkpoints(folder)
    found, step = checkpoints.restore_params(jax.eval_shape(lambda: state_of(0)))
    checkpoints.close()
    return step, float(found.params["w"][0])


def resumed(folder: Path) -> tuple[int, float]:
    """The step that a training goes on from, and its parameter."""
    checkpoints = Checkpoints(folder, every=2, keep=3)
    try:
        found = checkpoints.restore(state_of(0))
    finally:
        checkpoints.close()
    return int(found.step), float(found.params["w"][0])


def files(checkpoint: Path) -> list[Path]:
    return sorted(path for path in checkpoint.rglob("*") if path.is_file())


def test_whole_checkpoints_are_sealed_and_read(folder):
    for step in (2, 4, 6):
        names = json.loads((folder / str(step) / CHECKSUMS_NAME).read_text())["sha256"]
        assert names.keys() == {
            path.relative_to(folder / str(step)).as_posix()
            for path in files(folder / str(step))
            if path.name != CHECKSUMS_NAME
        }
    assert opened(folder) == (4, 4.0)
    assert resumed(folder) == (6, 6.0)


def test_a_checkpoint_that_is_saved_again_is_sealed_anew(folder):
    checkpoints = Checkpoints(folder, every=2, keep=3)
    checkpoints.save(6, state_of(7), force=True)
    checkpoints.close()
    assert resumed(folder) == (7, 7.0)


def test_a_flipped_bit_in_any_file_is_found(folder, capsys):
    """Orbax itself finds none of them in the arrays."""
    random = np.random.default_rng(0)
    for path in files(folder / "4"):
        data = path.read_bytes()
        flipped = bytearray(data)
        flipped[int(random.integers(len(data)))] ^= 1 << int(random.integers(8))
        path.write_bytes(flipped)
        assert opened(folder) in ((2, 2.0), (6, 6.0))
        said = capsys.readouterr().err.splitlines()
        assert said
        assert all("the checkpoint of step 4 cannot be read" in line for line in said)
        path.write_bytes(data)
    assert opened(folder) == (4, 4.0)


def test_a_training_goes_on_from_the_one_before(folder, capsys):
    arrays = max(files(folder / "6"), key=lambda path: path.stat().st_size)
    data = bytearray(arrays.read_bytes())
    data[len(data) // 2] ^= 1
    arrays.write_bytes(data)
    assert resumed(folder) == (4, 4.0)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("the checkpoint of step 6 cannot be read")
    assert "is not as it was written" in line
    assert steps_in(folder.parent / "damaged") == [6]
    # Once more, and the one that was put aside stays.
    checkpoints = Checkpoints(folder, every=2, keep=3)
    checkpoints.save(6, state_of(6), force=True)
    checkpoints.close()
    arrays.parent.mkdir(exist_ok=True)
    (folder / "6" / CHECKSUMS_NAME).write_text("{}")
    assert resumed(folder) == (4, 4.0)
    assert {path.name for path in (folder.parent / "damaged").iterdir()} == {"6", "6-2"}


def test_checkpoints_of_an_earlier_version_have_no_checksums_and_are_read(folder):
    for path in folder.glob(f"*/{CHECKSUMS_NAME}"):
        path.unlink()
    assert opened(folder) == (4, 4.0)
    assert resumed(folder) == (6, 6.0)


HOSTILE = [
    "",
    "[]",
    "null",
    "5",
    '"x"',
    "[" * 50_000,
    '{"a":' * 50_000,
    "9" * 10_000,
    '{"a": ' + "9" * 10_000 + "}",
    "\udcff",
]
METADATA = [
    *HOSTILE,
    '{"item_handlers": 5}',
    '{"metrics": 5}',
    '{"init_timestamp_nsecs": "x"}',
    '{"commit_timestamp_nsecs": 1e300}',
    '{"custom_metadata": []}',
    '{"performance_metrics": [1]}',
]
METRICS = [*HOSTILE, '{"other": 1}', '{"val_loss": "x"}', '{"val_loss": null}', '{"val_loss": [1]}']


@pytest.mark.slow
@pytest.mark.parametrize(("name", "texts"), [("_CHECKPOINT_METADATA", METADATA), ("metrics/metrics", METRICS)])
def test_hostile_json_of_orbax_is_one_line(folder, name, texts, capsys):
    """Without checksums, as a stranger would send it. The others can be read, and a training goes on."""
    (folder / "4" / CHECKSUMS_NAME).unlink()
    for text in texts:
        (folder / "4" / name).write_text(text, errors="surrogateescape")
        assert opened(folder) in ((2, 2.0), (6, 6.0))
        said = capsys.readouterr().err.splitlines()
        assert said
        assert all(line.startswith("the checkpoint of step 4 cannot be read") for line in said), said
    assert resumed(folder) == (6, 6.0)
    assert steps_in(folder.parent / "damaged") == [4]
    assert "the checkpoint of step 4 cannot be read" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(("name", "text"), [("state/_METADATA", "[" * 50_000), ("state/manifest.ocdbt", "")])
def test_what_orbax_says_in_its_threads_is_not_repeated(folder, name, text, capsys):
    (folder / "4" / CHECKSUMS_NAME).unlink()
    (folder / "4" / name).write_text(text)
    assert opened(folder) == (6, 6.0)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("the checkpoint of step 4 cannot be read")


def test_checksums_do_not_lead_out_of_the_folder(folder, capsys):
    (folder / "4" / CHECKSUMS_NAME).write_text(json.dumps({"sha256": {"../6/_CHECKPOINT_METADATA": "0" * 64}}))
    assert opened(folder) == (6, 6.0)
    assert "_CHECKPOINT_METADATA: is missing" in capsys.readouterr().err


def test_a_pipe_among_the_files_is_not_waited_for(folder, capsys):
    os.mkfifo(folder / "4" / "state" / "pipe")
    assert opened(folder) == (6, 6.0)
    assert "is no regular file" in capsys.readouterr().err


def test_where_none_can_be_listed_nothing_is_put_aside(folder):
    for step in (2, 4, 6):
        (folder / str(step) / "_CHECKPOINT_METADATA").write_text("[]")
    with pytest.raises(InputError, match="no checkpoint can be read"):
        resumed(folder)
    assert steps_in(folder) == [2, 4, 6]
    with pytest.raises(InputError, match="no checkpoint can be read"):
        opened(folder)
