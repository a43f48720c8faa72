"""The controls: noise that has nothing to do with the scan, and Sobel's operator beside SciPy."""

import jax
import jax.numpy as jnp
import numpy as np
import scipy.ndimage as ndi

from ichformer.explanations.controls import edges, random_map
from tests.explanations.scored import Linear, score_of


def made(x):
    mask = jnp.ones(x.shape[:2], bool).at[:, -1].set(False)
    return score_of(Linear(), {}, x, mask, jnp.ones((len(x), 3)), label=0, level="scan")


def test_edges_are_those_of_scipy():
    x = jax.random.uniform(jax.random.key(0), (1, 2, 9, 7, 2))
    found = edges(made(x)).maps
    planes = np.asarray(x)[0, 0]
    wanted = [np.hypot(*(ndi.sobel(planes[..., c], axis, mode="nearest") for axis in (0, 1))) for c in range(2)]
    np.testing.assert_allclose(found[0, 0], np.mean(wanted, axis=0), atol=1e-5)
    assert not found[0, 1].any()  # padding


def test_noise_is_the_same_for_every_scan_of_a_shape():
    x = jax.random.uniform(jax.random.key(0), (1, 2, 9, 7, 2))
    found = random_map(made(x)).maps
    np.testing.assert_array_equal(found, random_map(made(1 - x)).maps)
    assert (found != random_map(made(x), seed=1).maps)[0, 0].all()
    assert not found[0, 1].any()
