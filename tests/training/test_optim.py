"""Muon orthogonalises the matrices of layers and leaves everything else to AdamW with Nesterov's momentum."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ichformer.training.config import OptimConfig
from ichformer.training.optim import build_optimizer

RATE = 1e-2
SHAPES = {
    "block": {"attention": {"qkv": {"kernel": (24, 3, 2, 8), "bias": (3, 2, 8)}, "out": {"kernel": (2, 8, 24)}}},
    "blocks": {"block": {"qkv": {"kernel": (2, 24, 3, 2, 8)}, "up": {"kernel": (2, 24, 40)}}},
    "conv": {"kernel": (3, 3, 4, 32), "bias": (32,)},
    "norm": {"scale": (32,)},
    "head": {"slice_logits": {"kernel": (24, 6), "bias": (6,)}},
}


@pytest.fixture(scope="module")
def updates():
    """The first step of Muon and of optax's NAdamW without decay and warm-up, on the same random gradients."""
    rng = np.random.default_rng(0)
    gradients = jax.tree.map(
        lambda shape: jnp.asarray(rng.standard_normal(shape), jnp.float32), SHAPES, is_leaf=lambda x: type(x) is tuple
    )
    params = jax.tree.map(jnp.zeros_like, gradients)
    config = OptimConfig(name="muon", learning_rate=RATE, warmup_steps=0, weight_decay=0.0, clip_norm=1e9)
    optimizers = {
        "muon": build_optimizer(config, steps=10**9),
        "nadamw": optax.nadamw(RATE, b2=config.b2, weight_decay=0.0),
    }
    return {name: each.update(gradients, each.init(params), params)[0] for name, each in optimizers.items()}


def singular_values(matrix: jax.Array) -> np.ndarray:
    """In units of the size that every singular value should have (Liu et al. 2025, eq. 4)."""
    return np.linalg.svd(np.asarray(matrix), compute_uv=False) / (0.2 * RATE * np.sqrt(max(matrix.shape)))


def test_matrices_of_layers_are_orthogonalised(updates):
    attention = updates["muon"]["block"]["attention"]
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
        muon, nadamw = updates["muon"], updates["nadamw"]
        for name in path:
            muon, nadamw = muon[name], nadamw[name]
        np.testing.assert_allclose(muon, nadamw, rtol=1e-5)


@pytest.mark.parametrize("name", ["muon", "adamw"])
def test_decay_shrinks_kernels_and_nothing_else(name):
    config = OptimConfig(name=name, learning_rate=RATE, warmup_steps=0, weight_decay=0.5)
    params = {"dense": {"kernel": jnp.ones((4, 6)), "bias": jnp.ones(6)}}
    optimizer = build_optimizer(config, steps=10**9)
    still = jax.tree.map(jnp.zeros_like, params)
    moved = optax.apply_updates(params, optimizer.update(still, optimizer.init(params), params)[0])
    np.testing.assert_allclose(moved["dense"]["kernel"], 1 - RATE * 0.5, rtol=1e-5)
    np.testing.assert_array_equal(moved["dense"]["bias"], 1)
