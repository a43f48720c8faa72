"""Explanations by what the tokens of a transformer attended to."""

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ichformer.explanations.attention import EncoderAttention, attention_of
from ichformer.explanations.score import ExplainedScore, Explanation


def attention_rollout(score: ExplainedScore) -> Explanation:
    """Attention rollout of Abnar & Zuidema 2020 ("Quantifying attention flow in transformers", section 3).

    From the last block to the first, half of what a token has stays with it, for the shortcut, and half goes to what it
    attended to, the mean over heads. It starts at the tokens that the model reads: the class token, where there is one,
    and else each as much as the gradient of the score is long there, so slices have what they count. What the score
    says has no other part in it: the maps of two labels are much alike.

    Args:
      score: of a model whose encoder attends within slices.
    """
    found = attention_of(score)
    relevance = found.read
    for layer in reversed(found.layers):
        if layer.weights is None:
            relevance = layer.back(relevance)
        else:
            relevance = (relevance + layer.carry(relevance, layer.weights.mean(1))) / 2
    return _explained(score, found, relevance)


def gradient_attention(score: ExplainedScore) -> Explanation:
    """The attribution of Chefer et al. 2021 ("Generic attention-model explainability", ICCV, equations 5, 6 and 8).

    As the rollout, but a token hands on ReLU(gradient x weight), the mean over heads, beside all of its own. So only
    attention counts that raised the score. What tokens keep by the shortcuts alone is taken out at the end. What a
    slice's tokens are read, which is where it starts, sums to 1 in each slice, as it does for a class token.

    Args:
      score: of a model whose encoder attends within slices.
    """
    found = attention_of(score)
    total = found.read.sum(found.inner_axes, keepdims=True)
    relevance = kept = found.read / jnp.where(total == 0, 1.0, total)
    for layer in reversed(found.layers):
        if layer.weights is None or layer.gradient is None:
            relevance, kept = layer.back(relevance), layer.back(kept)
        else:
            shares = jax.nn.relu(layer.gradient * layer.weights).mean(1)
            relevance = relevance + layer.carry(relevance, shares)
    return _explained(score, found, relevance - kept)


def legrad(score: ExplainedScore) -> Explanation:
    """LeGrad of Bousselham et al. 2024 ("LeGrad: an explainability method for vision transformers", equations 6 to 8).

    The sum over all attentions of ReLU(gradient by the weights), the mean over heads and queries, for each key. The
    paper scores the tokens of each layer by themselves, against a text. A classifier has no such score for a layer
    within, so all gradients are those of its own.

    Args:
      score: of a model whose encoder attends within slices.
    """
    found = attention_of(score)
    relevance = jnp.zeros_like(found.read)
    for layer in reversed(found.layers):
        if layer.gradient is None:
            relevance = layer.back(relevance)
        else:
            relevance = relevance + layer.back(jax.nn.relu(layer.gradient).mean((1, 2)))
    return _explained(score, found, relevance)


def _explained(score: ExplainedScore, found: EncoderAttention, relevance: Array) -> Explanation:
    return Explanation(maps=score.only_real(jax.nn.relu(found.to_maps(relevance.astype(jnp.float32)))))
