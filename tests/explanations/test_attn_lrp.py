"""AttnLRP beside relevance that is handed on layer by layer, in NumPy, as the paper's rules say it."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import erf

from ichformer import LABELS
from ichformer.explanations.methods.attn_lrp import attn_lrp
from ichformer.explanations.score import CannotExplainError
from ichformer.models.contract import Prediction
from ichformer.models.layers.attention.self_attention import SelfAttention
from ichformer.models.layers.attention.transformer import Mlp
from tests.explanations.scored import Linear, score_of

EPSILON = 1e-6


class OneBlock(nn.Module):
    """The pixels of a slice are tokens of a block without shortcuts; a slice's logit is the sum of what comes out."""

    mlp: str

    @nn.compact
    def __call__(self, x, slice_mask, spacing_mm, train):
        b, s, h, w, c = x.shape
        tokens = x.reshape(b * s, h * w, c)
        tokens = nn.LayerNorm(epsilon=EPSILON, name="norm")(tokens)
        tokens = SelfAttention(1, name="attention")(tokens)
        tokens = Mlp(self.mlp, name="mlp")(tokens)
        logits = tokens.sum((1, 2)).reshape(b, s, 1) * jnp.ones((1, 1, len(LABELS)))
        return Prediction(slice_logits=logits, scan_logits=logits.sum(1), features={})


class CornerNorm(OneBlock):
    """The same, with a norm over two axes in front, as Swin's merging of patches has it."""

    axes: tuple[int, ...] = (-2, -1)

    @nn.compact
    def __call__(self, x, slice_mask, spacing_mm, train):
        shape = x.shape
        parts = x.reshape(*shape[:-1], *(2, 2) if len(self.axes) == 2 else (4,))
        parts = nn.LayerNorm(epsilon=EPSILON, reduction_axes=self.axes, feature_axes=self.axes, name="corner")(parts)
        return super().__call__(parts.reshape(shape), slice_mask, spacing_mm, train)


def made(mlp):
    x = jax.random.uniform(jax.random.key(0), (1, 2, 3, 3, 4))
    mask, spacing_mm = jnp.ones((1, 2), bool), jnp.ones((1, 3))
    model = OneBlock(mlp)
    variables = model.init(jax.random.key(1), x, mask, spacing_mm, False)
    # Larger than at the start of a training, and with biases, so that every rule has a say.
    variables = jax.tree.map(lambda p: p + 0.3 * jax.random.normal(jax.random.key(p.size), p.shape), variables)
    return score_of(model, variables, x, mask, spacing_mm, label=0, level="scan"), variables["params"], x


def share(x, y, kernel, relevance):
    """LRP-0 of ``y = x kernel + bias``: what each input gave to each output."""
    return x * ((relevance / y) @ kernel.T)


def reference(p, x):
    p = jax.tree.map(lambda a: np.asarray(a, np.float64), p)
    centred = x - x.mean(-1, keepdims=True)
    deviation = np.sqrt((centred**2).mean(-1, keepdims=True) + EPSILON)
    normed = centred / deviation * p["norm"]["scale"] + p["norm"]["bias"]
    kernel, bias = p["attention"]["qkv"]["kernel"][:, :, 0], p["attention"]["qkv"]["bias"][:, 0]
    q, k, v = (normed @ kernel[:, i] + bias[i] for i in range(3))
    scale = q.shape[-1] ** -0.5
    logits = scale * q @ k.T
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    mixed = weights @ v
    out_kernel = p["attention"]["out"]["kernel"][0]
    out = mixed @ out_kernel + p["attention"]["out"]["bias"]
    up = out @ p["mlp"]["up"]["kernel"] + p["mlp"]["up"]["bias"]
    active = up * 0.5 * (1 + erf(up / np.sqrt(2)))
    y = active @ p["mlp"]["down"]["kernel"] + p["mlp"]["down"]["bias"]

    r = share(active, y, p["mlp"]["down"]["kernel"], y)  # the score is the sum, so each output has its own value
    r = share(out, up, p["mlp"]["up"]["kernel"], r)  # GELU hands its relevance on as it is
    r = share(mixed, out, out_kernel, r)
    products = weights[:, :, None] * v[None]  # query, key, feature
    parts = 0.5 * products * (r / mixed)[:, None]
    r_weights, r_values = parts.sum(-1), parts.sum(0)
    r_logits = logits * (r_weights - weights * r_weights.sum(-1, keepdims=True))
    pairs = 0.5 * scale * q[:, None] * k[None] * (r_logits / logits)[..., None]
    r_normed = sum(
        share(normed, one, kernel[:, i], relevance)
        for i, (one, relevance) in enumerate(((q, pairs.sum(1)), (k, pairs.sum(0)), (v, r_values)))
    )
    # The norm is linear with its deviation held still.
    by_output = r_normed / normed * p["norm"]["scale"] / deviation
    return x * (by_output - by_output.mean(-1, keepdims=True))


def test_relevance_is_handed_on_as_the_rules_say():
    score, params, x = made("gelu")
    found = np.asarray(attn_lrp(score).maps)[0]
    for k in range(2):
        tokens = np.asarray(x, np.float64)[0, k].reshape(9, 4)
        wanted = reference(params, tokens).sum(-1).reshape(3, 3)
        np.testing.assert_allclose(found[k], wanted, rtol=1e-3, atol=1e-3 * np.abs(wanted).max())


def test_the_rules_are_not_the_gradient():
    score, _, x = made("swiglu")
    plain = (x * score.gradient(x)).sum(-1)
    assert np.abs(np.asarray(attn_lrp(score).maps - plain)).max() > 0.1 * float(jnp.abs(plain).max())


@pytest.mark.slow
def test_a_norm_over_several_axes_is_one_over_all_of_their_features():
    _, params, x = made("gelu")
    mask, spacing_mm = jnp.ones((1, 2), bool), jnp.ones((1, 3))
    scale, bias = jnp.array([1.0, 0.5, 2.0, -1.0]), jnp.array([0.1, 0.0, -0.3, 0.2])
    maps = []
    for axes, shape in (((-1,), (4,)), ((-2, -1), (2, 2))):
        corner = {"scale": scale.reshape(shape), "bias": bias.reshape(shape)}
        variables = {"params": {**params, "corner": corner}}
        score = score_of(CornerNorm("gelu", axes), variables, x, mask, spacing_mm, label=0, level="scan")
        maps.append(np.asarray(attn_lrp(score).maps))
    assert np.abs(maps[0]).max() > 0
    np.testing.assert_allclose(maps[1], maps[0], rtol=1e-4, atol=1e-5 * np.abs(maps[0]).max())


def test_a_model_without_attention_is_refused():
    x = jnp.ones((1, 2, 3, 3, 1))
    mask, spacing_mm = jnp.ones((1, 2), bool), jnp.ones((1, 3))
    variables = Linear().init(jax.random.key(0), x, mask, spacing_mm, False)
    with pytest.raises(CannotExplainError, match="no attention"):
        attn_lrp(score_of(Linear(), variables, x, mask, spacing_mm, label=0, level="scan"))
