"""Rollout, gradient-weighted attention and LeGrad beside whole matrices, as their papers write them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ichformer as ich
from ichformer.explanations.attention import attention_of
from ichformer.explanations.methods.attention_maps import attention_rollout, gradient_attention, legrad
from ichformer.explanations.score import CannotExplainError
from ichformer.models.encoders.patch_encoder import PatchEncoder
from ichformer.models.families.slice_sequence import SliceSequence
from tests.explanations.scored import Linear, score_of

SIDE, PATCH, HEADS, WIDTH, DEPTH = 12, 4, 2, 8, 2
SLICES = 2


@functools.cache
def made():
    """A ViT with a class token and a register that scores each slice alone, with weights that say something."""
    encoder = PatchEncoder(PATCH, WIDTH, DEPTH, HEADS, class_token=True, num_registers=1)
    model = SliceSequence(encoder, None, slice_pool="token", scan_pool="max")
    x = jax.random.uniform(jax.random.key(0), (1, SLICES, SIDE, SIDE, 1))
    where = jnp.ones((1, SLICES), bool), jnp.ones((1, 3))
    params = model.init(jax.random.key(1), x, *where, False)["params"]
    params = jax.tree.map(lambda p: p + 0.4 * jax.random.normal(jax.random.key(p.size), p.shape), params)
    return score_of(model, {"params": params}, x, *where, label=1, level="slice"), params


def norm(p, x):
    centred = x - x.mean(-1, keepdims=True)
    y = centred / jnp.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6)
    return y * p["scale"][None] + p["bias"][None]


def dense(p, x):
    return jnp.tensordot(x, p["kernel"], p["kernel"].ndim - p["bias"].ndim) + p["bias"][None]


def weights_of(p, y):
    query, key, _ = jnp.moveaxis(dense(p["qkv"], y), 1, 0)
    return jax.nn.softmax(jnp.einsum("qhd,khd->hqk", query, key) / np.sqrt(WIDTH // HEADS))


def logit(params, tokens, changes):
    """The score of a slice with something added to its attention, and the attention, in plain JAX."""
    attention = []
    for i in range(DEPTH):
        p = jax.tree.map(lambda stacked, i=i: stacked[i], params["encoder"]["blocks"]["block"])
        y = norm(p["norm1"], tokens)
        attention.append(weights_of(p["attention"], y) + changes[i])
        value = dense(p["attention"]["qkv"], y)[:, 2]
        mixed = jnp.einsum("hqk,khd->qhd", attention[-1], value).reshape(len(tokens), -1)
        out = p["attention"]["out"]
        tokens = tokens + mixed @ out["kernel"].reshape(-1, WIDTH) + out["bias"][None]
        y = jax.nn.gelu(dense(p["mlp"]["up"], norm(p["norm2"], tokens)), approximate=True)
        tokens = tokens + dense(p["mlp"]["down"], y)
    read = norm(params["encoder"]["norm"], tokens)[:1]
    return read, attention


@functools.cache
def reference():
    """Attention of each layer and its gradient, [slices][layers] of [heads, n, n]."""
    score, params = made()
    encoder, n = score.objective.model.encoder, (SIDE // PATCH) ** 2 + 2
    found = []
    for k in range(SLICES):
        tokens = encoder.apply(
            {"params": params["encoder"]}, score.windowed[0, k : k + 1], None, method=PatchEncoder._embedded
        )[0]

        def of_slice(changes, tokens=tokens):
            vector, attention = logit(params, tokens, changes)
            head = params["head"]["slice_logits"]
            return dense(head, vector)[0, 1], attention

        zeros = [jnp.zeros((HEADS, n, n))] * DEPTH
        gradients, attention = jax.grad(of_slice, has_aux=True)(zeros)
        found.append((jax.device_get(attention), jax.device_get(gradients)))
    return found


def of_class_token(matrix):
    return matrix[0, 2:].reshape(SIDE // PATCH, SIDE // PATCH)


def by_papers(attention, gradients):
    n = attention[0].shape[-1]
    rollout = relevance = np.eye(n)
    positive = np.zeros((n, n))
    for a, g in zip(attention, gradients, strict=True):
        rollout = (a.mean(0) + np.eye(n)) / 2 @ rollout
        relevance = relevance + np.maximum(a * g, 0).mean(0) @ relevance
        positive[0] += np.maximum(g, 0).mean((0, 1))
    return {
        attention_rollout: of_class_token(rollout),
        gradient_attention: of_class_token(relevance - np.eye(n)),
        legrad: of_class_token(positive),
    }


@pytest.mark.slow
def test_the_class_token_is_traced_back_as_the_papers_say():
    score, _ = made()
    for method in (attention_rollout, gradient_attention, legrad):
        maps = np.asarray(method(score).maps)[0]
        assert maps.shape == (SLICES, 3, 3)
        for k in range(SLICES):
            wanted = by_papers(*reference()[k])[method]
            # A rollout starts with how much the class token is read, which is the slice's own.
            scale = maps[k].sum() / wanted.sum() if method is attention_rollout else 1.0
            np.testing.assert_allclose(maps[k], scale * wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options", "each"),
    [
        ("slice_vit_nano", {}, 1),
        pytest.param("vit3d_nano", {"attention": "joint", "patch_size": (2, 8, 8)}, 2, marks=pytest.mark.full),
        pytest.param("vit3d_nano", {}, 1, marks=pytest.mark.full),
        ("swin3d_nano", {}, None),
        pytest.param("maxvit_nano", {}, 1, marks=pytest.mark.full),
        pytest.param("dual_nano", {}, 1, marks=pytest.mark.full),
    ],
)
def test_a_rollout_hands_on_all_that_is_read(name, options, each):
    """Whatever the order in which an encoder keeps its tokens, padded windows and masked slices included."""
    model = ich.create_model(name, **options)
    x = jax.random.uniform(jax.random.key(0), (1, 4, 56, 40, 1))
    mask, spacing_mm = jnp.asarray([[True, True, True, False]]), jnp.asarray([[5.0, 1.0, 1.0]])
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(1), x, mask, spacing_mm, False))
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda p: 0.1 * rng.standard_normal(p.shape).astype(np.float32), shapes)["params"]

    @jax.jit
    def handed_on(params):
        found = attention_of(score_of(model, {"params": params}, x, mask, spacing_mm, label=0, level="scan"))
        relevance, errors = found.read, []
        for layer in reversed(found.layers):
            if layer.weights is None:
                relevance = layer.back(relevance)
                continue
            # Random numbers come back to their places, whatever was padded between.
            numbers = jax.random.uniform(jax.random.key(2), relevance.shape)
            errors.append(jnp.abs(layer.back(layer.to_sets(numbers)) - numbers).max())
            relevance = (relevance + layer.carry(relevance, layer.weights.mean(1))) / 2
        return found.read.sum(), relevance.sum(), jnp.stack(errors), found.to_maps(relevance)

    read, kept, errors, maps = handed_on(params)
    assert read > 0
    np.testing.assert_allclose(kept, read, rtol=1e-4)
    assert (np.asarray(errors) == 0).all()
    assert maps.shape[:2] == (1, 4)
    if each is not None:
        np.testing.assert_allclose(maps.sum(), each * read, rtol=1e-4)


@pytest.mark.slow
def test_a_model_that_does_not_attend_within_slices_is_refused():
    x = jnp.ones((1, 2, 32, 32, 1))
    mask, spacing_mm = jnp.ones((1, 2), bool), jnp.ones((1, 3))
    for model in (Linear(), ich.create_model("hybrid_nano")):
        variables = jax.jit(lambda model=model: model.init(jax.random.key(0), x, mask, spacing_mm, False))()
        with pytest.raises(CannotExplainError, match="no attention within slices"):
            attention_rollout(score_of(model, variables, x, mask, spacing_mm, label=0, level="scan"))
