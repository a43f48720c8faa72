"""Optimisers, schedules, layer-wise rates and freezing, against optax and against layers that are not stacked."""

import dataclasses
from functools import reduce
from operator import getitem

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ichformer.errors import InputError
from ichformer.training.config import OptimConfig
from ichformer.training.optimizer.layer_depth import layer_scales
from ichformer.training.optimizer.optim import build_optimizer, learning_rate

RATE = 1e-2
SHAPES = {
    "mixer": {"attention": {"qkv": {"kernel": (24, 3, 2, 8), "bias": (3, 2, 8)}, "out": {"kernel": (2, 8, 24)}}},
    "blocks": {"block": {"qkv": {"kernel": (2, 24, 3, 2, 8)}, "up": {"kernel": (2, 24, 40)}}},
    "conv": {"kernel": (3, 3, 4, 32), "bias": (32,)},
    "norm": {"scale": (32,)},
    "head": {"slice_logits": {"kernel": (24, 6), "bias": (6,)}},
}


@pytest.fixture(scope="module")
def updates():
    """The first step of Muon and of optax's NAdamW without decay and warm-up, on the same random gradients.

    "factor" is Muon with a tenth of the rate for what is no matrix.
    """
    gradients = random_tree(0)
    params = jax.tree.map(jnp.zeros_like, gradients)
    config = OptimConfig(name="muon", learning_rate=RATE, warmup_steps=0, weight_decay=0.0, clip_norm=1e9)
    optimizers = {
        "muon": build_optimizer(config, steps=10**9),
        "factor": build_optimizer(dataclasses.replace(config, adamw_factor=0.1), steps=10**9),
        "nadamw": optax.nadamw(RATE, b2=config.b2, weight_decay=0.0),
    }
    return {name: each.update(gradients, each.init(params), params)[0] for name, each in optimizers.items()}


def singular_values(matrix: jax.Array) -> np.ndarray:
    """In units of the size that every singular value should have (Liu et al. 2025, eq. 4)."""
    return np.linalg.svd(np.asarray(matrix), compute_uv=False) / (0.2 * RATE * np.sqrt(max(matrix.shape)))


@pytest.mark.slow
def test_matrices_of_layers_are_orthogonalised(updates):
    attention = updates["muon"]["mixer"]["attention"]
    matrices = [attention["qkv"]["kernel"][:, i].reshape(24, 16) for i in range(3)]
    matrices += [attention["out"]["kernel"].reshape(16, 24), updates["muon"]["conv"]["kernel"].reshape(36, 32)]
    # Equal blocks are stacked on a first axis; each is a matrix of its own.
    for block in range(2):
        stacked = updates["muon"]["blocks"]["block"]
        matrices += [stacked["qkv"]["kernel"][block, :, i].reshape(24, 16) for i in range(3)]
        matrices += [stacked["up"]["kernel"][block]]
    for matrix in matrices:
        # Five Newton-Schulz iterations of Jordan's polynomial bring them near 1, not to it.
        assert np.all((singular_values(matrix) > 0.6) & (singular_values(matrix) < 1.3))


def test_all_else_moves_as_nadamw_moves_it(updates):
    for path in (("conv", "bias"), ("norm", "scale"), ("head", "slice_logits", "kernel")):
        muon, factor, nadamw = (reduce(getitem, path, updates[name]) for name in ("muon", "factor", "nadamw"))
        np.testing.assert_allclose(muon, nadamw, rtol=1e-5)
        np.testing.assert_allclose(factor, 0.1 * nadamw, rtol=1e-5)


def test_the_factor_leaves_matrices_alone(updates):
    for path in (("mixer", "attention", "qkv", "kernel"), ("blocks", "block", "up", "kernel"), ("conv", "kernel")):
        np.testing.assert_array_equal(*(reduce(getitem, path, updates[name]) for name in ("muon", "factor")))


NAMES = ("adamw", "lamb", "lion", "muon", "sgd")


@pytest.mark.parametrize("name", ["muon", "adamw", "lion", "sgd"])
def test_decay_shrinks_kernels_and_nothing_else(name):
    config = OptimConfig(name=name, learning_rate=RATE, warmup_steps=0, weight_decay=0.5)
    params = {"dense": {"kernel": jnp.ones((4, 6)), "bias": jnp.ones(6)}}
    optimizer = build_optimizer(config, steps=10**9)
    still = jax.tree.map(jnp.zeros_like, params)
    moved = optax.apply_updates(params, optimizer.update(still, optimizer.init(params), params)[0])
    np.testing.assert_allclose(moved["dense"]["kernel"], 1 - RATE * 0.5, rtol=1e-5)
    np.testing.assert_array_equal(moved["dense"]["bias"], 1)


def test_lamb_is_optax_lamb_where_no_layers_are_stacked():
    shapes = {name: shape for name, shape in SHAPES.items() if name != "blocks"}
    params, gradients = random_tree(0, shapes), random_tree(1, shapes)
    config = OptimConfig(name="lamb", learning_rate=RATE, warmup_steps=0, weight_decay=0.1, clip_norm=0.0)
    expected = optax.lamb(RATE, b2=config.b2, weight_decay=0.1, mask=kernels)
    np.testing.assert_allclose(
        flat(moves(build_optimizer(config, 10**9), params, gradients)),
        flat(moves(expected, params, gradients)),
        rtol=1e-4,
    )


@pytest.mark.parametrize("name", NAMES)
def test_stacked_layers_move_as_layers_of_their_own(name):
    """What ``nn.scan`` stacks is optimised as if every block had its own arrays."""
    shapes = {"mlp": {"up": {"kernel": (6, 8), "bias": (8,)}}, "attention": {"qkv": {"kernel": (6, 3, 2, 3)}}}
    layers = [random_tree(i, shapes) for i in range(3)], [random_tree(10 + i, shapes) for i in range(3)]
    apart = [{"encoder": {f"block{i}": layer for i, layer in enumerate(side)}} for side in layers]
    stacked = [{"encoder": {"blocks": {"block": jax.tree.map(lambda *x: jnp.stack(x), *side)}}} for side in layers]
    config = OptimConfig(name=name, learning_rate=RATE, warmup_steps=0, layer_decay=0.5)
    optimizer = build_optimizer(config, 10**9)
    found = moves(optimizer, *stacked)["encoder"]["blocks"]["block"]
    expected = moves(optimizer, *apart)["encoder"]
    for i in range(3):
        np.testing.assert_allclose(
            flat(jax.tree.map(lambda x, i=i: x[i], found)), flat(expected[f"block{i}"]), rtol=2e-3, atol=1e-7
        )


def test_rates_fall_from_the_head_to_the_patches():
    """As timm's ``param_group_layer_decay``: 0.5 to the power of the number of layers above."""
    vector = jnp.zeros(2)
    params = {
        "encoder": {
            "patches": {"kernel": vector},
            "positions": vector,
            "blocks": {"block": {"norm1": {"scale": jnp.zeros((3, 5))}}},
            "norm": {"scale": vector},
        },
        "context": {"block0": {"norm1": {"scale": vector}}},
        "head": {"scan_logits": {"kernel": vector}},
    }
    scales = layer_scales(params, 0.5)
    assert scales["encoder"]["patches"]["kernel"] == scales["encoder"]["positions"] == 0.5**4
    np.testing.assert_array_equal(scales["encoder"]["blocks"]["block"]["norm1"]["scale"], [[0.5**3], [0.5**2], [0.5]])
    for above in (scales["encoder"]["norm"], scales["context"]["block0"]["norm1"]):
        assert above["scale"] == 1
    assert scales["head"]["scan_logits"]["kernel"] == 1


def test_stages_and_their_blocks_are_layers_in_their_order():
    names = ("stem0", "stage0_block0", "stage0_block1", "stage1_block0", "norm")
    scales = layer_scales({"encoder": {name: {"kernel": jnp.zeros(1)} for name in names}}, 0.5)
    assert [float(scales["encoder"][name]["kernel"]) for name in names] == [0.5**4, 0.5**3, 0.5**2, 0.5, 1]


def test_both_blocks_of_each_pair_of_swin_are_layers():
    pair = {side: {"norm1": {"scale": jnp.zeros((2, 5))}} for side in ("level", "shifted")}
    params = {
        "encoder": {"patches": {"kernel": jnp.zeros(2)}, "stage0": {"pair": pair}, "norm": {"scale": jnp.zeros(5)}}
    }
    found = layer_scales(params, 0.5)["encoder"]["stage0"]["pair"]
    np.testing.assert_array_equal(found["level"]["norm1"]["scale"], [[0.5**4], [0.5**2]])
    np.testing.assert_array_equal(found["shifted"]["norm1"]["scale"], [[0.5**3], [0.5]])


def test_what_is_frozen_stays_and_costs_no_memory():
    params, gradients = random_tree(0), random_tree(1)
    config = OptimConfig(learning_rate=RATE, warmup_steps=0, freeze=("mixer/*", "norm*"))
    optimizer = build_optimizer(config, 10**9)
    moved = moves(optimizer, params, gradients)
    np.testing.assert_array_equal(flat({name: moved[name] for name in ("mixer", "norm")}), 0)
    assert np.all(flat({name: moved[name] for name in ("blocks", "conv", "head")}) != 0)
    moments = sum(x.size for x in jax.tree.leaves(optimizer.init(params)) if x.ndim)
    assert moments == 2 * flat({name: params[name] for name in ("blocks", "conv", "head")}).size


@pytest.mark.parametrize("name", NAMES)
def test_an_encoder_has_a_rate_of_its_own(name):
    shapes = {"encoder": SHAPES["mixer"], "head": SHAPES["head"]}
    params, gradients = random_tree(0, shapes), random_tree(1, shapes)
    config = OptimConfig(name=name, learning_rate=RATE, warmup_steps=0)
    plain = moves(build_optimizer(config, 10**9), params, gradients)
    found = moves(build_optimizer(dataclasses.replace(config, encoder_factor=0.1), 10**9), params, gradients)
    np.testing.assert_allclose(flat(found["encoder"]), 0.1 * flat(plain["encoder"]), rtol=1e-5)
    np.testing.assert_array_equal(flat(found["head"]), flat(plain["head"]))


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_an_encoder_stays_until_the_head_has_warmed_up(name):
    """Bit for bit for three steps, with decay; then it moves as far as it would have, times a factor that rises."""
    shapes = {"encoder": SHAPES["mixer"], "head": SHAPES["head"]}
    start = random_tree(0, shapes)
    config = OptimConfig(name=name, learning_rate=RATE, warmup_steps=2, weight_decay=0.1, schedule="wsd")
    held = dataclasses.replace(config, head_warmup_steps=3)
    optimizers = {"plain": build_optimizer(config, 10**9), "held": build_optimizer(held, 10**9)}
    states = {which: optimizer.init(start) for which, optimizer in optimizers.items()}
    update = {which: jax.jit(optimizer.update) for which, optimizer in optimizers.items()}
    params = start
    for step, factor in enumerate((0.0, 0.0, 0.0, 0.5, 1.0, 1.0)):
        gradients = random_tree(10 + step, shapes)
        plain, states["plain"] = update["plain"](gradients, states["plain"], params)
        found, states["held"] = update["held"](gradients, states["held"], params)
        np.testing.assert_allclose(flat(found["encoder"]), factor * flat(plain["encoder"]), rtol=1e-5, atol=1e-5 * RATE)
        np.testing.assert_allclose(flat(found["head"]), flat(plain["head"]), rtol=1e-5, atol=1e-5 * RATE)
        params = optax.apply_updates(params, found)
        assert np.array_equal(flat(params["encoder"]), flat(start["encoder"])) == (step < 3)
    assert not np.any(flat(params["head"]) == flat(start["head"]))


def test_a_rate_for_an_encoder_that_is_not_there_is_refused():
    with pytest.raises(
        InputError, match=r"--optim.encoder-factor: this model has no parameters under the name encoder"
    ):
        build_optimizer(OptimConfig(encoder_factor=0.1), 10).init(random_tree(0))
    with pytest.raises(InputError, match=r"--optim.head-warmup-steps: this model has no parameters under the name enc"):
        build_optimizer(OptimConfig(head_warmup_steps=3), 10).init(random_tree(0))


def test_a_pattern_that_freezes_nothing_is_explained():
    with pytest.raises(InputError, match=r"'encodr/\*' matches none of the parameters"):
        build_optimizer(OptimConfig(freeze=("encodr/*",)), 10).init(random_tree(0))


@pytest.mark.parametrize("schedule", ["cosine", "linear", "wsd"])
def test_rates_rise_to_the_peak_and_end_at_zero(schedule):
    rate = learning_rate(OptimConfig(schedule=schedule, learning_rate=2.0, warmup_steps=10), 100)
    rates = np.asarray([rate(step) for step in range(101)])
    np.testing.assert_allclose(rates[:11], np.linspace(0, 2, 11), rtol=1e-6)
    assert rates[10:].max() == pytest.approx(2)
    assert rates[100] == pytest.approx(0, abs=1e-6)
    assert np.all(np.diff(rates[10:]) <= 1e-6)
    middle = {"cosine": 1.0, "linear": 1.0, "wsd": 2.0}[schedule]
    assert rates[55] == pytest.approx(middle, rel=1e-5)
    if schedule == "wsd":
        np.testing.assert_allclose(rates[80:], np.linspace(2, 0, 21), atol=1e-6)


@pytest.mark.parametrize("steps", [1, 2, 11])
@pytest.mark.parametrize("schedule", ["cosine", "linear", "wsd"])
def test_short_runs_have_a_rate_for_every_step(schedule, steps):
    rate = learning_rate(OptimConfig(schedule=schedule, warmup_steps=10), steps)
    assert all(0 <= float(rate(step)) <= 1e-3 + 1e-9 for step in range(steps + 1))


@pytest.mark.parametrize(
    ("name", "value"), [("learning_rate", 0.0), ("layer_decay", 1.5), ("cooldown_fraction", 0.0), ("b2", 1.0)]
)
def test_numbers_out_of_range_are_refused(name, value):
    with pytest.raises(InputError, match=f"--optim.{name.replace('_', '-')}: {value} is out of range; take a number"):
        OptimConfig(**{name: value})


def kernels(tree):
    return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key == "kernel", tree)


def random_tree(seed: int, shapes=SHAPES):
    rng = np.random.default_rng(seed)
    return jax.tree.map(
        lambda shape: jnp.asarray(rng.standard_normal(shape), jnp.float32), shapes, is_leaf=lambda x: type(x) is tuple
    )


def moves(optimizer, params, gradients):
    return jax.jit(lambda: optimizer.update(gradients, optimizer.init(params), params)[0])()


def flat(tree) -> np.ndarray:
    return np.concatenate([np.ravel(x) for x in jax.tree.leaves(tree)])
