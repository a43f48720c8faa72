"""Does a pretraining teach an encoder anything? Simple classifiers on its features, beside those on its start.

The task was made easy enough to be told in a minute: bleeds are 2.5 times as large as usual, and a slice counts as
positive from 1 ml on. With bleeds of the usual size neither probe gained anything that could be told from 0.
"""

import functools
from dataclasses import replace
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from ichformer.ct.phantom.make import POSITIVE_ML, make_phantom
from ichformer.ct.phantom.plan import plan_scan
from ichformer.ct.phantom.population import Population
from ichformer.labels import SIX
from ichformer.objectives.config import ObjectiveConfig
from ichformer.objectives.registry import OBJECTIVES
from ichformer.objectives.teacher import Taught, first_means
from ichformer.pipeline.batch import Batch
from ichformer.statistics.bootstrap import auroc_statistic, bootstrap
from ichformer.statistics.probes.neighbours import knn_probe
from ichformer.statistics.probes.ridge import ridge_probe
from ichformer.testing import TINY_SITES
from ichformer.training.config import OptimConfig
from ichformer.training.optimizer.optim import build_optimizer
from ichformer.training.state import create_state
from ichformer.training.step import train_step

PATIENTS, PRETRAINED, SLICES = 240, 90, 10
"""Heads, of which the first are pretrained on and the others tested, and the upper slices of each that are kept."""

SEEN_ML = 1.0
"""A slice counts as one with a bleed from here on. Those with less, but with some, count for nothing."""

FOLDS, BATCH, IN_A_ROW, AT_ONCE = 3, 16, 4, 60


class Heads(NamedTuple):
    """int16 HU [N,S,H,W], labels [N,S] that are NaN where unknown, and the spacing of all."""

    hu: np.ndarray
    labels: np.ndarray
    spacing_mm: np.ndarray


class Gain(NamedTuple):
    """AUROC of a probe of the start and of the pretrained encoder, and the 95 % interval of their difference."""

    before: float
    after: float
    low: float
    high: float


@functools.cache
def heads() -> Heads:
    """Phantoms of one site, each a patient: 7 of 10 with bleeds, which are 2.5 times as large as usual."""
    site = replace(TINY_SITES[0], pixels=32, population=Population(bleed_ml=2.5))
    hu, labels = [], []
    for i in range(PATIENTS):
        order = plan_scan(i, seed=0, sites=(site,), prevalence=0.7)
        phantom = make_phantom(i, site=site, subtypes=order.subtypes, mechanism=order.mechanism)
        blood_ml = phantom.blood_ml.sum(1)[-SLICES:]
        hu.append(phantom.volume.hu[-SLICES:])
        labels.append(np.where(blood_ml >= SEEN_ML, 1.0, np.where(blood_ml < POSITIVE_ML, 0.0, np.nan)))
    return Heads(np.stack(hu), np.stack(labels), np.asarray(phantom.volume.spacing_mm, np.float32))


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
