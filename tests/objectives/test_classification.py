import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import log_loss

from ichformer.ct.windows import WINDOWS
from ichformer.errors import InputError
from ichformer.labels import LabelSet
from ichformer.models.contract import Prediction
from ichformer.models.heads import START_LOGIT
from ichformer.models.registry import create_model
from ichformer.objectives.classification import LABEL_WEIGHTS, Classification
from ichformer.objectives.losses import masked_loss
from ichformer.pipeline.batch import Batch
from ichformer.pipeline.label_statistics import LabelStatistics


def make_batch(*, scans: int = 4, slices: int = 3, size: int = 16, seed: int = 0) -> Batch:
    rng = np.random.default_rng(seed)
    batch = Batch(
        hu=rng.integers(-100, 100, (scans, slices, size, size)).astype(np.int16),
        slice_mask=np.ones((scans, slices), bool),
        spacing_mm=np.full((scans, 3), 5, np.float32),
        slice_labels=rng.integers(0, 2, (scans, slices, 6)).astype(np.float32),
        scan_labels=rng.integers(0, 2, (scans, 6)).astype(np.float32),
        weight=np.ones(scans, np.float32),
        row=np.arange(scans, dtype=np.int32),
    )
    return jax.tree.map(jnp.asarray, batch)


@functools.cache
def start():
    """The loss of a small model, jitted, its first parameters and a key."""
    objective = Classification(model=create_model("slice_vit_nano", depth=1), windows=(WINDOWS["brain"],))
    rng = jax.random.key(0)
    return jax.jit(objective.loss, static_argnums=3), jax.jit(objective.init)(rng, make_batch())["params"], rng


def test_masked_loss_is_sklearns_weighted_log_loss():
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(5, 7, 6)).astype(np.float32)
    labels = rng.integers(0, 2, (5, 7, 6)).astype(np.float32)
    loss, known = masked_loss(jnp.asarray(logits), jnp.asarray(labels), LABEL_WEIGHTS)
    scores = 1 / (1 + np.exp(-logits.astype(np.float64)))
    for i in range(5):
        # RSNA 2019: the mean over labels with "any" twice.
        reference = [log_loss(labels[i, :, c], scores[i, :, c], labels=[0, 1]) for c in range(6)]
        np.testing.assert_allclose(loss[i], np.average(reference, weights=LABEL_WEIGHTS), rtol=1e-5)
    np.testing.assert_array_equal(known, 1)


def test_unknown_labels_weigh_nothing():
    logits = jnp.asarray(np.random.default_rng(2).normal(size=(2, 6)).astype(np.float32))
    labels = jnp.asarray([[1, jnp.nan, 0, jnp.nan, jnp.nan, 1], [jnp.nan] * 6])
    loss, known = masked_loss(logits, labels, LABEL_WEIGHTS)
    changed, _ = masked_loss(logits.at[0, 1].set(50.0), labels, LABEL_WEIGHTS)
    np.testing.assert_array_equal(loss, changed)
    np.testing.assert_array_equal(known, [1, 0])
    grads = jax.grad(lambda x: masked_loss(x, labels, LABEL_WEIGHTS)[0].sum())(logits)
    assert np.isfinite(grads).all()
    np.testing.assert_array_equal(np.asarray(grads)[1], 0)


@pytest.mark.slow
def test_sum_and_weight_do_not_depend_on_how_scans_are_shared_out():
    batch, (loss, params, rng) = make_batch(), start()
    total, weight, metrics = loss(params, batch, rng, False)
    parts = [jax.tree.map(lambda x, part=part: x[part], batch) for part in (np.s_[:1], np.s_[1:])]
    halves = [loss(params, part, rng, False) for part in parts]
    np.testing.assert_allclose(total, halves[0][0] + halves[1][0], rtol=1e-6)
    assert weight == halves[0][1] + halves[1][1] == 4
    np.testing.assert_allclose(metrics["slice_loss"][0], sum(h[2]["slice_loss"][0] for h in halves), rtol=1e-6)


def test_padding_scans_and_padding_slices_weigh_nothing():
    batch, (loss, params, rng) = make_batch(), start()
    alone = loss(params, jax.tree.map(lambda x: x[:3], batch), rng, False)
    filled = loss(params, batch._replace(weight=jnp.asarray([1.0, 1.0, 1.0, 0.0])), rng, False)
    np.testing.assert_allclose(alone[0], filled[0], rtol=1e-6)
    assert alone[1] == filled[1] == 3

    masked = batch._replace(slice_mask=jnp.arange(3)[None] < jnp.full((4, 1), 2))
    other = masked._replace(
        slice_labels=jnp.where(jnp.arange(3)[None, :, None] == 2, 1 - batch.slice_labels, batch.slice_labels)
    )
    assert loss(params, masked, rng, False)[0] == loss(params, other, rng, False)[0]


def test_scan_labels_alone_and_slice_labels_alone_both_teach():
    batch, (loss, params, rng) = make_batch(), start()
    unknown_slices = batch._replace(slice_labels=jnp.full_like(batch.slice_labels, np.nan))
    total, weight, metrics = loss(params, unknown_slices, rng, False)
    assert weight == 4
    assert metrics["slice_loss"][1] == 0
    assert total == pytest.approx(metrics["scan_loss"][0])
    nothing = unknown_slices._replace(scan_labels=jnp.full_like(batch.scan_labels, np.nan))
    total, weight, _ = loss(params, nothing, rng, False)
    assert (total, weight) == (0, 0)


@pytest.mark.slow
def test_the_loss_is_the_one_that_is_named():
    logits = jnp.asarray(np.random.default_rng(3).normal(size=(4, 3, 6)).astype(np.float32))
    model = create_model("slice_vit_nano", depth=1)
    labels = make_batch().slice_labels
    found = {}
    for settings in ({}, {"positive_weight": 3.0}, {"loss_name": "focal"}, {"loss_name": "asymmetric"}):
        objective = Classification(model=model, windows=(WINDOWS["brain"],), **settings)
        found[tuple(settings.values())] = objective.loss_of("slice", logits, labels)[0]
    plain = found[()]
    assert (found[(3.0,)] > plain).all()
    assert (found[("focal",)] < plain).all()
    assert (found[("asymmetric",)] < plain).all()
    np.testing.assert_array_equal(plain, masked_loss(logits, labels, LABEL_WEIGHTS)[0])


OWN = LabelSet(names=("bleed", "fracture"), targets=("volume_ml", "age_years"))
OF_SLICES = LabelStatistics(log_odds=(-1.0, 0.5), means=(2.0, 60.0), spreads=(4.0, 10.0))
OF_SCANS = LabelStatistics(log_odds=(0.0, 1.5), means=(30.0, 60.0), spreads=(20.0, 10.0))


def own(**settings) -> Classification:
    return Classification(
        model=create_model("slice_vit_nano", depth=1, labels=OWN.columns),
        windows=(WINDOWS["brain"],),
        label_set=OWN,
        slice_statistics=OF_SLICES,
        scan_statistics=OF_SCANS,
        **settings,
    )


def test_scores_are_probabilities_and_values_in_their_unit():
    outputs = jnp.asarray([[0.0, 2.0, START_LOGIT, START_LOGIT + 1.5]])
    slices, scans = own().scores(Prediction(slice_logits=outputs[:, None], scan_logits=outputs, features={}))
    chances = [0.5, 1 / (1 + np.exp(-2.0))]
    np.testing.assert_allclose(slices[0, 0], [*chances, 2.0, 75.0], rtol=1e-6)
    np.testing.assert_allclose(scans[0], [*chances, 30.0, 75.0], rtol=1e-6)


def test_the_loss_of_labels_and_targets_is_their_mean():
    outputs = jnp.asarray([[0.3, -1.0, START_LOGIT + 0.5, START_LOGIT - 3.0]])
    labels = jnp.asarray([[1.0, 0.0, 50.0, 60.0]])  # standardised 1 and 0
    parts = [np.log1p(np.exp(-0.3)), np.log1p(np.exp(-1.0)), 0.5 * 0.5**2, 3.0 - 0.5]
    np.testing.assert_allclose(own().loss_of("scan", outputs, labels)[0], np.mean(parts), rtol=1e-5)
    weighted = own(label_weights=(3.0, 1.0, 0.0, 2.0)).loss_of("scan", outputs, labels)[0]
    np.testing.assert_allclose(weighted, np.average(parts, weights=[3, 1, 0, 2]), rtol=1e-5)
    unknown = labels.at[0, 2].set(jnp.nan)
    np.testing.assert_allclose(own().loss_of("scan", outputs, unknown)[0], np.mean([*parts[:2], parts[3]]), rtol=1e-5)
    bleed = own(scan_labels=("bleed",)).loss_of("scan", outputs, labels)[0]
    np.testing.assert_allclose(bleed, parts[0], rtol=1e-5)
    squared = own(target_loss_name="l2", scan_labels=OWN.targets).loss_of("scan", outputs, labels)[0]
    np.testing.assert_allclose(squared, (0.25 + 9) / 2, rtol=1e-5)
    adjusted = own(loss_name="logit_adjusted", scan_labels=("fracture",)).loss_of("scan", outputs, labels)[0]
    np.testing.assert_allclose(adjusted, np.log1p(np.exp(-1.0 + 1.5)), rtol=1e-5)


def test_the_six_labels_keep_their_weights_beside_targets():
    model = create_model("slice_vit_nano", depth=1)
    beside = Classification(model=model, windows=(WINDOWS["brain"],), label_set=LabelSet(targets=("volume_ml",)))
    assert beside.weights == (*LABEL_WEIGHTS, 1.0)
    assert own().weights == (1.0,) * 4


def test_targets_without_their_scale_are_refused():
    objective = Classification(
        model=create_model("slice_vit_nano", depth=1, labels=OWN.columns), windows=(WINDOWS["brain"],), label_set=OWN
    )
    with pytest.raises(InputError, match="statistics of the training's scans are not known"):
        objective.loss_of("scan", jnp.zeros((1, 4)), jnp.zeros((1, 4)))
    with pytest.raises(InputError, match=r"Classification\.slice_labels: .*take some of bleed, fracture, volume_ml"):
        own(slice_labels=("any",))
    with pytest.raises(InputError, match=r"Classification\.label_weights: .*take 4 numbers of 0 or more"):
        own(label_weights=(1.0, 2.0))
