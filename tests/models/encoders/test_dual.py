"""Two branches on one grid: both are heard at every place, and grids that differ are refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ichformer.errors import InputError
from ichformer.models.encoders.dual import BiFusion, DualEncoder, residual_and_vit
from ichformer.models.encoders.patch_encoder import PatchEncoder
from ichformer.models.encoders.residual import ResidualEncoder


@pytest.mark.slow
def test_each_place_of_the_fused_grid_hears_both_branches_there():
    local, wide = (jax.random.normal(jax.random.key(i), (1, 9, 9, 16)) for i in range(2))
    fusion = BiFusion(16)
    variables = jax.jit(lambda: fusion.init(jax.random.key(2), local, wide))()
    grads = jax.jit(jax.grad(lambda *grids: fusion.apply(variables, *grids)[0, 2, 3].sum(), argnums=(0, 1)))(
        local, wide
    )
    for grad in grads:
        heard = np.abs(grad[0]).sum(-1)
        assert np.unravel_index(np.argmax(heard), heard.shape) == (2, 3)


def test_grids_that_do_not_lie_on_one_another_are_refused():
    encoder = DualEncoder(ResidualEncoder((16, 16), 1), PatchEncoder(patch_size=16, width=16, depth=1, num_heads=2), 16)
    with pytest.raises(InputError, match="the branches' grids differ"):
        jax.eval_shape(lambda: encoder.init(jax.random.key(0), jnp.zeros((1, 32, 32, 3)), train=False))


@pytest.mark.parametrize("stages", [2, 3])
def test_patches_follow_the_stride(stages):
    encoder = residual_and_vit(widths=(16, 16, 32)[:stages], blocks=1, width=16, depth=1, num_heads=2)
    grid = jax.eval_shape(
        lambda: encoder.init_with_output(jax.random.key(0), jnp.zeros((2, 64, 32, 3)), train=False)[0]
    )
    assert grid.shape == (2, 64 >> (stages + 1), 32 >> (stages + 1), 16)
