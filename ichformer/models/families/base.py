"""The base of all families: the labels that they score, and clear refusals of wrong inputs."""

from typing import Any

import flax.linen as nn
import jax

from ichformer import LABELS
from ichformer.errors import InputError, one_line
from ichformer.models.inputs import check_inputs, refuse_raw_hu
from ichformer.models.layers.checked import CheckedModule


class ScanModel(CheckedModule, kw_only=True):  # type: ignore[call-arg]  # Flax takes it, its stub does not
    """A classifier of slices and scans; ``models.contract.Classifier`` says what it takes and gives.

    Attributes:
      labels: names of the labels that it scores, in the order of its logits.
      channels: channels of its input; None takes the number that it is first called with.
    """

    labels: tuple[str, ...] = LABELS
    channels: int | None = None

    def __post_init__(self) -> None:
        """Checks the names of the labels, then the other settings."""
        super().__post_init__()
        where = f"{type(self).__name__}.labels"
        if not self.labels or len(set(self.labels)) < len(self.labels) or "" in self.labels:
            raise InputError(
                f"found {one_line(self.labels)}", where=where, fix="give one or more names, each of them once"
            )

    @nn.nowrap
    def check(self, x: Any, slice_mask: Any, spacing_mm: Any) -> None:
        """InputError for inputs of another shape or dtype; only shapes are read, so it costs nothing under jit."""
        check_inputs(x, slice_mask, spacing_mm, channels=self.channels)

    @nn.nowrap
    def init(self, rngs: Any, *args: Any, **kwargs: Any) -> Any:
        """``flax.linen.Module.init``, compiled as one program, and with raw HU refused.

        Example:
          >>> import jax
          >>> from ichformer.models.inputs import example_inputs
          >>> from ichformer.models.registry import create_model
          >>> model = create_model("cnn2d_nano", labels=("bleed", "fracture"))
          >>> variables = model.init(jax.random.key(0), **example_inputs(model))
          >>> variables["params"]["head"]["slice_logits"]["bias"].shape
          (2,)

        Raises:
          InputError: inputs of another shape or dtype, or with values outside of 0 to 1.
        """
        plain = super().init
        leaves = jax.tree.leaves((rngs, args, kwargs))
        if any(isinstance(leaf, jax.core.Tracer | jax.ShapeDtypeStruct) for leaf in leaves):
            return plain(rngs, *args, **kwargs)  # somebody else compiles it
        refuse_raw_hu(kwargs["x"] if "x" in kwargs else args[0])
        arrays, rest = _arrays_apart(kwargs)
        places = [place for place, value in enumerate(args) if _is_array(value)]

        @jax.jit
        def compiled(rngs: Any, given: list[Any], arrays: dict[str, Any]) -> Any:
            whole = list(args)
            for place, value in zip(places, given, strict=True):
                whole[place] = value
            return plain(rngs, *whole, **arrays, **rest)

        return compiled(rngs, [args[place] for place in places], arrays)


def _is_array(value: Any) -> bool:
    return hasattr(value, "shape") and hasattr(value, "dtype")


def _arrays_apart(kwargs: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arrays, which a compiled function takes, and settings such as ``train``, which it is compiled for."""
    arrays = {name: value for name, value in kwargs.items() if _is_array(value)}
    return arrays, {name: value for name, value in kwargs.items() if name not in arrays}
