"""Every layout of the devices computes the same training, and holds of it what it should."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ichformer.bench.collectives import collectives, reads
from ichformer.ct.windows import WINDOWS
from ichformer.errors import InputError
from ichformer.models.encoders.patch_encoder import PatchEncoder
from ichformer.models.families.slice_sequence import SliceSequence
from ichformer.objectives.classification import Classification
from ichformer.pipeline.batch import Batch
from ichformer.training.config import ParallelConfig
from ichformer.training.sharding.parallel import (
    check_batch_size,
    compile_step,
    create_sharded,
    make_mesh,
    place,
    shard_batch,
)
from ichformer.training.state import TrainState, create_state
from ichformer.training.step import train_step

STEPS, BATCH = 10, 16
OBJECTIVE = Classification(
    model=SliceSequence(PatchEncoder(16, width=64, depth=1, num_heads=2), context=None, scan_pool="max"),
    windows=(WINDOWS["brain"],),
)
# Plain SGD: an optimiser that normalises its updates would hide gradients that are too large by a factor.
SGD = optax.sgd(0.3)
LAYOUTS = {
    "fsdp 8": ParallelConfig(fsdp=8),
    "tensor 2, fsdp 2, data 2": ParallelConfig(data=2, fsdp=2, tensor=2),
    "pmap 8": ParallelConfig(mode="pmap"),
    "data 8": ParallelConfig(),
    "accumulate 8": ParallelConfig(data=1, accumulate=8),
    "fsdp 4, data 2, accumulate 2": ParallelConfig(fsdp=4, accumulate=2),
}
FAST = ("tensor 2, fsdp 2, data 2",)


def batch_of(step: int, count: int = BATCH) -> Batch:
    """Scans with labels that are partly unknown, so that every device has another weight."""
    rng = np.random.default_rng(step)
    labels = np.float32([0, 1, np.nan])
    return Batch(
        hu=rng.integers(-100, 200, (count, 2, 32, 32)).astype(np.int16),
        slice_mask=np.arange(2) < rng.integers(1, 3, (count, 1)),
        spacing_mm=rng.uniform(1, 5, (count, 3)).astype(np.float32),
        slice_labels=rng.choice(labels, (count, 2, 6)),
        scan_labels=rng.choice(labels, (count, 6)),
        weight=(np.arange(count) != 3).astype(np.float32),
        row=np.arange(count, dtype=np.int32),
    )


def first_state(optimizer: optax.GradientTransformation) -> TrainState:
    one = jax.tree.map(jnp.asarray, batch_of(0, 1))
    return create_state(OBJECTIVE.init(jax.random.key(0), one)["params"], optimizer, ema=True)


@functools.cache
def start() -> TrainState:
    return jax.device_get(create_sharded(functools.partial(first_state, SGD), make_mesh(ParallelConfig())))


def trained(config: ParallelConfig) -> tuple[list[float], TrainState]:
    mesh = make_mesh(config)
    state = place(jax.tree.map(jnp.asarray, start()), mesh)
    step = functools.partial(
        train_step, objective=OBJECTIVE, optimizer=SGD, ema_decay=0.9, accumulate=config.accumulate
    )
    compiled = compile_step(step, state, mesh, mode=config.mode)
    losses = []
    for i in range(STEPS):
        state, metrics = compiled(state, shard_batch(batch_of(i), mesh), jax.random.key(1))
        losses.append(float(metrics["loss"]))
    return losses, jax.device_get(state)


@functools.cache
def on_one_device() -> tuple[list[float], TrainState]:
    return trained(ParallelConfig(data=1))


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in FAST else pytest.mark.slow) for name in LAYOUTS]
)
def test_every_layout_trains_the_same(name):
    wanted_losses, wanted = on_one_device()
    losses, state = trained(LAYOUTS[name])
    np.testing.assert_allclose(losses, wanted_losses, rtol=0, atol=1e-5)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=0, atol=1e-5), state, wanted)
    # The comparison means something only where training went somewhere.
    assert max(losses) - min(losses) > 0.05
    moved = jax.tree.map(lambda a, b: float(np.abs(a - b).max()), state.params, start().params)
    assert np.mean(np.asarray(jax.tree.leaves(moved)) > 1e-4) > 0.9, moved


def test_fsdp_holds_a_sixth_at_most_and_gathers_no_optimiser_state():
    mesh = make_mesh(ParallelConfig(fsdp=8))
    adamw = optax.adamw(1e-3)
    state = create_sharded(functools.partial(first_state, adamw), mesh)
    # Random numbers do not depend on who draws which of them.
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(state.params), start().params)
    leaves = jax.tree.leaves(state)
    whole = sum(x.nbytes for x in leaves)
    for device in mesh.devices.flat:
        held = sum(s.data.nbytes for x in leaves for s in x.addressable_shards if s.device == device)
        assert held <= whole / 6
    step = functools.partial(train_step, objective=OBJECTIVE, optimizer=adamw, ema_decay=0.9)
    batch = shard_batch(batch_of(0), mesh)
    compiled = compile_step(step, state, mesh).lower(state, batch, jax.random.key(1)).compile()
    memory = compiled.memory_analysis()
    shares = sum(x.addressable_shards[0].data.nbytes for x in jax.tree.leaves(batch)) + 1024
    assert memory.argument_size_in_bytes <= whole / 6 + shares
    # The new state takes the memory of the old one; all else that goes in or out are batch, key and metrics.
    assert memory.alias_size_in_bytes > 0.95 * whole / 8
    hlo = compiled.as_text()
    gathered = [c for c in collectives(hlo, devices=8) if c.kind == "all-gather"]
    kernels = [x for x in jax.tree.leaves(state.params) if x.size >= 4096]
    # Every large parameter comes together for its layer, forward and backward at most, and nothing else of that size.
    assert (
        sum(x.nbytes for x in kernels) <= sum(c.result_bytes for c in gathered) <= 2.2 * sum(x.nbytes for x in kernels)
    )
    assert reads(hlo, "all-gather", "state.opt_state") == []
    assert len(reads(hlo, "all-gather", "state.params")) >= len(kernels)


@pytest.mark.parametrize(
    ("config", "where", "fix"),
    [
        ({"fsdp": 3, "data": 4}, "--parallel", "product is 8"),
        ({"fsdp": 3}, "--parallel", "product is 8"),
        ({"tensor": 16}, "--parallel", "product is 8"),
        ({"fsdp": 0}, "--parallel.fsdp", "at least 1"),
        ({"accumulate": 0}, "--parallel.accumulate", "at least 1"),
        ({"mode": "pmap", "fsdp": 2}, "--parallel.mode pmap", "--parallel.mode jit"),
    ],
)
def test_what_cannot_be_shared_is_refused(config, where, fix):
    with pytest.raises(InputError) as error:
        make_mesh(ParallelConfig(**config))
    assert error.value.where == where
    assert fix in error.value.fix


def test_parts_of_a_batch_have_to_be_shared_evenly():
    mesh = make_mesh(ParallelConfig(data=2, fsdp=2, tensor=2))
    check_batch_size(8, mesh, accumulate=2)
    with pytest.raises(InputError, match="12 scans in 2 parts cannot be shared by 4 devices"):
        check_batch_size(12, mesh, accumulate=2)
