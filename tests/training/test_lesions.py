"""Lesion heads in training: from masks to a run whose maps lie on the voxels of a scan."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ichformer import LABELS
from ichformer.errors import InputError
from ichformer.inference.ensembles import assemble
from ichformer.inference.lesions import lesion_map
from ichformer.inference.scoring import score_with_lesions
from ichformer.objectives.config import ObjectiveConfig
from ichformer.pipeline.batch import Batch
from ichformer.pipeline.store.records import Store
from ichformer.training.build import build_objective
from ichformer.training.config import ModelConfig, ParallelConfig
from ichformer.training.labels import for_known_labels
from ichformer.training.runs.run import Run
from ichformer.training.sharding.parallel import compile_step, make_mesh, place, shard_batch
from ichformer.training.state import create_state
from ichformer.training.step import train_step
from ichformer.training.trainer import run_training
from tests.shared import tiny_training

LESIONS = {
    "model": ModelConfig(name="cnn2d_nano", lesions=True),
    "objective": ObjectiveConfig(windows=("brain",), lesion_weight=1.0),
}


def batch_of(scans: int = 8) -> Batch:
    rng = np.random.default_rng(0)
    batch = Batch(
        hu=rng.integers(-100, 200, (scans, 2, 32, 32)).astype(np.int16),
        slice_mask=np.arange(2) < rng.integers(1, 3, (scans, 1)),
        spacing_mm=rng.uniform(1, 5, (scans, 3)).astype(np.float32),
        slice_labels=rng.choice(np.float32([0, 1, np.nan]), (scans, 2, 6)),
        scan_labels=rng.choice(np.float32([0, 1, np.nan]), (scans, 6)),
        weight=(np.arange(scans) != 3).astype(np.float32),
        row=np.arange(scans, dtype=np.int32),
        lesions=rng.choice(np.uint8([0, 0, 0, 1, 5, 254, 255]), (scans, 2, 32, 32)),
    )
    batch.lesions[4] = 255
    return batch


@pytest.mark.full
def test_every_layout_has_the_same_loss_and_gradient(tiny_store):
    # Neighbours are dropped at random, the same for a scan whatever the layout.
    of_neighbours = dataclasses.replace(LESIONS["objective"], neighbours=1, neighbour_dropout=0.5)
    config = dataclasses.replace(tiny_training(tiny_store), **LESIONS | {"objective": of_neighbours})
    objective = build_objective(config)
    batch, sgd = batch_of(), optax.sgd(1.0)
    one = jax.tree.map(jnp.asarray, jax.tree.map(lambda x: x[:1], batch))
    params = jax.device_get(objective.init(jax.random.key(0), one)["params"])
    found = []
    layouts = (ParallelConfig(data=1), ParallelConfig(data=4, accumulate=2), ParallelConfig(mode="pmap"))
    for layout in layouts:
        mesh = make_mesh(layout)
        state = place(create_state(jax.tree.map(jnp.asarray, params), sgd, ema=False), mesh)
        step = functools.partial(
            train_step, objective=objective, optimizer=sgd, ema_decay=0.0, accumulate=layout.accumulate
        )
        state, metrics = compile_step(step, state, mesh, mode=layout.mode)(
            state, shard_batch(batch, mesh), jax.random.key(1)
        )
        found.append(jax.device_get((state.params, metrics)))
    for other in found[1:]:
        jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=0, atol=1e-5), found[0], other)
    assert found[0][1]["lesion_loss"] > 0.1


@pytest.mark.slow
def test_a_training_leads_to_maps_on_the_voxels_of_a_scan(tiny_store, tmp_path):
    config = dataclasses.replace(tiny_training(tiny_store), steps=2, **LESIONS)
    last = run_training(config, tmp_path / "run", progress=False)
    assert last.keys() >= {"lesion_loss", "val_lesion_loss"}
    run, store = Run.open(tmp_path / "run"), Store.open(tiny_store)
    rows = store.rows("train")
    shown = tuple(name for name in LABELS if (store.index[name].iloc[rows] == 1).any())
    assert run.trained_outputs is not None
    assert run.trained_outputs.lesion == run.objective.labels_with_lesion_loss == shown

    prepared = store.read(int(rows[0])).volume
    maps = score_with_lesions(run.objective, run.variables, prepared)[3]
    on_voxels = lesion_map(run.objective, run.variables, prepared, prepared)
    assert on_voxels.shape == (*prepared.hu.shape, len(LABELS))
    given = [name in shown for name in LABELS]
    assert np.isfinite(on_voxels[..., given]).all()
    assert np.isnan(on_voxels[..., np.logical_not(given)]).all()
    rows, columns = maps.shape[1:3]
    fine = maps[..., given].repeat(on_voxels.shape[1] // rows, 1).repeat(on_voxels.shape[2] // columns, 2)
    assert np.abs(fine - on_voxels[..., given]).mean() < 0.02  # the same places, but for the interpolation

    both = assemble([run], [1.0], ("plain", "flip"), tmp_path / "both")
    mirrored = dataclasses.replace(prepared, hu=np.ascontiguousarray(prepared.hu[:, :, ::-1]))
    flipped = score_with_lesions(run.objective, run.variables, mirrored)[3][:, :, ::-1]
    logits = [np.log(p / (1 - p)) for p in (maps[..., given], flipped[..., given])]
    found = score_with_lesions(both.objective, both.variables, prepared)[3]
    np.testing.assert_allclose(found[..., given], 1 / (1 + np.exp(-np.mean(logits, 0))), atol=1e-5)


def test_a_head_and_its_loss_belong_together(tiny_store):
    config = dataclasses.replace(tiny_training(tiny_store), **LESIONS)
    with pytest.raises(InputError, match=r"no lesion head to train; add --model\.lesions"):
        build_objective(dataclasses.replace(config, model=ModelConfig(name="cnn2d_nano")))
    with pytest.raises(InputError, match="a lesion head without a loss; give a weight, such as 1"):
        build_objective(dataclasses.replace(config, objective=ObjectiveConfig()))


def test_masks_have_to_show_a_lesion(tiny_store):
    config = dataclasses.replace(tiny_training(tiny_store), **LESIONS)
    store = Store.open(tiny_store)
    without = Store(path=store.path, config=store.config, index=store.index.assign(has_mask=False))
    with pytest.raises(
        InputError, match=r"no mask and no box shows a lesion in the split 'train'; leave it and --model\.lesions"
    ):
        for_known_labels(build_objective(config), config, without)
