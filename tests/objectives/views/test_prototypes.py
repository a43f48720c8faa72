"""What dino is made of, beside the formulas of its papers and of their code, written in float64 and in PyTorch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ichformer.objectives.views.dino import STUDENT_TEMPERATURE, TEACHER_TEMPERATURE, _over_views
from ichformer.objectives.views.prototypes import Prototypes, cross_entropy, spread_loss, targets_of, unit
from ichformer.training.step import _follow
from tests.parity.reference import torch

EVERYBODY = jnp.ones(6, bool)


def logits(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).uniform(-1, 1, shape), jnp.float32)


@given(seed=st.integers(0, 999))
def test_with_a_centre_the_targets_are_a_sharp_softmax(seed):
    given, centre = logits(seed, 6, 5), logits(seed + 1, 5)
    found = targets_of(given, centre, EVERYBODY, temperature=0.04, centring="mean")
    shifted = np.exp((np.float64(given) - np.float64(centre)) / 0.04)
    np.testing.assert_allclose(found, shifted / shifted.sum(1, keepdims=True), rtol=1e-3, atol=1e-6)


@given(seed=st.integers(0, 999), real=st.integers(1, 6))
def test_sinkhorn_shares_the_prototypes_among_the_rows_that_are_there(seed, real):
    given, counts = logits(seed, 6, 3), jnp.arange(6) < real
    found = np.asarray(targets_of(given, jnp.zeros(3), counts, temperature=0.5, centring="sinkhorn"))
    np.testing.assert_allclose(found[:real].sum(1), 1, rtol=1e-5)
    assert (found[real:] == 0).all()
    shares = np.exp(np.float64(given[:real]) / 0.5)
    for _ in range(3):
        shares /= shares.sum(0, keepdims=True)
        shares /= shares.sum(1, keepdims=True)
    np.testing.assert_allclose(found[:real], shares, rtol=1e-4, atol=1e-6)
    alone = targets_of(given[:real], jnp.zeros(3), counts[:real], temperature=0.5, centring="sinkhorn")
    np.testing.assert_allclose(found[:real], alone, rtol=1e-4, atol=1e-6)


def test_no_gradient_reaches_the_teacher():
    for centring in ("mean", "sinkhorn"):

        def loss(given, centring=centring):
            targets = targets_of(given, jnp.zeros(5), EVERYBODY, temperature=0.04, centring=centring)
            return cross_entropy(targets, logits(1, 6, 5), temperature=0.1).sum()

        assert (jax.grad(loss)(logits(0, 6, 5)) == 0).all()


@given(seed=st.integers(0, 999))
def test_the_spread_is_the_distance_to_the_nearest_other_scan(seed):
    vectors, counts = logits(seed, 6, 4), jnp.asarray([True] * 5 + [False])
    found = spread_loss(vectors, counts)
    real = np.float64(unit(vectors))[:5]
    distance = np.linalg.norm(real[:, None] - real[None], axis=-1) + 9 * np.eye(5)
    np.testing.assert_allclose(found[:5], -np.log(distance.min(1)), atol=1e-3)
    assert found[5] == 0
    assert (spread_loss(vectors, jnp.arange(6) < 1) == 0).all(), "a scan alone has nobody to keep away from"
    gradient = jax.grad(lambda x: spread_loss(x, counts).sum())(vectors)
    assert np.isfinite(gradient).all()
    assert (gradient[5] == 0).all()


def test_prototypes_are_cosines():
    head = Prototypes(7, bottleneck=4)
    x = 100 * logits(0, 3, 5)
    params = head.init(jax.random.key(0), x)
    found = head.apply(params, x)
    assert found.shape == (3, 7)
    assert np.abs(found).max() <= 1 + 1e-5
    longer = jax.tree_util.tree_map_with_path(
        lambda path, leaf: 3 * leaf if path[-1].key == "prototypes" else leaf, params
    )
    np.testing.assert_allclose(head.apply(longer, x), found, atol=1e-6)


@pytest.mark.full(minutes=1)
def test_loss_and_centre_are_those_of_dino_in_torch():
    """``DINOLoss`` of Caron et al.: all pairs of views but equal ones, and a centre that follows the teacher's mean."""
    student, teacher, centre = logits(0, 6, 4, 9), logits(1, 6, 2, 9), logits(2, 9)
    ours_targets = targets_of(
        teacher.reshape(12, 9), centre, jnp.ones(12, bool), temperature=TEACHER_TEMPERATURE, centring="mean"
    )
    ours = _over_views(ours_targets.reshape(6, 2, 9), student)
    of_student, of_teacher, of_centre = (torch.from_numpy(np.array(each)) for each in (student, teacher, centre))
    total, pairs = 0.0, 0
    for i in range(2):
        wanted = torch.nn.functional.softmax((of_teacher[:, i] - of_centre) / TEACHER_TEMPERATURE, dim=-1)
        for j in range(4):
            if i != j:
                log_shares = torch.nn.functional.log_softmax(of_student[:, j] / STUDENT_TEMPERATURE, dim=-1)
                total, pairs = total + torch.sum(-wanted * log_shares, dim=-1).mean(), pairs + 1
    np.testing.assert_allclose(ours.mean(), (total / pairs).numpy(), rtol=1e-5)
    followed = _follow(centre, teacher.sum((0, 1)), jnp.asarray(12.0))
    np.testing.assert_allclose(
        followed, (of_centre * 0.9 + of_teacher.reshape(12, 9).mean(0) * 0.1).numpy(), rtol=1e-5, atol=1e-7
    )


@pytest.mark.full(minutes=1)
def test_sinkhorn_and_spread_are_those_of_dinov2_in_torch():
    given = logits(0, 8, 5)
    shares = torch.exp(torch.from_numpy(np.array(given)) / 0.07).t()
    shares /= shares.sum()
    for _ in range(3):
        shares /= shares.sum(dim=1, keepdim=True)
        shares /= shares.shape[0]
        shares /= shares.sum(dim=0, keepdim=True)
        shares /= shares.shape[1]
    wanted = (shares * shares.shape[1]).t()
    ours = targets_of(given, jnp.zeros(5), jnp.ones(8, bool), temperature=0.07, centring="sinkhorn")
    np.testing.assert_allclose(ours, wanted.numpy(), rtol=1e-4, atol=1e-6)
    vectors = torch.nn.functional.normalize(torch.from_numpy(np.array(given)), eps=1e-8, dim=-1)
    similar = vectors @ vectors.t()
    similar.fill_diagonal_(-1)
    distance = torch.nn.functional.pairwise_distance(vectors, vectors[similar.argmax(1)], 2, 1e-8)
    spread = spread_loss(given, jnp.ones(8, bool))
    np.testing.assert_allclose(spread.mean(), -torch.log(distance + 1e-8).mean().numpy(), rtol=1e-4)
