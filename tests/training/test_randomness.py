"""Dropout, stochastic depth and masks are those of the scan, whatever the layout: every layout trains the same."""

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import ichformer
from ichformer.ct.windows import WINDOWS
from ichformer.models.encoders.patch_encoder import PatchEncoder
from ichformer.models.encoders.registry import build_encoder
from ichformer.models.encoders.residual import ResidualEncoder
from ichformer.models.encoders.swin import SwinEncoder
from ichformer.models.encoders.volume_encoder import VolumeEncoder
from ichformer.models.ensemble import Ensemble, Group
from ichformer.models.families.cnn import NoContext
from ichformer.models.families.recurrent import RecurrentContext
from ichformer.models.families.scan_volume import ScanVolume
from ichformer.models.families.slice_sequence import SliceSequence
from ichformer.models.heads import SliceContext
from ichformer.models.layers.draws import draw_by_scan, scans_at
from ichformer.models.layers.dropout import Dropout
from ichformer.objectives.base import Objective, needs_whole_batch
from ichformer.objectives.classification import Classification
from ichformer.objectives.masked.jepa import HiddenFeatures
from ichformer.objectives.masked.mae import SliceAutoencoder, VolumeAutoencoder
from ichformer.objectives.masked.masked_objective import MaskedPixels
from ichformer.objectives.masked.simmim import SwinReconstruction
from ichformer.objectives.masked.spark import SparseReconstruction
from ichformer.objectives.teacher import Taught, first_means
from ichformer.objectives.views.contrastive import Contrastive
from ichformer.objectives.views.dino import SelfDistillation
from ichformer.pipeline.batch import Batch
from ichformer.training.config import ParallelConfig
from ichformer.training.sharding.parallel import compile_step, make_mesh, place, places_of, shard_batch
from ichformer.training.state import TrainState, create_state
from ichformer.training.step import train_step

STEPS, BATCH, SLICES = 2, 16, 2
WINDOW = (WINDOWS["brain"],)
VIT = PatchEncoder(16, width=32, depth=2, num_heads=2, dropout=0.3, drop_path=0.4, parent=None)


def classifier(encoder, context=None) -> Classification:
    return Classification(model=SliceSequence(encoder, context, scan_pool="max"), windows=WINDOW)


def volume(encoder) -> Classification:
    return Classification(model=ScanVolume(encoder, scan_pool="max"), windows=WINDOW)


SWIN = SwinEncoder((1, 8, 8), 16, (2,), (2,), (2, 2, 2), (), drop_path=0.4, parent=None)
OBJECTIVES: dict[str, Objective] = {
    "vit": classifier(VIT, SliceContext(1, 2, dropout=0.3)),
    "mae": MaskedPixels(model=SliceAutoencoder(VIT, 32, 1), windows=WINDOW, by_slice=True),
    "mae of scans": MaskedPixels(
        model=VolumeAutoencoder(VolumeEncoder((1, 16, 16), 32, 2, 2, "factorised", dropout=0.3, parent=None), 32, 1),
        windows=WINDOW,
        masks="tube",
    ),
    "simmim": MaskedPixels(model=SwinReconstruction(SWIN), windows=WINDOW, masks="block", error="absolute"),
    "spark": MaskedPixels(
        model=SparseReconstruction(ResidualEncoder((16, 16), 1, parent=None), 8, 16, 1), windows=WINDOW, by_slice=True
    ),
    "contrastive": Contrastive(model=classifier(VIT).model, windows=WINDOW),
    "jepa": HiddenFeatures(
        model=VolumeAutoencoder(VolumeEncoder((1, 16, 16), 32, 2, 2, "factorised", parent=None), 32, 1, "features"),
        windows=WINDOW,
        masks="column",
    ),
    "dino": SelfDistillation(
        model=classifier(VIT).model, windows=WINDOW, prototypes=8, small_views=1, spread_weight=0.0
    ),
    "dino of the whole batch": SelfDistillation(
        model=classifier(VIT).model, windows=WINDOW, prototypes=8, small_views=1, centring="sinkhorn"
    ),
    "remat": classifier(VIT.clone(remat="full")),
    "factorised": volume(VolumeEncoder((1, 16, 16), 32, 2, 2, "factorised", dropout=0.3, drop_path=0.4)),
    "joint": volume(VolumeEncoder((2, 16, 16), 32, 2, 2, "joint", dropout=0.3, drop_path=0.4)),
    "swin": volume(SWIN),
    "maxvit": classifier(build_encoder("maxvit_nano", drop_path=0.4), NoContext(0.3)),
    "gru": classifier(VIT.clone(dropout=0.0, drop_path=0.0), RecurrentContext(16, 2, 0.5)),
    "ensemble": Classification(
        model=Ensemble((Group(model=classifier(VIT).model, weights=(0.5, 0.5), channels=((0,),)),), ("plain", "flip")),
        windows=WINDOW,
    ),
}
LAYOUTS = {
    "data 2": ParallelConfig(data=2),
    "data 8": ParallelConfig(),
    "fsdp 2, tensor 2, data 2": ParallelConfig(data=2, fsdp=2, tensor=2),
    "accumulate 2": ParallelConfig(data=1, accumulate=2),
    "accumulate 4": ParallelConfig(data=1, accumulate=4),
    "data 2, accumulate 4": ParallelConfig(data=2, accumulate=4),
    "pmap 8": ParallelConfig(mode="pmap"),
    "pmap 2, accumulate 2": ParallelConfig(mode="pmap", data=2, accumulate=2),
}
WHOLE = [name for name, objective in OBJECTIVES.items() if needs_whole_batch(objective)]
FAST = {("vit", "data 2, accumulate 4"), ("mae", "pmap 2, accumulate 2")}
SLOW = {("vit", "fsdp 2, tensor 2, data 2"), ("mae", "accumulate 4"), ("jepa", "pmap 8")}
# Each kind of layer meets parts and devices; all layouts are met by the transformer and the masked autoencoder.
FULL = {
    *((name, layout) for name in ("vit", "mae") for layout in LAYOUTS),
    *((name, layout) for name in OBJECTIVES for layout in ("accumulate 4", "pmap 8") if name not in WHOLE),
    *((name, "fsdp 2, tensor 2, data 2") for name in WHOLE),
}


def batch_of(step: int) -> Batch:
    rng = np.random.default_rng(step)
    labels = np.float32([0, 1, np.nan])
    return Batch(
        hu=rng.integers(-100, 200, (BATCH, SLICES, 32, 32)).astype(np.int16),
        slice_mask=np.arange(SLICES) < rng.integers(1, SLICES + 1, (BATCH, 1)),
        spacing_mm=rng.uniform(1, 5, (BATCH, 3)).astype(np.float32),
        slice_labels=rng.choice(labels, (BATCH, SLICES, 6)),
        scan_labels=rng.choice(labels, (BATCH, 6)),
        weight=np.ones(BATCH, np.float32),
        row=np.zeros(BATCH, np.int32),
    )


@functools.cache
def start(name: str) -> TrainState:
    batch = jax.tree.map(lambda x: jnp.asarray(x[:1]), batch_of(0))
    init = jax.jit(lambda: OBJECTIVES[name].init(jax.random.key(0), batch)["params"])
    # A teacher is an average; other objectives are compared without one.
    is_taught = isinstance(OBJECTIVES[name], Taught)
    means = first_means(OBJECTIVES[name])
    return jax.device_get(create_state(init(), optax.sgd(0.3), ema=is_taught, metric_means=means))


@functools.cache
def trained(name: str, config: ParallelConfig) -> tuple[list[float], TrainState]:
    # Plain SGD: an optimiser that normalises its updates would hide gradients that are too large by a factor.
    mesh = make_mesh(config)
    state = place(jax.tree.map(jnp.asarray, start(name)), mesh)
    step = functools.partial(
        train_step,
        objective=OBJECTIVES[name],
        optimizer=optax.sgd(0.3),
        ema_decay=0.9,
        accumulate=config.accumulate,
    )
    compiled = compile_step(step, state, mesh, mode=config.mode)
    losses = []
    for i in range(STEPS):
        state, metrics = compiled(state, shard_batch(batch_of(i), mesh), jax.random.key(1))
        losses.append(float(metrics["loss"]))
    return losses, jax.device_get(state)


@pytest.mark.parametrize(
    ("name", "layout"),
    [
        *sorted(FAST),
        *(pytest.param(*case, marks=pytest.mark.slow) for case in sorted(SLOW)),
        *(pytest.param(*case, marks=pytest.mark.full) for case in sorted(FULL - SLOW - FAST)),
    ],
)
def test_every_layout_draws_the_same(name, layout):
    wanted_losses, wanted = trained(name, ParallelConfig(data=1))
    losses, state = trained(name, LAYOUTS[layout])
    np.testing.assert_allclose(losses, wanted_losses, rtol=0, atol=1e-5)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=0, atol=1e-5), state, wanted)
    # The comparison means something only where training went somewhere.
    moved = jax.tree.map(lambda a, b: float(np.abs(a - b).max()), state.params, start(name).params)
    assert max(jax.tree.leaves(moved)) > 1e-3


def test_scans_of_a_batch_draw_each_their_own():
    """Also where the same scan comes twice: what counts is the place."""
    x = jnp.ones((4 * 3, 50))
    with scans_at(jnp.arange(4)):
        y = np.asarray(Dropout(0.5).apply({}, x, train=True, rngs={"dropout": jax.random.key(0)}))
    assert len({row.tobytes() for row in y}) == 12
    assert set(np.unique(y)) == {0.0, 2.0}
    # Four standard deviations of a binomial of 600.
    assert abs((y == 0).mean() - 0.5) < 4 * np.sqrt(0.25 / 600)


def test_what_a_scan_draws_follows_from_its_place_alone():
    draw = functools.partial(draw_by_scan, jax.random.key(3), draw=lambda key, each: jax.random.uniform(key, (each, 5)))
    with scans_at(jnp.asarray([0, 1, 2, 3])):
        whole = np.asarray(draw(8))
    with scans_at(jnp.asarray([3, 1])):
        part = np.asarray(draw(4))
    np.testing.assert_array_equal(part, np.concatenate([whole[6:], whole[2:4]]))


def test_an_axis_that_is_not_the_scans_is_refused():
    with scans_at(jnp.arange(4)), pytest.raises(ValueError, match="6 rows cannot be shared by 4 scans"):
        draw_by_scan(jax.random.key(0), 6, lambda key, each: jax.random.uniform(key, (each,)))


def test_the_scans_of_several_hosts_have_the_places_of_one_hosts_batch():
    """Hosts take turns in a batch (``training_batches``); in the array, what a host read lies together."""
    np.testing.assert_array_equal(places_of(np.int32([0, 0, 0, 1, 1, 1])), [0, 2, 4, 1, 3, 5])
    np.testing.assert_array_equal(places_of(np.int32([1, 0, 0, 1])), [1, 0, 2, 3])
    np.testing.assert_array_equal(places_of(np.zeros(3, np.int32)), [0, 1, 2])


def test_no_module_draws_in_another_way():
    """``nn.Dropout`` draws for a whole array at once, and so differently for each layout."""
    for file in (Path(ichformer.__file__).parent / "models").rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        assert "nn.Dropout(" not in text, file
        if file.name not in ("draws.py", "dropout.py"):
            assert "random.bernoulli" not in text, file
