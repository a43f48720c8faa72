import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ichformer.ct.windows import WINDOWS
from ichformer.models.encoders.patch_encoder import PatchEncoder
from ichformer.objectives.mae import MaskedAutoencoder, MaskedSlices
from tests.objectives.test_classification import make_batch

ENCODER = PatchEncoder(patch_size=4, width=32, depth=1, num_heads=2, parent=None)
OBJECTIVE = MaskedSlices(model=MaskedAutoencoder(ENCODER, 32, 1), windows=(WINDOWS["brain"], WINDOWS["bone"]))


@functools.cache
def start():
    """The objective's loss, jitted, its first parameters and a key."""
    rng = jax.random.key(0)
    return jax.jit(OBJECTIVE.loss, static_argnums=3), jax.jit(OBJECTIVE.init)(rng, make_batch())["params"], rng


@pytest.mark.slow
def test_weight_counts_the_hidden_patches_of_real_slices():
    loss, params, rng = start()
    batch = make_batch()._replace(
        slice_mask=jnp.asarray([[1, 1, 0]] * 4, bool), weight=jnp.asarray([1.0, 1.0, 1.0, 0.0])
    )
    _, weight, _ = loss(params, batch, rng, True)
    # 16 patches a slice, 12 of them hidden; 3 scans of 2 slices count.
    assert weight == 3 * 2 * 12


def test_what_is_hidden_is_not_seen():
    """The prediction for any patch does not change when pixels of hidden patches do."""
    _, params, _ = start()
    order = jnp.arange(16)[None]
    predict = jax.jit(lambda x: OBJECTIVE.model.apply({"params": params}, x, order, 4, train=False))
    x = np.random.default_rng(0).random((1, 16, 16, 2), np.float32)
    other = x.copy()
    other[:, 4:] = 0.5  # the first row of patches alone is kept
    predictions = [predict(jnp.asarray(v)) for v in (x, other)]
    np.testing.assert_array_equal(*predictions)
    other[:, :4] = 0.5
    assert np.abs(predict(jnp.asarray(other)) - predictions[0]).max() > 1e-4


def test_a_perfect_prediction_costs_nothing_and_a_zero_one_costs_the_variance():
    """With the pixels' layer at zero the error is the variance of normalised patches: 1."""
    _, params, rng = start()
    # Wide windows, so that no patch is flat.
    objective = dataclasses.replace(OBJECTIVE, windows=(WINDOWS["bone"],) * 2)
    batch = make_batch()
    batch = batch._replace(hu=(batch.hu * 10).astype(jnp.int16))
    params = params | {"pixels": jax.tree.map(jnp.zeros_like, params["pixels"])}
    total, weight, _ = jax.jit(objective.loss, static_argnums=3)(params, batch, rng, False)
    np.testing.assert_allclose(total / weight, 1.0, atol=2e-3)


@pytest.mark.slow
def test_it_learns():
    _, params, rng = start()
    ramp = np.linspace(0, 80, 16).astype(np.int16)
    batch = make_batch()._replace(hu=jnp.broadcast_to(jnp.asarray(ramp), (4, 3, 16, 16)))
    optimizer = optax.adam(3e-3)
    opt_state = optimizer.init(params)

    @jax.jit
    def step(params, opt_state, rng):
        def mean(p):
            total, weight, _ = OBJECTIVE.loss(p, batch, rng, True)
            return total / weight

        loss, grads = jax.value_and_grad(mean)(params)
        updates, opt_state = optimizer.update(grads, opt_state)
        return optax.apply_updates(params, updates), opt_state, loss

    losses = []
    for i in range(60):
        params, opt_state, loss = step(params, opt_state, jax.random.fold_in(rng, i))
        losses.append(float(loss))
    assert losses[-1] < 0.3 * losses[0]
