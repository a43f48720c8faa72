"""The folder of an ensemble: written whole, read back as it was, and one line for what does not fit."""

import dataclasses
import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pandas as pd
import pytest

from ichformer.errors import InputError
from ichformer.inference.ensemble_folder import write_ensemble
from ichformer.inference.ensembles import assemble
from ichformer.inference.trained import open_trained, training_store
from ichformer.pipeline.preparation.config import PrepareConfig
from ichformer.training.build import build_objective
from ichformer.training.config import DataConfig, ModelConfig, TrainConfig
from ichformer.training.runs.run import SEEN_COLUMNS, Run, initial_state, note_scans, seen_scans

CONFIG = TrainConfig(data=DataConfig(store="stores/phantom"), model=ModelConfig(name="hybrid_nano"))
PREPARE = PrepareConfig(size=32)


def run_in(path: Path, seed: int) -> Run:
    """A run as it is when it was opened, with parameters that nobody trained."""
    path.mkdir()
    note_scans(
        path, pd.DataFrame([[f"set{seed}", "p", "s", f"series{seed}", "", "header", ""]], columns=list(SEEN_COLUMNS))
    )
    objective, rng = build_objective(CONFIG), np.random.default_rng(seed)
    shapes = jax.eval_shape(lambda: initial_state(objective, CONFIG, PREPARE.size)).params
    return Run(
        path=path,
        config=CONFIG,
        prepare=PREPARE,
        objective=objective,
        params=jax.tree.map(lambda shape: rng.normal(size=shape.shape).astype(np.float32), shapes),
        step=seed,
        facts={"prepare": dataclasses.asdict(PREPARE), "commit": f"c{seed}"},
    )


@pytest.fixture
def runs(tmp_path: Path) -> list[Run]:
    return [run_in(tmp_path / f"run{seed}", seed) for seed in (3, 4)]


@pytest.fixture
def written(runs, tmp_path) -> Path:
    store = tmp_path / CONFIG.data.store  # a relative path: it is looked for in the folders above the runs
    store.mkdir(parents=True)
    (store / "index.json").touch()
    write_ensemble(assemble(runs, [0.25, 0.75], ("plain", "flip"), tmp_path / "new"), {"said": 1})
    return tmp_path / "new"


def test_it_is_read_as_it_was_written_and_needs_its_runs_no_more(runs, written, tmp_path):
    for run in runs:
        shutil.rmtree(run.path)
    written.rename(tmp_path / "moved")
    found = open_trained(tmp_path / "moved")
    assert found.weights == (0.25, 0.75)
    assert found.views == ("plain", "flip")
    assert found.prepare == PREPARE
    assert found.name == "ensemble of 0.25 hybrid_nano + 0.75 hybrid_nano, views plain, flip"
    here = str((tmp_path / CONFIG.data.store).resolve())  # each member tells the way from its own folder
    told = dataclasses.replace(CONFIG, data=dataclasses.replace(CONFIG.data, store=here))
    assert [(member.step, member.config, member.facts["commit"]) for member in found.members] == [
        (3, told, "c3"),
        (4, told, "c4"),
    ]
    assert str(tmp_path) not in (tmp_path / "moved" / "member-00" / "config.json").read_text()
    jax.tree.map(
        lambda stacked, a, b: np.testing.assert_array_equal(stacked, np.stack([a, b])),
        found.params["group0"],
        *(run.params for run in runs),
    )
    assert list(seen_scans(tmp_path / "moved")["series"]) == ["series3", "series4"]
    assert training_store(str(tmp_path / "moved")).samefile(tmp_path / "stores" / "phantom")
    (tmp_path / "stores" / "phantom" / "index.json").unlink()
    with pytest.raises(InputError, match=r"stores/phantom: the store .* is not there; .* \(--store\)"):
        training_store(tmp_path / "moved")
    assert {path.name for path in (tmp_path / "moved").iterdir()} == {
        "ensemble.json", "seen.csv", "member-00", "member-01"
    }  # fmt: skip


def test_members_of_other_windows_and_neighbours_get_their_own_input(runs, tmp_path):
    run = runs[0]
    objective = dataclasses.replace(run.objective, windows=run.objective.windows[1:2], neighbours=1)
    other = dataclasses.replace(run, objective=objective, step=9)
    found = assemble([run, other, runs[1]], [0.5, 0.2, 0.3], ("plain",), tmp_path)
    assert found.objective.windows == run.objective.windows
    assert found.objective.neighbours == 1
    groups = found.objective.model.groups
    assert [group.channels for group in groups] == [((3, 4, 5),), ((1,), (4,), (7,))]
    # Members of one group stand together, and their weights with them.
    assert [group.weights for group in groups] == [(0.5, 0.3), (0.2,)]
    assert [member.step for member in found.members] == [3, 4, 9]
    assert found.weights == (0.5, 0.3, 0.2)


def test_members_that_do_not_go_together_are_refused(runs, tmp_path):
    other = dataclasses.replace(runs[1], prepare=PrepareConfig(size=64, keep="brain"))
    with pytest.raises(InputError, match=r"otherwise than .*: size 64, not 32, keep brain, not head"):
        assemble([runs[0], other], [0.5, 0.5], ("plain",), tmp_path)
    with pytest.raises(InputError, match=r"never saw .* 'reverse' in training.*reverse-slices"):
        assemble(runs, [0.5, 0.5], ("plain", "reverse"), tmp_path)


def test_nothing_is_written_over_and_nothing_without_the_list_of_scans(runs, written, tmp_path):
    with pytest.raises(InputError, match="is there already"):
        write_ensemble(assemble(runs, [0.5, 0.5], ("plain",), written), {})
    (runs[0].path / "seen.csv").unlink()
    with pytest.raises(InputError, match="keeps no list of the scans"):
        write_ensemble(assemble(runs, [0.5, 0.5], ("plain",), tmp_path / "other"), {})
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"version": 2}, "layout version 2"), ({"views": ["sideways"]}, "is damaged"), ({"members": []}, "is damaged"),
     ({"members": [{"step": 1, "weight": None}]}, "is damaged")],
)  # fmt: skip
def test_a_damaged_file_is_one_line(written, changes, said):
    values = json.loads((written / "ensemble.json").read_text())
    (written / "ensemble.json").write_text(json.dumps(values | changes))
    with pytest.raises(InputError, match=said):
        open_trained(written)


def test_a_flipped_bit_in_the_parameters_is_found(written):
    """Checksums were not written by earlier versions, whose ensembles are read as before."""
    file, data = written / "ensemble.json", json.loads((written / "ensemble.json").read_text())
    params = written / "member-01" / "params.safetensors"
    whole = params.read_bytes()
    params.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(InputError, match=r"params\.safetensors: is not as it was written"):
        open_trained(written)
    for member in data["members"]:
        del member["sha256"]
    file.write_text(json.dumps(data))
    params.write_bytes(whole)
    assert open_trained(written).weights == (0.25, 0.75)


def test_members_that_are_lost_or_of_another_model_are_one_line(written):
    config = json.loads((written / "member-01" / "config.json").read_text())
    config["model"]["name"] = "hybrid_ti"
    (written / "member-01" / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=r"does not fit the config\.json beside it"):
        open_trained(written)
    (written / "member-01" / "params.safetensors").unlink()
    with pytest.raises(InputError, match="cannot be read"):
        open_trained(written)
