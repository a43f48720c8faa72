"""Multilabel classification of slices and scans, with the weights of RSNA 2019 and unknown labels left out."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int16

from ichformer import LABELS
from ichformer.ct.windows import Window
from ichformer.labels import LabelSet
from ichformer.models.contract import Prediction
from ichformer.objectives.base import Metrics, Params
from ichformer.objectives.config import ObjectiveConfig
from ichformer.objectives.inputs import model_inputs
from ichformer.objectives.losses import LOSSES, LossName, binary_cross_entropy
from ichformer.pipeline.batch import Batch
from ichformer.settings import check_ranges, check_settings

LABEL_WEIGHTS = (1.0, 1.0, 1.0, 1.0, 1.0, 2.0)
"""RSNA 2019 Intracranial Hemorrhage Detection, evaluation: "any" counts twice."""


@dataclass(frozen=True, kw_only=True)
class Classification:
    """The loss of slices, weighted by label, plus that of the scan; every scan counts the same.

    Attributes:
      model: a ``models.contract.Classifier``.
      windows: the channels of its input.
      scan_weight: weight of the scan's loss beside the mean loss of its slices.
      neighbours: slices of either side that come as further channels.
      slice_labels: the labels that have a loss in slices. A label of which only positives or only negatives are known
        would teach the model to answer the same for every slice.
      scan_labels: the labels that have a loss in scans.
      loss_name: the loss of each label (``objectives.losses``).
      positive_weight: how often a positive counts in "bce".
    """

    model: nn.Module
    windows: tuple[Window, ...]
    scan_weight: float = 1.0
    neighbours: int = 0
    slice_labels: tuple[str, ...] = LABELS
    scan_labels: tuple[str, ...] = LABELS
    loss_name: LossName = "bce"
    positive_weight: float = 1.0

    def __post_init__(self) -> None:
        """InputError for a value that is not of its type or outside its range."""
        check_settings(self, "Classification.")
        check_ranges(
            "Classification.",
            ("windows", self.windows, bool(self.windows), "at least one window"),
            ("scan_weight", self.scan_weight, self.scan_weight >= 0, "a number of 0 or more"),
            ("neighbours", self.neighbours, self.neighbours >= 0, "0 or more"),
            ("positive_weight", self.positive_weight, self.positive_weight > 0, "a number above 0"),
            ("slice_labels", self.slice_labels, set(self.slice_labels) <= set(LABELS), f"some of {', '.join(LABELS)}"),
            ("scan_labels", self.scan_labels, set(self.scan_labels) <= set(LABELS), f"some of {', '.join(LABELS)}"),
        )

    def init(self, rng: jax.Array, batch: Batch) -> dict[str, Any]:
        """The model's parameters."""
        variables = self.model.init(
            rng, self.inputs(batch.hu, batch.slice_mask), batch.slice_mask, batch.spacing_mm, False
        )
        return {"params": variables["params"]}

    def inputs(self, hu: Int16[Array, "b s h w"], slice_mask: Bool[Array, "b s"]) -> Float[Array, "b s h w c"]:
        """What the model sees, the first operation of the step."""
        return model_inputs(hu, slice_mask, self.windows, self.neighbours)

    def predict(self, params: Params, batch: Batch) -> Prediction:
        """Logits without dropout."""
        return self.model.apply(
            {"params": params}, self.inputs(batch.hu, batch.slice_mask), batch.slice_mask, batch.spacing_mm, False
        )

    def loss(self, params: Params, batch: Batch, rng: jax.Array, train: bool) -> tuple[jax.Array, jax.Array, Metrics]:
        """See ``objectives.base.Objective``; metrics "slice_loss" and "scan_loss" are means over scans."""
        prediction = self.model.apply(
            {"params": params},
            self.inputs(batch.hu, batch.slice_mask),
            batch.slice_mask,
            batch.spacing_mm,
            train,
            rngs={"dropout": rng},
        )
        slice_labels = jnp.where(batch.slice_mask[..., None], batch.slice_labels, jnp.nan)
        slice_loss, slices_known = masked_loss(
            prediction.slice_logits, _only(self.slice_labels, slice_labels), self._of_labels
        )
        scan_loss, scan_known = masked_loss(
            prediction.scan_logits, _only(self.scan_labels, batch.scan_labels), self._of_labels
        )
        slice_weight, scan_weight = batch.weight * slices_known, batch.weight * scan_known
        # A scan of which nothing is known says nothing; one with labels of either level counts once.
        weight = batch.weight * jnp.maximum(slices_known, scan_known)
        slice_sum, scan_sum = jnp.sum(slice_loss * slice_weight), jnp.sum(scan_loss * scan_weight)
        metrics = {"slice_loss": (slice_sum, jnp.sum(slice_weight)), "scan_loss": (scan_sum, jnp.sum(scan_weight))}
        return slice_sum + self.scan_weight * scan_sum, jnp.sum(weight), metrics

    def _of_labels(self, logits: Float[Array, "*grid labels"], labels: Float[Array, "*grid labels"]) -> Array:
        if self.loss_name == "bce":
            return binary_cross_entropy(logits, labels, positive_weight=self.positive_weight)
        return LOSSES[self.loss_name](logits, labels)


def build_classification(model: nn.Module, settings: ObjectiveConfig, label_set: LabelSet) -> Classification:
    """The objective "classification" of a run."""
    del label_set
    return Classification(
        model=model,
        windows=settings.display_windows,
        scan_weight=settings.scan_weight,
        neighbours=settings.neighbours,
        loss_name=settings.loss,
        positive_weight=settings.positive_weight,
    )


def _only(names: tuple[str, ...], labels: Float[Array, "b *grid labels"]) -> Float[Array, "b *grid labels"]:
    """The labels of these names; the others become unknown."""
    if set(names) == set(LABELS):
        return labels
    wanted = jnp.asarray([name in names for name in LABELS]).reshape((1,) * (labels.ndim - 1) + (-1,))
    return jnp.where(wanted, labels, jnp.nan)


def masked_loss(
    logits: Float[Array, "b *grid labels"],
    labels: Float[Array, "b *grid labels"],
    of_labels: Callable[..., Array] = binary_cross_entropy,
) -> tuple[Float[Array, "b"], Float[Array, "b"]]:
    """Label-weighted mean loss of each scan over its known labels, and whether it has any (1 or 0).

    Args:
      logits: [B,...,6].
      labels: 0, 1 or NaN (unknown), of the same shape.
      of_labels: the loss of each logit, given logits and labels.
    """
    known = ~jnp.isnan(labels)
    grid = (1,) * (logits.ndim - 1)
    weight = known * jnp.asarray(LABEL_WEIGHTS, logits.dtype).reshape(*grid, -1)
    losses = of_labels(logits, jnp.where(known, labels, 0.0)) * weight
    over = tuple(range(1, logits.ndim))
    total = weight.sum(over)
    return losses.sum(over) / jnp.maximum(total, 1e-6), (total > 0).astype(logits.dtype)
