"""Contrastive pretraining over scans (SimCLR, Chen et al. 2020): two views of a scan are alike, other scans are not."""

from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ichformer.ct.windows import Window
from ichformer.labels import LabelSet
from ichformer.models.contract import scan_features
from ichformer.models.layers.dense import Dense
from ichformer.objectives.base import Metrics, Params
from ichformer.objectives.config import ObjectiveConfig
from ichformer.objectives.inputs import model_inputs
from ichformer.objectives.views.views import draw_view
from ichformer.pipeline.batch import Batch

PROJECTOR = "projector"


class Projector(nn.Module):
    """Two dense layers behind the features of a scan, for the loss alone (section 4.2)."""

    width: int

    @nn.compact
    def __call__(self, x: Float[Array, "b d"]) -> Float[Array, "b width"]:
        """Vectors of length 1."""
        x = Dense(self.width, name="out")(nn.relu(Dense(x.shape[-1], name="hidden")(x)))
        return x / jnp.maximum(jnp.linalg.norm(x, axis=-1, keepdims=True), 1e-6)


@dataclass(frozen=True, kw_only=True)
class Contrastive:
    """For each view of a scan the other view has to be found among all other views of the batch.

    Each scan's loss needs all others, so the whole batch has to be computed at once: see ``needs_whole_batch``.

    Attributes:
      model: a ``models.contract.Classifier``, whose features of slices are pretrained.
      windows: the channels of its input.
      neighbours: slices of either side that come as further channels.
      temperature: of the softmax.
      projection: features behind the projector.
    """

    model: nn.Module
    windows: tuple[Window, ...]
    neighbours: int = 0
    temperature: float = 0.1
    projection: int = 128

    needs_whole_batch = True

    def init(self, rng: jax.Array, batch: Batch) -> dict[str, Any]:
        """The parameters of the model by its own names, and those of the projector."""
        of_model, of_projector = jax.random.split(rng)
        variables = self.model.init(of_model, *self._inputs(batch), False)
        prediction = jax.eval_shape(lambda: self.model.apply(variables, *self._inputs(batch), False))
        features = jnp.zeros((1, prediction.features["slices"].shape[-1]))
        projector = Projector(self.projection).init(of_projector, features)["params"]
        return {"params": {**variables["params"], PROJECTOR: projector}}

    def loss(self, params: Params, batch: Batch, rng: jax.Array, train: bool) -> tuple[jax.Array, jax.Array, Metrics]:
        """See ``objectives.base.Objective``; the weight is the number of views."""
        of_views, of_dropout = jax.random.split(rng)
        vectors = []
        for i in range(2):
            hu, mask = draw_view(jax.random.fold_in(of_views, i), batch.hu, batch.slice_mask)
            view = batch._replace(hu=hu, slice_mask=mask)
            rngs = {"dropout": jax.random.fold_in(of_dropout, i)}
            features = scan_features(self._apply(params, view, train, rngs=rngs), mask)
            vectors.append(Projector(self.projection).apply({"params": params[PROJECTOR]}, features))
        losses, hits = nt_xent(*vectors, counts=batch.weight > 0, temperature=self.temperature)
        weight = batch.weight.sum() * 2
        return (losses * batch.weight).sum(), weight, {"found": ((hits * batch.weight).sum(), weight)}

    def features(self, params: Params, batch: Batch) -> Float[Array, "b s d"]:
        """See ``objectives.base.Pretraining``."""
        return self._apply(params, batch, False).features["slices"]

    def _apply(self, params: Params, batch: Batch, train: bool, **options: Any) -> Any:
        of_model = {name: value for name, value in params.items() if name != PROJECTOR}
        return self.model.apply({"params": of_model}, *self._inputs(batch), train, **options)

    def _inputs(self, batch: Batch) -> tuple[Array, Array, Array]:
        x = model_inputs(batch.hu, batch.slice_mask, self.windows, self.neighbours)
        return x, batch.slice_mask, batch.spacing_mm


def nt_xent(
    first: Float[Array, "b d"], second: Float[Array, "b d"], *, counts: Bool[Array, "b"], temperature: float
) -> tuple[Float[Array, "b"], Float[Array, "b"]]:
    """The normalised temperature-scaled cross-entropy of each scan's two views, summed (Chen et al. 2020, eq. 1).

    Args:
      first: vectors of length 1, a view of each scan.
      second: those of the other view.
      counts: scans that are there; others are found by nobody.
      temperature: of the softmax.

    Returns:
      The loss of both views of each scan, and for how many of the two the other view is the most similar one.
    """
    b = len(first)
    views = jnp.concatenate([first, second]).astype(jnp.float32)
    logits = jnp.matmul(views, views.T, precision="highest") / temperature
    others = ~jnp.eye(2 * b, dtype=bool) & jnp.tile(counts, 2)[None]
    logits = jnp.where(others, logits, -jnp.inf)
    partner = jnp.roll(jnp.arange(2 * b), b)
    own = jnp.take_along_axis(logits, partner[:, None], axis=1)[:, 0]
    both = jnp.tile(counts, 2)
    losses = jnp.where(both, jax.nn.logsumexp(jnp.where(both[:, None], logits, 0.0), axis=1) - own, 0.0)
    hits = both & (logits.argmax(1) == partner)
    return losses.reshape(2, b).sum(0), hits.reshape(2, b).sum(0).astype(jnp.float32)


def build_contrastive(model: nn.Module, settings: ObjectiveConfig, label_set: LabelSet) -> Contrastive:
    """The objective "contrastive" of a run, which needs no labels."""
    del label_set
    return Contrastive(
        model=model,
        windows=settings.display_windows,
        neighbours=settings.neighbours,
        temperature=settings.temperature,
    )
