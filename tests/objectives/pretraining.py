"""Does a pretraining teach an encoder anything? Simple classifiers on its features, beside those on its start.

The task was made easy enough to be told in a minute: bleeds are 2.5 times as large as usual, and a slice counts as
positive from 1 ml on. With bleeds of the usual size neither probe gained anything that could be told from 0.
"""

import functools
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from ichformer.labels import SIX
from ichformer.objectives.config import ObjectiveConfig
from ichformer.objectives.registry import OBJECTIVES
from ichformer.objectives.teacher import Taught, first_means
from ichformer.pipeline.batch import Batch
from ichformer.statistics.bootstrap import auroc_statistic, bootstrap
from ichformer.statistics.probes.neighbours import knn_probe
from ichformer.statistics.probes.ridge import ridge_probe
from ichformer.training.config import OptimConfig
from ichformer.training.optimizer.optim import build_optimizer
from ichformer.training.state import create_state
from ichformer.training.step import train_step
from tests.objectives.heads import PATIENTS, SLICES, Heads, heads

PRETRAINED = 90
"""Heads that are pretrained on, the first ones; the others are tested."""

FOLDS, BATCH, IN_A_ROW, AT_ONCE = 3, 16, 4, 60


class Gain(NamedTuple):
    """AUROC of a probe of the start and of the pretrained encoder, and the 95 % interval of their difference."""

    before: float
    after: float
    low: float
    high: float


def gains_of(
    model: nn.Module, settings: ObjectiveConfig, *, steps: int, learning_rate: float, seed: int
) -> dict[str, Gain]:
    """Pretrain ``model`` and ask each probe what it gained: by slice, whether there is a bleed.

    Each third of the tested patients is scored by probes that know the labels of all others. Both encoders are probed
    alike, and the interval is that of the difference over resamples of the tested patients.
    """
    objective = OBJECTIVES.find(settings.name)(model, settings, SIX)
    optimizer = build_optimizer(OptimConfig(learning_rate=learning_rate), steps)
    is_taught = isinstance(objective, Taught)
    step = jax.jit(functools.partial(train_step, objective=objective, optimizer=optimizer, ema_decay=0.99))
    found, rng = heads(), np.random.default_rng(seed)

    def draw() -> Batch:
        scans = rng.choice(PRETRAINED, BATCH, replace=False)
        first = rng.integers(0, SLICES - IN_A_ROW + 1, BATCH)
        hu = found.hu[scans[:, None], first[:, None] + np.arange(IN_A_ROW)]
        return _batch(np.where(rng.random((BATCH, 1, 1, 1)) < 0.5, hu[..., ::-1], hu), found.spacing_mm)

    params = jax.jit(objective.init)(jax.random.key(seed), draw())["params"]
    state = create_state(params, optimizer, ema=is_taught, metric_means=first_means(objective))
    for _ in range(steps):
        state, _ = step(state, draw(), jax.random.key(seed + 1))
    features = jax.jit(objective.features)
    return _compare(*(_features(features, each, found) for each in (params, state.params)), found.labels.ravel())


def _compare(before: np.ndarray, after: np.ndarray, labels: np.ndarray) -> dict[str, Gain]:
    patients = np.repeat(np.arange(PATIENTS), SLICES)
    tested = patients >= PRETRAINED
    scores = [_scores(each, labels, patients, tested) for each in (before, after)]
    gains = {}
    for name in ("knn", "ridge"):
        statistics = [auroc_statistic(labels[tested], of[name][tested], patients[tested] - PRETRAINED) for of in scores]
        drawn = bootstrap(statistics, n_patients=PATIENTS - PRETRAINED, replicates=1000, seed=0)
        low, high = np.quantile(drawn.replicates[:, 1] - drawn.replicates[:, 0], (0.025, 0.975))
        gains[name] = Gain(*drawn.values, low, high)
    return gains


def _scores(
    features: np.ndarray, labels: np.ndarray, patients: np.ndarray, tested: np.ndarray
) -> dict[str, np.ndarray]:
    scores = {name: np.full(len(labels), np.nan) for name in ("knn", "ridge")}
    for fold in range(FOLDS):
        asked = tested & (patients % FOLDS == fold)
        known = ~asked & np.isfinite(labels)
        train = features[known], labels[known], features[asked]
        scores["knn"][asked] = knn_probe(*train)
        scores["ridge"][asked] = ridge_probe(*train, patients=patients[known]).scores
    return scores


def _features(features, params, found: Heads) -> np.ndarray:
    parts = [features(params, _batch(found.hu[i : i + AT_ONCE], found.spacing_mm)) for i in range(0, PATIENTS, AT_ONCE)]
    return np.concatenate(parts).reshape(PATIENTS * SLICES, -1).astype(float)


def _batch(hu: np.ndarray, spacing_mm: np.ndarray) -> Batch:
    b, s = hu.shape[:2]
    return Batch(
        hu=jnp.asarray(hu),
        slice_mask=jnp.ones((b, s), bool),
        spacing_mm=jnp.tile(spacing_mm[None], (b, 1)),
        slice_labels=jnp.zeros((b, s, 6)),
        scan_labels=jnp.zeros((b, 6)),
        weight=jnp.ones(b),
        row=jnp.arange(b, dtype=jnp.int32),
    )
