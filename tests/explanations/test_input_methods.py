"""Methods on voxels where the answer is known: a linear model, whose every voxel has its share of the score."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ichformer.explanations.methods.input_gradient import input_x_gradient
from ichformer.explanations.methods.integrated_gradients import integrated_gradients
from ichformer.explanations.methods.occlusion import occlusion
from ichformer.explanations.methods.rise import rise
from ichformer.explanations.methods.smooth_grad import smooth_grad
from ichformer.models.contract import Prediction
from tests.explanations.scored import Linear, score_of

S, H, W, C = 4, 6, 8, 2
SLOPES = jax.random.normal(jax.random.key(1), (S, H, W, C))
X = jax.random.uniform(jax.random.key(0), (1, S, H, W, C))
MASK, SPACING = jnp.asarray([[True, True, True, False]]), jnp.ones((1, 3))
HEIGHTS = np.asarray([1.0, 2, 3, 0]).reshape(1, S, 1, 1)
"""What ``Linear`` gives each slice in the score of the scan; the last one is masked."""


def explained(method, *, x=X, level="scan", **options):
    def found(x):
        given = {"params": {"weights": SLOPES[..., : x.shape[-1]]}}
        return method(score_of(Linear(), given, x, MASK, SPACING, label=2, level=level), **options)

    return jax.jit(found)(x)


SHARES = np.asarray((X * SLOPES[None]).sum(-1)) * HEIGHTS


@pytest.mark.parametrize(
    "method",
    [input_x_gradient, *(pytest.param(m, marks=pytest.mark.slow) for m in (integrated_gradients, smooth_grad))],
)
def test_gradients_of_a_linear_model_are_exact_and_hold_what_each_slice_counts(method) -> None:
    found = explained(method)
    np.testing.assert_allclose(found.maps, SHARES, rtol=1e-4, atol=1e-5)
    if found.completeness_error is not None:
        assert found.completeness_error[0] < 1e-5
    slices = explained(method, level="slice").maps
    np.testing.assert_allclose(slices, np.where(HEIGHTS > 0, SHARES / np.maximum(HEIGHTS, 1), 0), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("block", "stride"), [((1, 2, 3), None), ((2, 4, 5), (2, 3, 4))])
def test_occlusion_of_a_linear_model_is_the_sum_over_the_block(block, stride) -> None:
    found = explained(occlusion, block=block, stride=stride).maps[0]
    total, times = np.zeros((S, H, W)), np.zeros((S, H, W))
    steps = stride or block
    places = [
        range(0, -(-(n - b) // step) * step + 1, step) for n, b, step in zip((S, H, W), block, steps, strict=True)
    ]
    for i in places[0]:
        for j in places[1]:
            for k in places[2]:
                here = np.s_[i : i + block[0], j : j + block[1], k : k + block[2]]
                total[here] += SHARES[0][here].sum()
                times[here] += 1
    assert times.min() >= 1
    np.testing.assert_allclose(found, np.where(HEIGHTS[0] > 0, total / times, 0), rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_rise_finds_the_one_part_that_counts() -> None:
    x = jnp.zeros_like(X).at[0, 1, :3, 4:].set(jnp.sign(SLOPES[1, :3, 4:]))
    found = np.asarray(explained(rise, x=x, masks=400, cells=(4, 2, 2)).maps[0])
    slice_, row, column = np.unravel_index(found.argmax(), found.shape)
    assert slice_ == 1
    assert row < 3
    assert column >= 4
    assert not found[3].any()


@pytest.mark.slow
def test_integrated_gradients_take_more_steps_until_they_are_complete() -> None:
    class Curved(Linear):
        def __call__(self, x, slice_mask, spacing_mm, train):
            found = super().__call__(x, slice_mask, spacing_mm, train)
            bent = 8 * jax.nn.relu(found.scan_logits - 3.0) ** 1.5
            return Prediction(slice_logits=found.slice_logits, scan_logits=bent, features={})

    x = jnp.abs(X) * jnp.sign(SLOPES)[None]

    @functools.partial(jax.jit, static_argnums=0)
    def found(most_steps):
        score = score_of(Curved(), {"params": {"weights": SLOPES / 20}}, x, MASK, SPACING, label=0, level="scan")
        return integrated_gradients(score, most_steps=most_steps), score(x) - score(jnp.zeros_like(x))

    few, difference = found(10)
    enough, _ = found(270)
    assert few.completeness_error[0] > enough.completeness_error[0]
    assert enough.completeness_error[0] < 1e-3
    np.testing.assert_allclose(enough.maps.sum(), difference[0], rtol=1e-3)


@pytest.mark.slow
def test_what_a_slice_gave_its_neighbours_is_its_own() -> None:
    """With neighbours as channels, the model of slice s reads s - 1 and s + 1 too, and each keeps its share."""
    x = X[..., :1]
    slopes = jnp.zeros((S, H, W, 3)).at[1, ..., 0].set(1.0).at[1, ..., 2].set(-1.0)  # slice 1: what is 0 less what is 2
    score = score_of(Linear(), {"params": {"weights": slopes}}, x, MASK, SPACING, label=0, level="slice", neighbours=1)
    found = input_x_gradient(score).maps[0]
    np.testing.assert_allclose(found[0], x[0, 0, ..., 0], rtol=1e-5)
    np.testing.assert_allclose(found[2], -x[0, 2, ..., 0], rtol=1e-5)
    assert not found[1].any()
