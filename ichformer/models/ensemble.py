"""Several models as one: weighted logits of members and of views of the scan, under the contract of every family."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ichformer.models.contract import CAM_LAYER, Prediction
from ichformer.models.layers.backends.backend import is_expected

View = Literal["plain", "flip", "reverse"]
"""A view of a scan that keeps its labels: as it is, with left and right exchanged, or with its slices reversed."""

_AXES: dict[View, tuple[int, ...]] = {"plain": (), "flip": (3,), "reverse": (1,)}
"""Axes of [b s h w c] that a view turns round; turning twice gives the scan back."""

_PERTURBATIONS = "perturbations"


@dataclass(frozen=True, kw_only=True)
class Group:
    """Members of one architecture, which run as one call on stacked parameters.

    Attributes:
      model: obeys ``models.contract.Classifier``.
      weights: of the members' logits, one a member; those of all groups sum to 1.
      channels: those of the ensemble's input that the members see, slice by slice from the lowest neighbour to the
        highest, the windows of a slice together.
    """

    model: nn.Module
    weights: tuple[float, ...]
    channels: tuple[tuple[int, ...], ...]


class Ensemble(nn.Module):
    """Weighted mean of the members' logits, each the mean over the views.

    Parameters are ``{"group0": ..., "group1": ...}``, each the members' parameters stacked on a new first axis.

    ``features`` holds, beside what the contract asks for, "member_slice_logits" [B,S,M,6] and "member_scan_logits"
    [B,M,6]. "slices" are the members' features side by side. So are the channels of the ``CAM_LAYER`` grid, brought to
    the resolution of the finest member: what a place of it is blamed for is what all members' places there are, each
    with its weight, and a map's total is the weighted total of theirs.

    Attributes:
      groups: the members.
      views: the test-time augmentations.
    """

    groups: tuple[Group, ...]
    views: tuple[View, ...] = ("plain",)

    @property
    def lesions(self) -> bool:
        """Whether every member has a lesion head; then lesion logits are means as the others are."""
        return all(getattr(group.model, "lesions", False) for group in self.groups)

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b s h w c"],
        slice_mask: Bool[Array, "b s"],
        spacing_mm: Float[Array, "b 3"],
        train: bool,
    ) -> Prediction:
        """See ``contract.Classifier``; members with dropout draw their own when training."""
        calls = [self._call(i, group, x, slice_mask, spacing_mm, train) for i, group in enumerate(self.groups)]
        grids = [jax.eval_shape(call, None).features[CAM_LAYER].shape for call in calls]  # [m v b s h w d]
        size = (max(shape[4] for shape in grids), max(shape[5] for shape in grids))
        changes: list[Array | None] = [None] * len(calls)
        if self.is_mutable_collection(_PERTURBATIONS) or self.has_variable(_PERTURBATIONS, CAM_LAYER):
            widths = [shape[0] * shape[1] * shape[6] for shape in grids]
            change = self.perturb(CAM_LAYER, jnp.zeros((*slice_mask.shape, *size, sum(widths))))
            ends = [sum(widths[: i + 1]) for i in range(len(widths))]
            changes = [
                self._to_members(part, shape)
                for part, shape in zip(jnp.split(change, ends[:-1], axis=-1), grids, strict=True)
            ]
        found = [call(change) for call, change in zip(calls, changes, strict=True)]
        weights = jnp.asarray([weight for group in self.groups for weight in group.weights], jnp.float32)
        slice_logits = self._side_by_side([p.slice_logits for p in found])
        scan_logits = jnp.concatenate([p.scan_logits.mean(1) for p in found]).transpose(1, 0, 2)
        return Prediction(
            slice_logits=jnp.einsum("m,bsml->bsl", weights, slice_logits),
            scan_logits=jnp.einsum("m,bml->bl", weights, scan_logits),
            features={
                "slices": jnp.concatenate(
                    [
                        self._side_by_side([p.features["slices"]]).reshape(*slice_mask.shape, -1).astype(jnp.float32)
                        for p in found
                    ],
                    axis=-1,
                ),
                CAM_LAYER: jnp.concatenate([self._from_members(p.features[CAM_LAYER], size) for p in found], axis=-1),
                "member_slice_logits": slice_logits,
                "member_scan_logits": scan_logits,
            },
            lesion_logits=self._lesions([p.lesion_logits for p in found]) if self.lesions else None,
        )

    def _call(
        self, number: int, group: Group, x: Array, slice_mask: Array, spacing_mm: Array, train: bool
    ) -> Callable[[Array | None], Prediction]:
        """The members of a group on every view: a function of what is added to their grids [M,V,B,S,h,w,d]."""
        seen, masks = self._views(group, x, slice_mask)
        count = len(group.weights)

        def init(rng: Array) -> Any:
            return jax.vmap(lambda key: group.model.init(key, seen[0], masks[0], spacing_mm, False)["params"])(
                jax.random.split(rng, count)
            )

        params = self.param(f"group{number}", init)
        keys = jax.random.split(self.make_rng("dropout"), count) if train else None

        def of_member(member: tuple[Any, Any, Any]) -> Prediction:
            params, key, change = member

            def of_view(x: Array, slice_mask: Array, change: Array | None) -> Prediction:
                variables = {"params": params}
                if change is not None:
                    shapes = jax.eval_shape(
                        lambda: group.model.apply(
                            variables, x, slice_mask, spacing_mm, False, mutable=[_PERTURBATIONS]
                        )[1]
                    )
                    variables |= jax.tree.map(lambda shape: change.astype(shape.dtype), shapes)
                rngs = {} if key is None else {"dropout": key}
                return group.model.apply(variables, x, slice_mask, spacing_mm, train, rngs=rngs)

            return jax.vmap(of_view)(seen, masks, change)

        return lambda change: _over_members(of_member, (params, keys, change))

    def _views(self, group: Group, x: Array, slice_mask: Array) -> tuple[Array, Array]:
        """[V,B,S,H,W,C] and [V,B,S]."""
        seen, masks = [], []
        for view in self.views:
            # From top to bottom, the slice above comes where the one below was.
            slices = group.channels[::-1] if view == "reverse" else group.channels
            order = [channel for windows in slices for channel in windows]
            own = x if order == list(range(x.shape[-1])) else jnp.take(x, jnp.asarray(order), axis=-1)
            seen.append(jnp.flip(own, _AXES[view]))
            masks.append(jnp.flip(slice_mask, 1) if view == "reverse" else slice_mask)
        return jnp.stack(seen), jnp.stack(masks)

    def _side_by_side(self, parts: list[Array]) -> Array:
        """[M,V,B,S,...] of each group to [B,S,all members,...]: the mean over views, slices in their own order."""
        means = [
            sum(jnp.flip(part[:, v], 2) if view == "reverse" else part[:, v] for v, view in enumerate(self.views))
            / len(self.views)
            for part in parts
        ]
        return jnp.moveaxis(jnp.concatenate(means), 0, 2)

    def _lesions(self, parts: list[Array]) -> Array:
        """[M,V,B,S,h,w,labels] of each group to [B,S,h,w,labels] of the finest: the weighted mean."""
        size = (max(part.shape[4] for part in parts), max(part.shape[5] for part in parts))
        means = []
        for group, part in zip(self.groups, parts, strict=True):
            turned = [jnp.flip(part[:, v], _grid_axes(view)) for v, view in enumerate(self.views)]
            mean = jnp.einsum("m,mbshwl->bshwl", jnp.asarray(group.weights, jnp.float32), sum(turned)) / len(turned)
            means.append(jax.image.resize(mean, (*mean.shape[:2], *size, mean.shape[4]), "linear", antialias=False))
        return sum(means[1:], means[0])

    def _from_members(self, grid: Array, size: tuple[int, int]) -> Array:
        """[M,V,B,S,h,w,d] to [B,S,*size,M V d], each place repeated where it lies."""
        turned = jnp.stack([jnp.flip(grid[:, v], _grid_axes(view)) for v, view in enumerate(self.views)], axis=1)
        b, s, h, w = turned.shape[2:6]
        spread = turned.transpose(2, 3, 4, 5, 0, 1, 6).reshape(b, s, h, w, -1).astype(jnp.float32)
        rows, columns = (_place_of(large, small) for large, small in zip(size, (h, w), strict=True))
        return jnp.take(jnp.take(spread, rows, axis=2), columns, axis=3)

    def _to_members(self, change: Array, shape: tuple[int, ...]) -> Array:
        """[B,S,*size,M V d] to [M,V,B,S,h,w,d], the mean over what a place was repeated to."""
        m, v, b, s, h, w, d = shape
        rows, columns = (
            np.eye(small, dtype=np.float32)[_place_of(large, small)]
            for large, small in zip(change.shape[2:4], (h, w), strict=True)
        )
        means = jnp.einsum(
            "bshwc,hi,wj->bsijc", change, rows / rows.sum(0, keepdims=True), columns / columns.sum(0, keepdims=True)
        )
        grid = means.reshape(b, s, h, w, m, v, d).transpose(4, 5, 0, 1, 2, 3, 6)
        return jnp.stack([jnp.flip(grid[:, i], _grid_axes(view)) for i, view in enumerate(self.views)], axis=1)


def _place_of(large: int, small: int) -> np.ndarray:
    """For each cell of an axis, the cell of a coarser one that it lies in."""
    return np.arange(large) * small // large


def _grid_axes(view: View) -> tuple[int, ...]:
    """Of [m b s h w d]."""
    return tuple(axis + 1 for axis in _AXES[view])


def _over_members(run: Callable[[Any], Prediction], members: Any) -> Prediction:
    """``run`` on each of the stacked members: all at once, but one after another on a CPU.

    There XLA runs what a batch of kernels becomes, a grouped convolution, three times slower than one convolution
    after another (measured with hybrid_nano); either way it is one call that is compiled once.
    """
    return jax.lax.map(run, members) if is_expected("cpu") else jax.vmap(run)(members)


def stack_members(params: list[Any]) -> Any:
    """The parameters of members of one architecture as a group has them."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *params)
