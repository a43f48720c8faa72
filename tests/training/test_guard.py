"""Steps whose loss is no number or leaps change nothing but the count."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ichformer import LABELS
from ichformer.pipeline.batch import Batch
from ichformer.training.recovery.guard import Guard, check_update
from ichformer.training.state import create_state
from ichformer.training.step import train_step


class Parabola:
    """``sum(w^2)`` times the weight of the batch, which is where a test puts what goes wrong."""

    def init(self, rng, batch):
        return {"params": {"w": jnp.asarray([3.0, -2.0])}}

    def loss(self, params, batch, rng, train):
        return jnp.sum(jnp.square(params["w"])) * batch.weight.sum(), jnp.ones(()), {}


OPTIMIZER = optax.adam(0.1)


@functools.partial(jax.jit, static_argnames="spike_factor")
def step(state, weight, *, spike_factor=0.0):
    batch = Batch(
        hu=jnp.zeros((1, 1, 2, 2), jnp.int16),
        slice_mask=jnp.ones((1, 1), bool),
        spacing_mm=jnp.ones((1, 3)),
        slice_labels=jnp.zeros((1, 1, len(LABELS))),
        scan_labels=jnp.zeros((1, len(LABELS))),
        weight=jnp.reshape(weight, (1,)),
        row=jnp.zeros(1, jnp.int32),
    )
    return train_step(
        state,
        batch,
        jax.random.key(0),
        objective=Parabola(),
        optimizer=OPTIMIZER,
        ema_decay=0.9,
        spike_factor=spike_factor,
    )


def first_state():
    return create_state(Parabola().init(None, None)["params"], OPTIMIZER, ema=True)


def learned(state):
    return jax.tree.leaves((state.params, state.opt_state, state.ema_params))


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_changes_nothing_but_the_count(wrong):
    before, _ = step(first_state(), 1.0)
    after, metrics = step(before, wrong)
    for old, new in zip(learned(before), learned(after), strict=True):
        np.testing.assert_array_equal(old, new)
    assert (int(after.step), int(metrics["bad_in_a_row"])) == (2, 1)
    again, metrics = step(after, np.nan)
    assert int(metrics["bad_in_a_row"]) == 2
    well, metrics = step(again, 1.0)
    assert int(metrics["bad_in_a_row"]) == 0
    assert np.all(well.params["w"] != again.params["w"])
    # Skipped steps leave no trace: the same parameters as if they had not been.
    direct, _ = step(before, 1.0)
    np.testing.assert_array_equal(well.params["w"], direct.params["w"])


def test_a_leap_is_skipped_once_the_loss_has_settled():
    state = first_state()
    _, metrics = step(state, 1e4, spike_factor=20.0)
    assert int(metrics["bad_in_a_row"]) == 0
    for _ in range(100):
        # A loss that hardly moves: the gradient is of 1e-3 of the parabola.
        state, metrics = step(state, 1e-3, spike_factor=20.0)
    mean = float(state.guard.mean_loss)
    height = float(jnp.sum(jnp.square(state.params["w"])))
    assert 0 < mean < 13e-3
    _, metrics = step(state, 19 * mean / height, spike_factor=20.0)
    assert int(metrics["bad_in_a_row"]) == 0
    leapt, metrics = step(state, 21 * mean / height, spike_factor=20.0)
    assert int(metrics["bad_in_a_row"]) == 1
    np.testing.assert_array_equal(leapt.params["w"], state.params["w"])
    assert float(leapt.guard.mean_loss) == pytest.approx(mean)
    _, metrics = step(state, 21 * mean / height)
    assert int(metrics["bad_in_a_row"]) == 0


def test_the_first_losses_are_remembered_as_their_mean():
    state, losses = first_state(), []
    for _ in range(10):
        state, metrics = step(state, 1.0)
        losses.append(float(metrics["loss"]))
    assert float(state.guard.mean_loss) == pytest.approx(np.mean(losses), rel=1e-5)


@pytest.mark.parametrize(("loss", "weight", "expected"), [(0.0, 0.0, (1.0, 100, 3)), (2.0, 8.0, (1.02, 101, 0))])
def test_a_batch_without_labels_is_good_and_leaves_the_guard_as_it_is(loss, weight, expected):
    before = Guard(mean_loss=jnp.ones(()), good=jnp.asarray(100), bad_in_a_row=jnp.asarray(3))
    good, after = check_update(before, jnp.asarray(loss), jnp.ones(()), weight=jnp.asarray(weight), spike_factor=20.0)
    assert good
    assert (float(after.mean_loss), int(after.good), int(after.bad_in_a_row)) == pytest.approx(expected)
