"""What the training loop knows of an objective."""

from typing import Any, Protocol, runtime_checkable

import jax
from jaxtyping import Array, Float

from ichformer.pipeline.batch import Batch

Params = Any
"""A pytree of parameters."""

Metrics = dict[str, tuple[jax.Array, jax.Array]]
"""Name -> (sum, weight): so that a metric, too, is one division after the sum over all devices."""


@runtime_checkable
class Objective(Protocol):
    """Something that can be optimised: pure, and hashable so that a jitted step can close over it.

    Example:
      >>> class Nothing:
      ...     def init(self, rng, batch):
      ...         return {"params": {}}
      ...
      ...     def loss(self, params, batch, rng, train):
      ...         return batch.weight.sum() * 0, batch.weight.sum(), {}
      >>> isinstance(Nothing(), Objective)
      True
    """

    def init(self, rng: jax.Array, batch: Batch) -> dict[str, Any]:
        """Variables for batches of this shape: ``{"params": ...}``."""
        ...

    def loss(self, params: Params, batch: Batch, rng: jax.Array, train: bool) -> tuple[jax.Array, jax.Array, Metrics]:
        """Sum and weight of the loss over the scans of ``batch``, and further metrics.

        Sums, not means: the step divides after the sum over devices, so that every layout gives the same loss. ``rng``
        is one key for the whole batch, of which ``batch`` may be a part: random numbers of a scan are drawn with
        ``models.layers.draws.draw_by_scan``, so that every layout draws the same.
        """
        ...


@runtime_checkable
class Pretraining(Objective, Protocol):
    """An objective that needs no labels: what it is after is the encoder, which gives features and starts others.

    The encoder's parameters have the names that they have in the model that the settings name, so that
    ``--init-from`` finds them.
    """

    def features(self, params: Params, batch: Batch) -> Float[Array, "b s d"]:
        """A vector for each slice; what stands at masked slices means nothing."""
        ...


def needs_whole_batch(objective: Objective) -> bool:
    """Whether the loss of a scan needs the other scans of its batch, which then cannot be computed in parts."""
    return bool(getattr(objective, "needs_whole_batch", False))


def wants_lesions(objective: Objective) -> bool:
    """Whether the loss reads ``Batch.lesions``: that of an objective with a ``lesion_weight`` above 0."""
    return getattr(objective, "lesion_weight", 0) > 0
