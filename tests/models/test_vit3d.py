"""What vit3d can be told; what every model has to do stands in test_every_model.py."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ichformer.models.encoders.patch_encoder import PatchEncoder
from ichformer.models.encoders.volume_encoder import VolumeEncoder, from_table
from ichformer.models.families.vit3d import vit3d
from ichformer.models.layers.attention.transformer import BlockStyle
from ichformer.models.weights.fit import fit_tree
from tests.models.gradients import key_biases, silent_parameters
from tests.models.test_slice_vit import noise_like

TINY = {"patch_size": (1, 8, 8), "width": 24, "depth": 1, "num_heads": 2}
OPTIONS = {
    "factorised, learned": {
        "positions": "learned",
        "position_grid": (3, 2, 2),
        "z_position": "index",
        "style": BlockStyle(layer_scale=0.5),
        "drop_path": 0.01,
        "depth": 2,
    },
    "factorised, rotary": {"positions": "rotary", "patch_size": (2, 8, 8)},
    "joint, rotary": {"attention": "joint", "positions": "rotary", "patch_size": (3, 8, 4)},
}


def inputs(slices: int = 5, size: tuple[int, int] = (16, 16)) -> tuple[jax.Array, jax.Array, jax.Array]:
    x = jax.random.uniform(jax.random.key(0), (1, slices, *size, 2))
    return x, jnp.ones((1, slices), bool), jnp.asarray([[4.0, 1.0, 1.0]])


@pytest.mark.slow
@pytest.mark.parametrize("name", OPTIONS)
def test_every_parameter_acts_padding_does_not_and_sizes_need_not_divide(name):
    model = vit3d(**TINY | OPTIONS[name])
    x, _, spacing_mm = inputs(8, (16, 20))
    mask = jnp.arange(8)[None] < 5
    params = noise_like(jax.eval_shape(lambda: model.init(jax.random.key(1), x, mask, spacing_mm, False))["params"])

    def total(p, x):
        prediction = model.apply({"params": p}, x, mask, spacing_mm, True, rngs={"dropout": jax.random.key(2)})
        real = prediction.slice_logits[:, :5]
        return jnp.sum(jnp.square(prediction.scan_logits)) + jnp.sum(jnp.square(real)), (prediction.scan_logits, real)

    run = jax.jit(jax.grad(total, has_aux=True))
    grads, logits = run(params, x)
    # Turned by its place, what a bias adds to a key is no longer the same for all.
    dead = set() if "rotary" in name else key_biases(grads)
    assert silent_parameters(grads) == dead
    _, others = run(params, x.at[:, 5:].set(7.0))
    for one, other in zip(logits, others, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("positions", ["sincos", "learned", "rotary"])
def test_slices_lie_in_millimetres(positions):
    run = runner(VolumeEncoder(**TINY, positions=positions, position_grid=(9, 2, 2)))
    assert np.abs(run(jnp.full((1, 3), 5.0)) - run(jnp.full((1, 3), 7.5))).max() > 1e-3


def test_or_at_their_index():
    run = runner(VolumeEncoder(**TINY, positions="sincos", z_position="index"))
    np.testing.assert_array_equal(run(jnp.full((1, 3), 5.0)), run(jnp.full((1, 3), 7.5)))


def runner(encoder):
    """Spacing to tokens, everything else held."""
    x, mask, spacing_mm = inputs()
    variables = noise_like(jax.eval_shape(lambda: encoder.init(jax.random.key(1), x, mask, spacing_mm, train=False)))
    return jax.jit(lambda spacing_mm: encoder.apply(variables, x, mask, spacing_mm, train=False))


@pytest.mark.parametrize("attention", ["factorised", "joint"])
def test_slices_see_each_other(attention):
    """A change in one slice moves the features of every other one."""
    encoder = VolumeEncoder(**TINY, attention=attention)
    x, mask, spacing_mm = inputs()
    variables = noise_like(jax.eval_shape(lambda: encoder.init(jax.random.key(1), x, mask, spacing_mm, train=False)))
    run = jax.jit(lambda x: encoder.apply(variables, x, mask, spacing_mm, train=False))
    moved = np.abs(run(x) - run(x.at[:, 0].multiply(0.5))).max(axis=(0, 2, 3, 4))
    assert (moved > 1e-5).all()


@pytest.mark.slow
def test_a_2d_transformer_starts_a_factorised_one():
    """Its weights fit as they are, and without attention along the slices it gives the same in every slice."""
    flat = PatchEncoder(8, 24, 2, 2, positions="rotary")
    deep = VolumeEncoder((1, 8, 8), 24, 2, 2, positions="rotary")
    x, mask, spacing_mm = inputs()
    params = noise_like(jax.eval_shape(lambda: flat.init(jax.random.key(0), x[0], train=False))["params"])
    shapes = jax.eval_shape(lambda: deep.init(jax.random.key(0), x, mask, spacing_mm, train=False))["params"]
    zeros = jax.tree.map(lambda p: np.zeros(p.shape, p.dtype), shapes)
    started, report = fit_tree(zeros, jax.tree.map(np.asarray, params))
    assert report.misfits == {}
    assert all("_z/" in name for name in report.new)
    wanted = flat.apply({"params": params}, x[0], train=False)
    got = deep.apply({"params": jax.tree.map(jnp.asarray, started)}, x, mask, spacing_mm, train=False)
    np.testing.assert_allclose(got[0], wanted, atol=1e-5)


def test_learned_positions_between_two_entries_are_their_mean():
    table = jax.random.normal(jax.random.key(0), (3, 2, 2, 4))
    got = from_table(table, jnp.asarray([[-1.0, 0.0, 1.5, 2.0, 60.0]]), 2, 2)
    wanted = [table[0], table[0], (table[1] + table[2]) / 2, table[2], table[2]]
    np.testing.assert_allclose(got[0], jnp.stack(wanted), atol=1e-6)
    assert from_table(table, jnp.zeros((1, 2)), 5, 3).shape == (1, 2, 5, 3, 4)
