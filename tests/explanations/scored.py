"""Scores of windowed slices as tests make them up, and models of which every explanation is known."""

import functools
from dataclasses import dataclass

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from ichformer import LABELS
from ichformer.ct.windows import WINDOWS
from ichformer.explanations.score import ExplainedScore
from ichformer.models.contract import Prediction
from ichformer.objectives.classification import Classification


@dataclass(frozen=True, kw_only=True, eq=False)
class ScoreOfInputs(ExplainedScore):
    """The score of windowed slices that did not come from HU, beside a black reference."""

    x: Array

    @property
    def windowed(self) -> Array:
        return self.x

    @property
    def reference(self) -> Array:
        return jnp.zeros_like(self.x)


def score_of(model, variables, x, mask, spacing_mm, *, label, level, neighbours=0) -> ScoreOfInputs:
    """``label`` is a position among the six labels, or a weight for each."""
    return ScoreOfInputs(
        objective=Classification(model=model, windows=(WINDOWS["brain"],), neighbours=neighbours),
        variables=variables,
        hu=jnp.zeros(x.shape[:4], jnp.int16),
        slice_mask=mask,
        spacing_mm=spacing_mm,
        weights=jax.nn.one_hot(label, len(LABELS)) if isinstance(label, int) else label,
        level=level,
        x=x,
    )


def map_of(method, model, variables, x, mask, spacing_mm, *, label, level) -> Array:
    weights = jax.nn.one_hot(label, len(LABELS)) if isinstance(label, int) else label
    return _map_of(method, model, level, variables, x, mask, spacing_mm, weights)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _map_of(method, model, level, variables, x, mask, spacing_mm, weights) -> Array:
    return method(score_of(model, variables, x, mask, spacing_mm, label=weights, level=level)).maps


class Linear(nn.Module):
    """Every label is a weighted sum of the inputs; the scan's is that of its slices, of which each has a weight."""

    @nn.compact
    def __call__(self, x: Array, slice_mask: Array, spacing_mm: Array, train: bool) -> Prediction:
        weights = self.param("weights", nn.initializers.normal(1.0), x.shape[1:])
        seen = jnp.where(slice_mask[:, :, None, None, None], x, 0)
        logits = (seen * weights[None]).sum((2, 3, 4))
        slice_logits = jnp.stack([logits] * len(LABELS), axis=-1)
        heights = (1.0 + jnp.arange(x.shape[1]))[None, :, None]
        return Prediction(slice_logits=slice_logits, scan_logits=(slice_logits * heights).sum(1), features={})
