"""From some prepared scans to maps, by a method's name: the pure function below everything that explains."""

from collections.abc import Mapping
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int16

from ichformer.errors import InputError
from ichformer.explanations.registry import EXPLANATIONS, Explain, find_method
from ichformer.explanations.score import CannotExplainError, ExplainedScore, Explanation
from ichformer.objectives.classification import Classification


def explain_batch(
    objective: Classification,
    variables: Mapping[str, Any],
    hu: Int16[Array, "b s h w"],
    slice_mask: Bool[Array, "b s"],
    spacing_mm: Float[Array, "b 3"],
    *,
    label: str,
    method: str,
    level: Literal["scan", "slice"],
) -> Explanation:
    """Explains the score of a label in a batch of prepared scans, with any model under any name or none.

    It is compiled once for each method, level and shape; one compilation serves every label.

    Example:
      >>> import jax
      >>> import ichformer as ich
      >>> model = ich.create_model("cnn2d_nano", channels=1)
      >>> objective = ich.Classification(model=model, windows=(ich.WINDOWS["brain"],))
      >>> scans = jnp.zeros((1, 4, 32, 32), jnp.int16), jnp.ones((1, 4), bool), jnp.ones((1, 3))
      >>> variables = jax.jit(lambda key: model.init(key, objective.inputs(*scans[:2]), *scans[1:], False))(
      ...     jax.random.key(0)
      ... )
      >>> found = explain_batch(objective, variables, *scans, label="any", method="hires_cam", level="scan")
      >>> found.maps.shape[:2]
      (1, 4)

    Args:
      objective: the model, and what it sees of a scan.
      variables: what ``objective.model.apply`` takes first.
      hu: prepared scans [B,S,H,W].
      slice_mask: False where a slice is padding.
      spacing_mm: (z, y, x) of each scan.
      label: of the objective's label set, or a target.
      method: of ``explanations.registry.EXPLANATIONS``; one on features may name a layer (``registry.find_method``).
      level: whose logit is explained (``ExplainedScore``).

    Returns:
      Maps that are not scaled, on the grid of the method.

    Raises:
      InputError: no such label or method, or the model has not what the method needs.
    """
    score = ExplainedScore.of_label(objective, variables, hu, slice_mask, spacing_mm, label=label, level=level)
    how = find_method(method)
    try:
        found = _explain(score, name=method, explain=how.explain)
    except CannotExplainError as reason:
        names = [name for name in EXPLANATIONS if name != method and _is_possible(name, score)]
        raise InputError(
            f"{method} cannot explain this model: {reason}",
            where="method",
            fix=f"take one of {', '.join(names)}" if names else "explain another model",
        ) from None
    if how.grid == "lesions" and label not in objective.labels_with_lesion_loss:
        known = ", ".join(objective.labels_with_lesion_loss)
        raise InputError(f"the lesions of {label} were never trained", where="label", fix=f"explain one of {known}")
    return found


@partial(jax.jit, static_argnames=("name", "explain"))
def _explain(score: ExplainedScore, *, name: str, explain: Explain) -> Explanation:
    found = EXPLANATIONS.check_made(name, explain(score), Explanation)
    if jnp.ndim(found.maps) != 4 or found.maps.shape[:2] != score.slice_mask.shape:
        raise InputError(
            f"its maps have the shape {jnp.shape(found.maps)}",
            where=name,
            fix=f"give [scans, slices, rows, columns], here {score.slice_mask.shape} and two more",
        )
    return found


def _is_possible(name: str, score: ExplainedScore) -> bool:
    """Whether the model has what a method needs: it is traced and not run."""
    try:
        jax.eval_shape(partial(_explain, name=name, explain=EXPLANATIONS[name].explain), score)
    except (CannotExplainError, InputError):
        return False
    return True
