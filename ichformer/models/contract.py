"""The inputs and outputs that every model has, so that any model goes with any objective and any report."""

from typing import Any, Protocol, runtime_checkable

import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float

CAM_LAYER = "cam"
"""Name under which every family perturbs (``nn.Module.perturb``) the feature grid that Grad-CAM differentiates."""


@struct.dataclass
class Prediction:
    """Logits for a batch of scans.

    Example:
      >>> scans, slices, labels = 1, 4, 6
      >>> prediction = Prediction(
      ...     slice_logits=jnp.zeros((scans, slices, labels)),
      ...     scan_logits=jnp.zeros((scans, labels)),
      ...     features={"slices": jnp.zeros((scans, slices, 32))},
      ... )
      >>> prediction.scan_logits.shape
      (1, 6)

    Attributes:
      slice_logits: [B,S,labels] in the order of the model's labels, ``ichformer.LABELS`` by default; what stands at
        masked slices means nothing.
      scan_logits: [B,labels].
      features: by name, what explanations and transfer use: "slices" [B,S,D], one vector a slice after the context of
        its scan, and ``CAM_LAYER`` [B,S,h,w,d], the feature grid that they weigh.
      lesion_logits: [B,S,h,w,labels], a logit of each label for every place of a slice, on a grid that covers the slice
        from edge to edge; None where the model has no lesion head. What stands at masked slices means nothing.
    """

    # Any: JAX rebuilds a pytree with shapes, shardings and tracers in the place of its arrays.
    slice_logits: Any
    scan_logits: Any
    features: dict[str, Any]
    lesion_logits: Any = None


def scan_features(prediction: Prediction, slice_mask: Bool[Array, "b s"]) -> Float[Array, "b d"]:
    """The mean of a scan's slice features (``mean_of_slices``)."""
    return mean_of_slices(prediction.features["slices"], slice_mask)


def mean_of_slices(slices: Float[Array, "b s d"], slice_mask: Bool[Array, "b s"]) -> Float[Array, "b d"]:
    """The mean over the real slices of each scan, summed in float32, whatever the model computes in."""
    real = slice_mask[..., None]
    return jnp.where(real, slices.astype(jnp.float32), 0).sum(1) / jnp.maximum(real.sum(1), 1)


@runtime_checkable
class Classifier(Protocol):
    """A Flax module with this call; ``model.apply(variables, x, slice_mask, spacing_mm, train)``."""

    def __call__(
        self,
        x: Float[Array, "b s h w c"],
        slice_mask: Bool[Array, "b s"],
        spacing_mm: Float[Array, "b 3"],
        train: bool,
    ) -> Prediction:
        """Windowed slices in [0, 1], which of them are real, their spacing (z, y, x) -> logits."""
        ...
