"""Multilabel classification and regression of slices and scans, with unknown labels left out."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int16

from ichformer.ct.windows import Window
from ichformer.errors import InputError
from ichformer.labels import SIX, LabelSet
from ichformer.models.contract import Prediction
from ichformer.models.heads import START_LOGIT
from ichformer.models.layers.draws import draw_by_scan
from ichformer.objectives.base import Metrics, Params
from ichformer.objectives.config import ObjectiveConfig
from ichformer.objectives.inputs import model_inputs
from ichformer.objectives.lesions import lesion_loss
from ichformer.objectives.losses import (
    LOSSES,
    TARGET_LOSSES,
    LossName,
    TargetLossName,
    for_each_label,
    masked_loss,
)
from ichformer.pipeline.batch import Batch
from ichformer.pipeline.label_statistics import LabelStatistics
from ichformer.settings import check_ranges, check_settings

LABEL_WEIGHTS = (1.0, 1.0, 1.0, 1.0, 1.0, 2.0)
"""RSNA 2019 Intracranial Hemorrhage Detection, evaluation: "any" counts twice."""

Level = Literal["slice", "scan"]


@dataclass(frozen=True, kw_only=True)
class Classification:
    """The loss of slices, weighted by label, plus that of the scan; every scan counts the same.

    The model's outputs are logits of the labels, then standardised values of the targets. A target's output starts at
    ``START_LOGIT`` like all others, which stands for its mean.

    Example:
      >>> from ichformer.ct.windows import WINDOWS
      >>> from ichformer.models.registry import create_model
      >>> objective = Classification(model=create_model("cnn2d_nano"), windows=(WINDOWS["brain"],), loss_name="focal")
      >>> objective.label_set.names == objective.model.labels
      True

    Attributes:
      model: a ``models.contract.Classifier``.
      windows: the channels of its input.
      scan_weight: weight of the scan's loss beside the mean loss of its slices.
      neighbours: slices of either side that come as further channels.
      neighbour_dropout: chance that a training scan is seen without them, each slice as its own neighbour.
      label_set: the labels and the targets, in the order of the model's outputs.
      label_weights: how much each label and target counts. Where empty, the six labels count as in RSNA 2019, and all
        others, and targets, the same.
      slice_labels: the labels and targets that have a loss in slices; all where None. A label of which only positives
        or only negatives are known would teach the model to answer the same for every slice.
      scan_labels: the labels and targets that have a loss in scans; all where None.
      loss_name: the loss of each label (``objectives.losses``).
      positive_weight: how often a positive counts in "bce".
      target_loss_name: the loss of each standardised target.
      lesion_weight: weight of the loss of lesions (``objectives.lesions``) beside the loss of slices; 0 leaves it out.
        The model needs a lesion head, and batches ``Batch.lesions``.
      lesion_labels: the labels that have a loss of lesions; all where None.
      slice_statistics: of the training's slices; "logit_adjusted" and targets need them.
      scan_statistics: of the training's scans, likewise.
    """

    model: nn.Module
    windows: tuple[Window, ...]
    scan_weight: float = 1.0
    neighbours: int = 0
    neighbour_dropout: float = 0.0
    label_set: LabelSet = SIX
    label_weights: tuple[float, ...] = ()
    slice_labels: tuple[str, ...] | None = None
    scan_labels: tuple[str, ...] | None = None
    loss_name: LossName = "bce"
    positive_weight: float = 1.0
    target_loss_name: TargetLossName = "smooth_l1"
    lesion_weight: float = 0.0
    lesion_labels: tuple[str, ...] | None = None
    slice_statistics: LabelStatistics | None = None
    scan_statistics: LabelStatistics | None = None

    def __post_init__(self) -> None:
        """InputError for a value that is not of its type or outside its range."""
        check_settings(self, "Classification.")
        columns, weights = self.label_set.columns, self.label_weights
        some = f"some of {', '.join(columns)}"
        check_ranges(
            "Classification.",
            ("windows", self.windows, bool(self.windows), "at least one window"),
            ("scan_weight", self.scan_weight, self.scan_weight >= 0, "a number of 0 or more"),
            ("neighbours", self.neighbours, self.neighbours >= 0, "0 or more"),
            ("neighbour_dropout", self.neighbour_dropout, 0 <= self.neighbour_dropout <= 1, "0 to 1"),
            ("positive_weight", self.positive_weight, self.positive_weight > 0, "a number above 0"),
            ("lesion_weight", self.lesion_weight, self.lesion_weight >= 0, "a number of 0 or more"),
            ("lesion_labels", self.lesion_labels, {*(self.lesion_labels or ())} <= {*self.label_set.names}, some),
            (
                "label_weights",
                weights,
                len(weights) in (0, len(columns)) and all(weight >= 0 for weight in weights),
                f"{len(columns)} numbers of 0 or more",
            ),
            ("slice_labels", self.slice_labels, {*self.labels_with_loss("slice")} <= {*columns}, some),
            ("scan_labels", self.scan_labels, {*self.labels_with_loss("scan")} <= {*columns}, some),
        )

    def labels_with_loss(self, level: Level) -> tuple[str, ...]:
        """The labels and targets that have a loss at a level."""
        labels = self.slice_labels if level == "slice" else self.scan_labels
        return self.label_set.columns if labels is None else labels

    @property
    def labels_with_lesion_loss(self) -> tuple[str, ...]:
        """The labels that have a loss of lesions; none where there is no such loss."""
        names = self.label_set.names if self.lesion_labels is None else self.lesion_labels
        return names if self.lesion_weight else ()

    @property
    def weights(self) -> tuple[float, ...]:
        """How much each label and target counts."""
        names, targets = self.label_set.names, self.label_set.targets
        of_names = LABEL_WEIGHTS if self.label_set.has_subtypes else (1.0,) * len(names)
        return self.label_weights or of_names + (1.0,) * len(targets)

    def init(self, rng: jax.Array, batch: Batch) -> dict[str, Any]:
        """The model's parameters."""
        variables = self.model.init(
            rng, self.inputs(batch.hu, batch.slice_mask), batch.slice_mask, batch.spacing_mm, False
        )
        return {"params": variables["params"]}

    def inputs(
        self, hu: Int16[Array, "b s h w"], slice_mask: Bool[Array, "b s"], alone: Bool[Array, "b"] | None = None
    ) -> Float[Array, "b s h w c"]:
        """What the model sees, the first operation of the step; see ``model_inputs``."""
        return model_inputs(hu, slice_mask, self.windows, self.neighbours, alone)

    def predict(self, params: Params, batch: Batch) -> Prediction:
        """Logits without dropout."""
        return self.model.apply(
            {"params": params}, self.inputs(batch.hu, batch.slice_mask), batch.slice_mask, batch.spacing_mm, False
        )

    def scores(self, prediction: Prediction) -> tuple[Float[Array, "b s labels"], Float[Array, "b labels"]]:
        """Float32 probabilities of the labels, then values of the targets in their units: of slices, and of scans."""
        return self._scores(prediction.slice_logits, "slice"), self._scores(prediction.scan_logits, "scan")

    def lesion_scores(self, prediction: Prediction) -> Float[Array, "b s h w labels"] | None:
        """Float32 probabilities of lesions, NaN for labels whose lesions have no loss; None without a lesion head."""
        if prediction.lesion_logits is None:
            return None
        has_loss = [name in self.labels_with_lesion_loss for name in self.label_set.columns]
        probabilities = jax.nn.sigmoid(prediction.lesion_logits.astype(jnp.float32))
        return jnp.where(jnp.asarray(has_loss).reshape(1, 1, 1, 1, -1), probabilities, jnp.nan)

    def _scores(self, outputs: Float[Array, "*grid labels"], level: Level) -> Float[Array, "*grid labels"]:
        outputs, count = outputs.astype(jnp.float32), len(self.label_set.names)
        probabilities = jax.nn.sigmoid(outputs[..., :count])
        if not self.label_set.targets:
            return probabilities
        of_targets = outputs[..., count:] - START_LOGIT
        means, spreads = self._scale(level, of_targets)
        values = means + spreads * of_targets
        return jnp.concatenate([probabilities, values], axis=-1)

    def loss(self, params: Params, batch: Batch, rng: jax.Array, train: bool) -> tuple[jax.Array, jax.Array, Metrics]:
        """See ``objectives.base.Objective``; metrics "slice_loss", "scan_loss", "lesion_loss" are means over scans."""
        x = self.inputs(batch.hu, batch.slice_mask, self._alone(rng, len(batch.hu)) if train else None)
        prediction = self.model.apply(
            {"params": params}, x, batch.slice_mask, batch.spacing_mm, train, rngs={"dropout": rng}
        )
        slice_labels = jnp.where(batch.slice_mask[..., None], batch.slice_labels, jnp.nan)
        slice_loss, slices_known = self.loss_of("slice", prediction.slice_logits, slice_labels)
        scan_loss, scan_known = self.loss_of("scan", prediction.scan_logits, batch.scan_labels)
        slice_weight, scan_weight = batch.weight * slices_known, batch.weight * scan_known
        # A scan of which nothing is known says nothing; one with labels of either level counts once.
        weight = batch.weight * jnp.maximum(slices_known, scan_known)
        slice_sum, scan_sum = jnp.sum(slice_loss * slice_weight), jnp.sum(scan_loss * scan_weight)
        metrics = {"slice_loss": (slice_sum, jnp.sum(slice_weight)), "scan_loss": (scan_sum, jnp.sum(scan_weight))}
        total = slice_sum + self.scan_weight * scan_sum
        if self.lesion_weight:
            lesion_loss_of, lesions_known = lesion_loss(
                prediction.lesion_logits,
                batch.lesions,
                batch.slice_mask,
                names=self.label_set.columns,
                trained=self.labels_with_lesion_loss,
            )
            lesion_weight = batch.weight * lesions_known
            lesion_sum = jnp.sum(lesion_loss_of * lesion_weight)
            metrics["lesion_loss"] = (lesion_sum, jnp.sum(lesion_weight))
            total, weight = total + self.lesion_weight * lesion_sum, jnp.maximum(weight, lesion_weight)
        return total, jnp.sum(weight), metrics

    def _alone(self, rng: jax.Array, scans: int) -> Bool[Array, "b"] | None:
        if not self.neighbour_dropout:
            return None
        draws = draw_by_scan(jax.random.fold_in(rng, 1), scans, lambda key, each: jax.random.uniform(key, (each,)))
        return draws < self.neighbour_dropout

    def loss_of(
        self, level: Level, outputs: Float[Array, "b *grid labels"], labels: Float[Array, "b *grid labels"]
    ) -> tuple[Float[Array, "b"], Float[Array, "b"]]:
        """``masked_loss`` of the model's outputs at a level, over the labels that have a loss there."""
        labels = _only(self.labels_with_loss(level), labels, self.label_set.columns)
        return masked_loss(outputs, labels, self.weights, partial(self._of_outputs, level))

    def _of_outputs(
        self, level: Level, outputs: Float[Array, "*grid labels"], labels: Float[Array, "*grid labels"]
    ) -> Array:
        if not self.label_set.targets:
            return self._of_labels(level, outputs, labels)
        count = len(self.label_set.names)
        of_targets = outputs[..., count:] - START_LOGIT
        means, spreads = self._scale(level, of_targets)
        truth = (labels[..., count:] - means) / spreads
        losses = self._of_labels(level, outputs[..., :count], labels[..., :count])
        return jnp.concatenate([losses, TARGET_LOSSES[self.target_loss_name](of_targets, truth)], axis=-1)

    def _of_labels(self, level: Level, logits: Float[Array, "*grid labels"], labels: Array) -> Array:
        return LOSSES[self.loss_name](logits, labels, **_OPTIONS[self.loss_name](self, level, logits))

    def _log_odds(self, level: Level, like: Float[Array, "*grid labels"]) -> Array:
        return jnp.asarray(self._statistics(level).log_odds, like.dtype)

    def _scale(self, level: Level, like: Float[Array, "*grid targets"]) -> tuple[Array, Array]:
        """The mean and the spread of each target, with as many axes as ``like``."""
        known = self._statistics(level)
        means, spreads = (for_each_label(jnp.asarray(one), like) for one in (known.means, known.spreads))
        return means, spreads

    def _statistics(self, level: Level) -> LabelStatistics:
        found = self.slice_statistics if level == "slice" else self.scan_statistics
        if found is None:
            raise InputError(
                f"the statistics of the training's {level}s are not known",
                where=f"Classification.{level}_statistics",
                fix="give them: targets and the loss logit_adjusted need them",
            )
        return found


_OPTIONS: Mapping[LossName, Callable[[Classification, Level, Array], dict[str, Any]]] = {
    "bce": lambda objective, *_: {"positive_weight": objective.positive_weight},
    "focal": lambda *_: {},
    "asymmetric": lambda *_: {},
    "logit_adjusted": lambda objective, level, logits: {"log_odds": objective._log_odds(level, logits)},
}
"""What each loss takes beside logits and labels, by the names of its arguments."""


def build_classification(model: nn.Module, settings: ObjectiveConfig, label_set: LabelSet) -> Classification:
    """The objective "classification" of a run."""
    return Classification(
        model=model,
        windows=settings.display_windows,
        scan_weight=settings.scan_weight,
        neighbours=settings.neighbours,
        neighbour_dropout=settings.neighbour_dropout,
        label_set=label_set,
        loss_name=settings.loss,
        positive_weight=settings.positive_weight,
        target_loss_name=settings.target_loss,
        lesion_weight=settings.lesion_weight,
    )


def _only(
    names: tuple[str, ...], labels: Float[Array, "b *grid labels"], columns: tuple[str, ...]
) -> Float[Array, "b *grid labels"]:
    """The labels of these names; the others become unknown."""
    if set(names) == set(columns):
        return labels
    wanted = jnp.asarray([name in names for name in columns]).reshape((1,) * (labels.ndim - 1) + (-1,))
    return jnp.where(wanted, labels, jnp.nan)
