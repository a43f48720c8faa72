"""Distillation without labels: DINO (Caron et al. 2021) with iBOT (Zhou et al. 2022) and KoLeo, as in DINOv2.

A teacher sees two large views of a scan. The model sees these with patches hidden, and small views besides. It says of
the scan, and of each hidden patch, which of many prototypes the teacher assigns (Oquab et al. 2024, section 4).
"""

from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from einops import rearrange
from jaxtyping import Array, Bool, Float, Shaped

from ichformer.ct.windows import Window
from ichformer.labels import LabelSet
from ichformer.models.contract import CAM_LAYER, Prediction, scan_features
from ichformer.models.layers.draws import draw_by_scan
from ichformer.objectives.base import Metrics, Params
from ichformer.objectives.config import ObjectiveConfig
from ichformer.objectives.inputs import model_inputs
from ichformer.objectives.masked.masks import draw_hidden, holds_tissue
from ichformer.objectives.teacher import Taught, Teacher
from ichformer.objectives.views.prototypes import Centring, Prototypes, cross_entropy, spread_loss, targets_of
from ichformer.objectives.views.views import draw_view
from ichformer.pipeline.batch import Batch

HEADS = "prototypes"
STUDENT_TEMPERATURE, TEACHER_TEMPERATURE = 0.1, 0.04

SMALL_AREA, SMALL_SLICES = (0.1, 0.4), (0.25, 0.5)
"""Shares of a slice and of the slices that a small view shows; its slices have half the rows and columns."""

HIDDEN_RATIO, HIDDEN_CHANCE = 0.3, 0.5
"""Of the patches of a large view, and of the views in which some are hidden (Zhou et al. 2022, section 4.1)."""

MOST_PATCHES = 64
"""Hidden patches of a view that are asked for: more cost memory for each prototype, and are alike."""


@dataclass(frozen=True, kw_only=True)
class SelfDistillation(Taught):
    """The cross-entropy of the model's prototypes beside the teacher's, of scans and of hidden patches.

    Attributes:
      model: a ``models.contract.Classifier``, whose features of slices and of patches are pretrained.
      windows: the channels of its input.
      neighbours: slices of either side that come as further channels.
      prototypes: how many there are, of scans and of patches.
      small_views: of a scan, beside the two large ones.
      patch_weight: of the loss of hidden patches (iBOT), beside that of scans.
      spread_weight: of the loss that spreads the scans of a batch (KoLeo).
      centring: how the teacher is kept from giving all scans the same prototype.
    """

    model: nn.Module
    windows: tuple[Window, ...]
    neighbours: int = 0
    prototypes: int = 4096
    small_views: int = 4
    patch_weight: float = 1.0
    spread_weight: float = 0.1
    centring: Centring = "mean"

    @property
    def needs_whole_batch(self) -> bool:
        """Whether scans are compared; the centre is a mean over steps, which needs no such thing."""
        return self.spread_weight > 0 or self.centring == "sinkhorn"

    def init(self, rng: jax.Array, batch: Batch) -> dict[str, Any]:
        """The parameters of the model by its own names, and those of the prototypes and of what hides a patch."""
        of_model, of_scans, of_patches = jax.random.split(rng, 3)
        inputs = self._inputs(batch)
        variables = self.model.init(of_model, *inputs, False)
        found = jax.eval_shape(lambda: self.model.apply(variables, *inputs, False)).features
        heads: dict[str, Any] = {"hidden": jnp.full(inputs[0].shape[-1:], 0.5)}
        for name, key, features in (("scan", of_scans, found["slices"]), ("patch", of_patches, found[CAM_LAYER])):
            heads[name] = self._head.init(key, jnp.zeros((1, features.shape[-1])))["params"]
        return {"params": {**variables["params"], HEADS: heads}}

    def first_means(self) -> dict[str, jax.Array]:
        """The centres of the teacher's logits."""
        return {"centre_of_scans": jnp.zeros(self.prototypes), "centre_of_patches": jnp.zeros(self.prototypes)}

    def taught_loss(
        self, teacher: Teacher, params: Params, batch: Batch, rng: jax.Array, train: bool
    ) -> tuple[jax.Array, jax.Array, Metrics]:
        """See ``objectives.base.Objective``; the weight is the number of scans.

        The metric "teacher_entropy" is the mean entropy of the teacher's distribution for a scan. It is 0 where each
        scan has one prototype, and ln(prototypes) where the teacher tells no scans apart.
        """
        b = len(batch.weight)
        of_large, of_small, of_hiding, of_patches, of_dropout = jax.random.split(rng, 5)
        large = _stack([self._view(jax.random.fold_in(of_large, i), batch) for i in range(2)])
        taught = self._see(teacher.params, large, False)
        hidden, asked, is_asked = self._hide(of_hiding, of_patches, large, taught)
        rngs = {"dropout": of_dropout}
        seen = self._see(params, large, train, hidden=hidden, rngs=rngs)
        student = [_views(self._scan_logits(params, seen, large), b)]
        if self.small_views:
            views = [self._small_view(jax.random.fold_in(of_small, i), batch) for i in range(self.small_views)]
            small = _stack(views)
            found = self._see(params, small, train, rngs=rngs)
            student.append(_views(self._scan_logits(params, found, small), b))

        counts = batch.weight > 0
        of_teacher = self._scan_logits(teacher.params, taught, large)
        targets = self._targets(of_teacher, teacher.means["centre_of_scans"], jnp.repeat(counts, 2))
        scan_loss = _over_views(_views(targets, b), jnp.concatenate(student, axis=1))
        patch_loss, patch_logits = self._patch_loss(teacher, params, taught, seen, asked, is_asked & _of(counts))
        spread = sum(
            spread_loss(vectors, counts)
            for vectors in jnp.moveaxis(_views(scan_features(seen, large.slice_mask), b), 1, 0)
        )
        loss = scan_loss + self.patch_weight * patch_loss + self.spread_weight * spread
        entropy = _views(jax.scipy.special.entr(targets).sum(-1), b).mean(1)
        weight = batch.weight.sum()
        metrics = {
            name: ((values * batch.weight).sum(), weight)
            for name, values in (("scan_loss", scan_loss), ("patch_loss", patch_loss), ("teacher_entropy", entropy))
        }
        of_scans = jnp.repeat(counts, 2).astype(jnp.float32)
        metrics["centre_of_scans"] = (of_scans @ of_teacher, of_scans.sum())
        of_asked = (is_asked & _of(counts)).astype(jnp.float32)
        metrics["centre_of_patches"] = (jnp.einsum("vn,vnk->k", of_asked, patch_logits), of_asked.sum())
        return (loss * batch.weight).sum(), weight, metrics

    def features(self, params: Params, batch: Batch) -> Float[Array, "b s d"]:
        """See ``objectives.base.Pretraining``."""
        return self._see(params, batch, False).features["slices"]

    @property
    def _head(self) -> Prototypes:
        return Prototypes(self.prototypes)

    def _targets(self, logits: Array, centre: Array, counts: Array) -> Array:
        return targets_of(logits, centre, counts, temperature=TEACHER_TEMPERATURE, centring=self.centring)

    def _view(self, rng: Array, batch: Batch, **options: Any) -> Batch:
        hu, mask = draw_view(rng, batch.hu, batch.slice_mask, **options)
        return batch._replace(hu=hu, slice_mask=mask)

    def _small_view(self, rng: Array, batch: Batch) -> Batch:
        return self._view(rng, batch, area=SMALL_AREA, slices=SMALL_SLICES, size=batch.hu.shape[2] // 2)

    def _see(
        self, params: Params, batch: Batch, train: bool, hidden: Array | None = None, **options: Any
    ) -> Prediction:
        of_model = {name: value for name, value in params.items() if name != HEADS}
        x, mask, spacing_mm = self._inputs(batch)
        if hidden is not None:
            x = jnp.where(hidden, params[HEADS]["hidden"], x)
        return self.model.apply({"params": of_model}, x, mask, spacing_mm, train, **options)

    def _inputs(self, batch: Batch) -> tuple[Array, Array, Array]:
        x = model_inputs(batch.hu, batch.slice_mask, self.windows, self.neighbours)
        return x, batch.slice_mask, batch.spacing_mm

    def _scan_logits(self, params: Params, prediction: Prediction, views: Batch) -> Float[Array, "n k"]:
        features = scan_features(prediction, views.slice_mask)
        return self._head.apply({"params": params[HEADS]["scan"]}, features)

    def _hide(
        self, rng: Array, of_patches: Array, views: Batch, prediction: Prediction
    ) -> tuple[Bool[Array, "n s h w c"], Array, Bool[Array, "n asked"]]:
        """What is hidden of each channel of the views, the patches that are asked for, and whether each is hidden."""
        n, s, rows, columns = prediction.features[CAM_LAYER].shape[:4]
        side = views.hu.shape[2] // rows, views.hu.shape[3] // columns
        tissue = holds_tissue(views.hu, views.slice_mask, (1, *side))[:, :, :rows, :columns]
        chosen = draw_by_scan(jax.random.fold_in(rng, 1), n, lambda key, each: jax.random.uniform(key, (each,)))
        hidden = draw_hidden(rng, tissue, ratio=HIDDEN_RATIO, kind="block")
        hidden = hidden & (chosen < HIDDEN_CHANCE)[:, None, None, None]
        order = draw_by_scan(of_patches, n, lambda key, each: jax.random.uniform(key, (each, s * rows * columns)))
        order = jnp.where(hidden.reshape(n, -1), order, 2.0)
        asked = jnp.argsort(order, axis=1)[:, :MOST_PATCHES]
        is_asked = jnp.take_along_axis(order, asked, axis=1) < 2
        voxels = hidden.repeat(side[0], 2).repeat(side[1], 3)
        behind = [(0, whole - part) for whole, part in zip(views.hu.shape[2:], voxels.shape[2:], strict=True)]
        voxels = jnp.pad(voxels, [(0, 0), (0, 0), *behind]).astype(jnp.int16)
        as_it_is = (Window(center_hu=0.5, width_hu=1.0),) * len(self.windows)
        return model_inputs(voxels, views.slice_mask, as_it_is, self.neighbours) > 0, asked, is_asked

    def _patch_loss(
        self, teacher: Teacher, params: Params, taught: Prediction, seen: Prediction, asked: Array, is_asked: Array
    ) -> tuple[Float[Array, "b"], Float[Array, "n asked k"]]:
        """The mean over the hidden patches of a scan that are asked for, 0 where none is; and the teacher's logits."""

        def logits(params: Params, prediction: Prediction) -> Array:
            grid = rearrange(prediction.features[CAM_LAYER], "n s h w d -> n (s h w) d")
            chosen = jnp.take_along_axis(grid, asked[..., None], axis=1)
            return self._head.apply({"params": params[HEADS]["patch"]}, chosen)

        of_teacher = jax.lax.stop_gradient(logits(teacher.params, taught))
        n, count, k = of_teacher.shape
        targets = self._targets(of_teacher.reshape(-1, k), teacher.means["centre_of_patches"], is_asked.reshape(-1))
        losses = cross_entropy(targets.reshape(n, count, k), logits(params, seen), temperature=STUDENT_TEMPERATURE)
        of_scan = [_views(each, n // 2).sum((1, 2)) for each in (jnp.where(is_asked, losses, 0), is_asked)]
        return of_scan[0] / jnp.maximum(of_scan[1], 1), of_teacher


def _stack(views: list[Batch]) -> Batch:
    """Views of each scan that follow each other, along the axis of the scans."""
    return jax.tree.map(lambda *each: rearrange(jnp.stack(each, 1), "b v ... -> (b v) ..."), *views)


def _views(values: Shaped[Array, "n ..."], scans: int) -> Shaped[Array, "b views ..."]:
    return values.reshape(scans, -1, *values.shape[1:])


def _of(counts: Bool[Array, "b"]) -> Bool[Array, "n 1"]:
    return jnp.repeat(counts, 2)[:, None]


def _over_views(targets: Float[Array, "b 2 k"], logits: Float[Array, "b views k"]) -> Float[Array, "b"]:
    """The mean over all pairs of a view of the teacher's and another one of the model's."""
    shares = jax.nn.log_softmax(logits / STUDENT_TEMPERATURE, axis=-1)
    losses = -jnp.einsum("bik,bjk->bij", targets, shares, precision="highest")
    others = 1.0 - jnp.eye(2, logits.shape[1])[None]
    return (losses * others).sum((1, 2)) / others.sum()


def build_dino(model: nn.Module, settings: ObjectiveConfig, label_set: LabelSet) -> SelfDistillation:
    """The objective "dino" of a run, which needs no labels."""
    del label_set
    return SelfDistillation(
        model=model,
        windows=settings.display_windows,
        neighbours=settings.neighbours,
        prototypes=settings.prototypes,
        small_views=settings.small_views,
        patch_weight=settings.patch_weight,
        spread_weight=settings.spread_weight,
        centring=settings.centring,
    )
