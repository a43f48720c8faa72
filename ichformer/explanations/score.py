"""What every method of explanation is given, and what it gives back."""

from collections.abc import Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float, Int16

from ichformer.ct.anatomy.head import SKIN_HU
from ichformer.ct.windows import apply_windows
from ichformer.models.contract import Prediction
from ichformer.objectives.classification import Classification
from ichformer.objectives.inputs import with_neighbours
from ichformer.settings import check_known

PLAIN_BRAIN_HU = 32
"""Between white and grey matter, about 25 and 39 HU; the centre of the window for strokes."""


class CannotExplainError(Exception):
    """A method meets a model that has not what it needs; the text says what, such as "it has no lesion head"."""


@struct.dataclass(kw_only=True, eq=False)
class ExplainedScore:
    """The score that is explained, as a function of the windowed slices of some scans; a pytree.

    At level "scan" it is the logit of the scan. So what a slice is given holds, by construction, how much the slice
    counts in the scan's score. At level "slice" it is the sum of the logits of the scan's real slices: where a model
    lets slices see each other, a slice is given what it did for its neighbours' scores too.

    Attributes:
      objective: the model, and what it sees of a scan.
      variables: what ``objective.model.apply`` takes first.
      hu: the prepared scans.
      slice_mask: False where a slice is padding.
      spacing_mm: (z, y, x) of each scan.
      weights: of the labels; the score is the weighted sum of their logits.
      level: whose logit is explained.
      layer: of the model, the features of which methods on features explain (``layers.features_at``); "" for the grid
        that the model itself names.
    """

    objective: Classification = struct.field(pytree_node=False)
    variables: Mapping[str, Any]
    hu: Int16[Array, "b s h w"]
    slice_mask: Bool[Array, "b s"]
    spacing_mm: Float[Array, "b 3"]
    weights: Float[Array, "labels"]
    level: Literal["scan", "slice"] = struct.field(pytree_node=False)
    layer: str = struct.field(pytree_node=False, default="")

    @classmethod
    def of_label(
        cls,
        objective: Classification,
        variables: Mapping[str, Any],
        hu: Int16[Array, "b s h w"],
        slice_mask: Bool[Array, "b s"],
        spacing_mm: Float[Array, "b 3"],
        *,
        label: str,
        level: Literal["scan", "slice"],
    ) -> "ExplainedScore":
        """The score of one label.

        Raises:
          InputError: the objective's label set has no such label.
        """
        columns = objective.label_set.columns
        check_known("label", label, columns, where="label")
        return cls(
            objective=objective,
            variables=variables,
            hu=hu,
            slice_mask=slice_mask,
            spacing_mm=spacing_mm,
            weights=jax.nn.one_hot(columns.index(label), len(columns)),
            level=level,
        )

    @property
    def windowed(self) -> Float[Array, "b s h w c"]:
        """The slices as channels of windows in [0, 1], each without its neighbours."""
        return apply_windows(self.hu, self.objective.windows, jnp)

    @property
    def reference(self) -> Float[Array, "b s h w c"]:
        """The same of a scan that says nothing: plain brain wherever there is no air, and air where there is.

        Methods that change the input, or that compare with one, take this. Air is the same in both, so it carries
        nothing. Black in place of brain would be a scan that no model has seen.
        """
        return apply_windows(jnp.where(self.hu < SKIN_HU, self.hu, PLAIN_BRAIN_HU), self.objective.windows, jnp)

    def predict(self, windowed: Float[Array, "b s h w c"], perturbations: Any = None) -> Prediction:
        """What the model says of windowed slices, with something added where it perturbs its features."""
        variables = self.plain_variables()
        if perturbations is not None:
            variables |= {PERTURBATIONS: perturbations}
        return self.objective.model.apply(variables, self._inputs(windowed), self.slice_mask, self.spacing_mm, False)

    def perturbations(self) -> Any:
        """Shapes of what can be added to the model's features, as Flax's ``Module.perturb`` names them."""

        def grown() -> Any:
            inputs = self._inputs(self.windowed), self.slice_mask, self.spacing_mm, False
            changed = self.objective.model.apply(self.plain_variables(), *inputs, mutable=[PERTURBATIONS])[1]
            return changed.get(PERTURBATIONS, {})

        return jax.eval_shape(grown)

    def plain_variables(self) -> dict[str, Any]:
        """The variables without perturbations that an earlier call left there."""
        return {name: values for name, values in self.variables.items() if name != PERTURBATIONS}

    def of(self, prediction: Prediction) -> Float[Array, "b"]:
        """The score of each scan, in logits."""
        if self.level == "scan":
            logits = prediction.scan_logits
        else:
            # where, not a product: what stands at masked slices means nothing and may be NaN.
            logits = jnp.where(self.slice_mask[..., None], prediction.slice_logits, 0.0).sum(axis=1)
        return logits.astype(jnp.float32) @ self.weights

    def __call__(self, windowed: Float[Array, "b s h w c"]) -> Float[Array, "b"]:
        """The score of windowed slices, in logits."""
        return self.of(self.predict(windowed))

    def gradient(self, windowed: Float[Array, "b s h w c"]) -> Float[Array, "b s h w c"]:
        """The gradient of the score with respect to the windowed slices; scans of a batch do not see each other."""
        return jax.grad(lambda x: self(x).sum())(windowed)

    def only_real(self, maps: Float[Array, "b s h w"]) -> Float[Array, "b s h w"]:
        """Maps with 0 at masked slices."""
        return jnp.where(self.slice_mask[:, :, None, None], maps, 0.0)

    def _inputs(self, windowed: Array) -> Array:
        return with_neighbours(windowed, self.slice_mask, self.objective.neighbours)


PERTURBATIONS = "perturbations"
"""The collection of Flax that ``Module.perturb`` reads."""


@struct.dataclass
class Explanation:
    """What a method says of some scans.

    Attributes:
      maps: float32 [B,S,h,w], a grid that covers each slice from edge to edge; 0 at masked slices. Its unit is that of
        the method, most often logits a cell. It is not scaled, so slices of a scan can be compared.
      completeness_error: float32 [B], for methods whose map has to sum to a difference of scores: by how much the sum
        misses it, over that difference or over 1 logit where that is more; None for other methods.
    """

    # Any: JAX rebuilds a pytree with shapes, shardings and tracers in the place of its arrays.
    maps: Any
    completeness_error: Any = None
