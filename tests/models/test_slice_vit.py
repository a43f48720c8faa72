"""What slice_vit can be told; what every model has to do stands in test_every_model.py."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ichformer.errors import InputError
from ichformer.explanations.methods.cam import grad_cam, hires_cam
from ichformer.models.contract import CAM_LAYER
from ichformer.models.encoders.patch_encoder import PatchEncoder
from ichformer.models.families.slice_vit import slice_vit
from ichformer.models.heads import SliceContext
from ichformer.models.layers.attention.transformer import BlockStyle
from tests.explanations.scored import map_of
from tests.models.gradients import key_biases, silent_parameters

TINY = {"patch_size": 8, "width": 24, "depth": 1, "num_heads": 2, "context_depth": 1, "context_heads": 2}
TOKEN = {"class_token": True, "slice_pool": "token", "positions": "learned", "position_grid": (3, 5)}
RICH = {
    "depth": 2,
    "class_token": True,
    "num_registers": 2,
    "positions": "rotary",
    "slice_pool": "mean",
    "z_position": "index",
    "style": BlockStyle(mlp="swiglu", layer_scale=0.5, qk_norm=True, qkv_bias=False),
    "drop_path": 0.01,
}
OPTIONS = {"token": TOKEN, "rich": RICH}


def inputs(b: int = 1, s: int = 3, size: int = 16) -> tuple[jax.Array, jax.Array, jax.Array]:
    x = jax.random.uniform(jax.random.key(0), (b, s, size, size, 3))
    return x, jnp.ones((b, s), bool), jnp.full((b, 3), 5.0)


def noise_like(shapes: object, seed: int = 0) -> object:
    """Parameters without the zeros and ones that a fresh model has and that would hide a fault."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda p: jnp.asarray(0.3 * rng.standard_normal(p.shape), jnp.float32), shapes)


@pytest.mark.slow
@pytest.mark.parametrize("name", OPTIONS)
def test_every_parameter_of_every_option_acts_but_the_biases_of_keys(name):
    model = slice_vit(**TINY | OPTIONS[name])
    params = noise_like(jax.eval_shape(lambda: model.init(jax.random.key(1), *inputs(), False))["params"])

    def total(p):
        prediction = model.apply({"params": p}, *inputs(), True, rngs={"dropout": jax.random.key(2)})
        return jnp.sum(jnp.square(prediction.slice_logits)) + jnp.sum(jnp.square(prediction.scan_logits))

    grads = jax.jit(jax.grad(total))(params)
    assert silent_parameters(grads) == key_biases(grads)


@pytest.mark.parametrize("method", [pytest.param(grad_cam, marks=pytest.mark.slow), hires_cam])
def test_explanations_of_a_class_token_look_at_what_it_reads_last(method):
    """After the last block no patch has a say in the token, and before its norm none has one by its size."""
    model = slice_vit(**TINY | TOKEN)
    x, mask, spacing_mm = inputs(size=32)
    params = noise_like(jax.eval_shape(lambda: model.init(jax.random.key(1), x, mask, spacing_mm, False))["params"])

    def cam(label):
        return map_of(method, model, {"params": params}, x, mask, spacing_mm, label=label, level="slice")

    both = jax.jit(lambda label: cam(label) + cam(-label))
    maps = np.asarray(both(jnp.eye(6)[5]))
    assert maps.shape == (1, 3, 4, 4)
    assert (maps > 1e-6).mean() > 0.9


@pytest.mark.slow
def test_the_class_token_is_read_from_the_tokens_of_the_encoder():
    """Its vector at depth d, by the two halves that explanations need, is the first token of the encoder itself."""
    encoder = PatchEncoder(8, 24, 2, 2, class_token=True, num_registers=1, positions="rotary")
    x = inputs()[0][0]
    params = noise_like(jax.eval_shape(lambda: encoder.init(jax.random.key(0), x, train=False))["params"])
    bound = encoder.bind({"params": params})
    grid, tokens = bound.before_last_attention(x, train=False)
    assert (grid.shape, tokens.shape) == ((3, 2, 2, 24), (3, 6, 24))
    angles = bound._angles((2, 2), None)
    want = bound.norm(bound.blocks.last(lambda block, _, tokens: block(tokens, None, angles, train=False), tokens))
    np.testing.assert_allclose(bound.class_vector(grid, tokens, train=False), want[:, 0], atol=1e-6)
    np.testing.assert_allclose(bound.tokens(x, train=False), want[:, 2:], atol=1e-6)


@pytest.mark.slow
def test_learned_positions_are_resized_to_the_slice():
    encoder = PatchEncoder(8, 24, 1, 2, positions="learned", position_grid=(2, 2))
    x = jnp.zeros((1, 32, 48, 1))
    params = jax.jit(lambda: encoder.init(jax.random.key(0), x, train=False)["params"])()
    assert params["positions"].shape == (2, 2, 24)
    tokens = encoder.apply({"params": params}, x, train=False)
    assert tokens.shape == (1, 4, 6, 24)
    # A flat slice has no features but its positions; four corners of a 2x2 table stay four corners.
    assert len({round(float(v), 3) for v in (tokens[0, 0, 0, 0], tokens[0, 0, -1, 0], tokens[0, -1, 0, 0])}) == 3


@pytest.mark.slow
def test_kept_patches_keep_their_rotation():
    """A masked autoencoder that keeps every patch, in any order, gets what the encoder gives."""
    encoder = PatchEncoder(8, 24, 2, 2, class_token=True, positions="rotary")
    x = inputs()[0][0]
    params = noise_like(jax.eval_shape(lambda: encoder.init(jax.random.key(0), x, train=False))["params"])
    bound = encoder.bind({"params": params})
    order = jnp.asarray([[2, 0, 3, 1]] * 3)
    np.testing.assert_allclose(
        bound.tokens(x, order, train=False), bound.tokens(x, train=False)[:, order[0]], atol=1e-5
    )


@pytest.mark.slow
def test_millimetres_or_indices():
    x, mask, spacing_mm = (
        jax.random.normal(jax.random.key(0), (1, 5, 16)),
        jnp.ones((1, 5), bool),
        jnp.full((1, 3), 1.0),
    )
    for z_position, same in (("mm", False), ("index", True)):
        context = SliceContext(1, 2, z_position=z_position)
        params = context.init(jax.random.key(1), x, mask, spacing_mm, train=False)
        thin, thick = (context.apply(params, x, mask, k * spacing_mm, train=False) for k in (1, 10))
        assert bool(np.abs(thin - thick).max() < 1e-6) is same
    usual = SliceContext(1, 2).apply(params, x, mask, 5 * spacing_mm, train=False)
    np.testing.assert_allclose(thin, usual, atol=1e-6)


def test_the_grid_that_is_explained_comes_back():
    model = slice_vit(**TINY | RICH)
    shapes = jax.eval_shape(lambda: model.init_with_output(jax.random.key(1), *inputs(size=32), False)[0])
    assert shapes.features[CAM_LAYER].shape == (1, 3, 4, 4, 24)


def test_a_token_that_is_not_there_cannot_be_read():
    with pytest.raises(InputError, match="class_token=True"):
        slice_vit(slice_pool="token")
