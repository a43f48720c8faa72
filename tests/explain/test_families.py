import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ichformer.explain.gradients import grad_cam
from ichformer.models.registry import create_model


@pytest.mark.slow
@pytest.mark.parametrize("name", ["slice_vit_nano", "hybrid_nano", "cnn3d_nano"])
@pytest.mark.parametrize("level", ["scan", "slice"])
def test_the_layer_of_every_family_still_has_a_say_in_the_score(name: str, level: str) -> None:
    model = create_model(name)
    x = jax.random.uniform(jax.random.key(0), (1, 4, 64, 64, 3))
    mask, spacing_mm = jnp.asarray([[True, True, True, False]]), jnp.ones((1, 3))
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(1), x, mask, spacing_mm, False))
    # Noise, since a fresh head may start at zero, and nothing has a say then.
    rng = np.random.default_rng(0)
    variables = jax.tree.map(lambda p: 0.1 * rng.standard_normal(p.shape).astype(np.float32), shapes)
    cam = jax.jit(lambda label: grad_cam(model, variables, x, mask, spacing_mm, label=label, level=level))
    both = [np.asarray(cam(sign * jnp.eye(6)[5])) for sign in (1.0, -1.0)]
    maps = both[0] + both[1]
    assert maps.shape[:2] == (1, 4)
    assert np.isfinite(maps).all()
    # The score and its negative together leave no slice that decides without a mark; the scan's may hang on one slice.
    assert (maps[0].max(axis=(1, 2)) > 0).sum() >= (3 if level == "slice" else 1)
    assert maps[0].std(axis=(1, 2)).max() > 0
    assert not maps[0, 3].any()
