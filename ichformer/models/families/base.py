"""The base of all families: the labels that they score, and clear refusals of wrong inputs."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.errors import ScopeParamShapeError
from jaxtyping import Array, Bool, Float

from ichformer import LABELS
from ichformer.errors import InputError, one_line
from ichformer.models.heads import SlicePool
from ichformer.models.inputs import check_channels_of, check_inputs, check_key, check_values
from ichformer.models.layers.checked import CheckedModule
from ichformer.models.layers.dense import Dense
from ichformer.models.lesions import LesionHead


class ScanModel(CheckedModule, kw_only=True):  # type: ignore[call-arg]  # Flax takes it, its stub does not
    """A classifier of slices and scans; ``models.contract.Classifier`` says what it takes and gives.

    Attributes:
      dtype: of the computation; parameters stay float32.
      labels: names of the labels that it scores, in the order of its logits.
      channels: channels of its input; None takes the number that it is first called with.
      lesions: whether it has a lesion head (``models.lesions``), which gives ``Prediction.lesion_logits``.
    """

    dtype: Any = jnp.float32
    labels: tuple[str, ...] = LABELS
    channels: int | None = None
    lesions: bool = False

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
    def find_lesions(
        self,
        vectors: Float[Array, "b s d"],
        x: Float[Array, "*b h w c"],
        grids: tuple[Float[Array, "..."], ...],
        slice_mask: Bool[Array, "b s"],
    ) -> tuple[Float[Array, "b s d"], Float[Array, "b s rows columns labels"] | None]:
        """The slices' vectors with what the lesion head found in each slice added, and its logits.

        An encoder's output is coarse, so that a bleed of a few pixels is lost in it. What the lesion head decodes is
        fine, and is pooled for the slice's labels. Without a lesion head: the vectors as they are, and None.

        Args:
          vectors: of the slices.
          x: see ``models.lesions.LesionHead``, as of ``grids`` and ``slice_mask``.
        """
        if not self.lesions:
            return vectors, None
        logits, places = LesionHead(len(self.labels), dtype=self.dtype, name="lesion_head")(x, grids, slice_mask)
        found = Dense(vectors.shape[-1], dtype=self.dtype, name="from_lesions")(
            SlicePool(self.dtype, name="lesion_pool")(places)
        )
        return vectors + found.reshape(vectors.shape), logits

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
          InputError: no key, inputs of another shape or dtype, or values that are outside of 0 to 1 or no numbers.
        """
        plain = super().init
        if _is_traced(rngs, args, kwargs):
            return plain(rngs, *args, **kwargs)  # somebody else compiles it
        check_key(rngs)
        check_values(*_values(args, kwargs))
        arrays, rest = _arrays_apart(kwargs)
        places = [place for place, value in enumerate(args) if _is_array(value)]

        @jax.jit
        def compiled(rngs: Any, given: list[Any], arrays: dict[str, Any]) -> Any:
            whole = list(args)
            for place, value in zip(places, given, strict=True):
                whole[place] = value
            return plain(rngs, *whole, **arrays, **rest)

        return compiled(rngs, [args[place] for place in places], arrays)

    @nn.nowrap
    def apply(self, variables: Any, *args: Any, **kwargs: Any) -> Any:
        """``flax.linen.Module.apply``, with what ``init`` refuses refused. Within ``jax.jit`` only shapes are checked.

        Example:
          >>> import jax
          >>> from ichformer.models.inputs import example_inputs
          >>> from ichformer.models.registry import create_model
          >>> model = create_model("cnn2d_nano", labels=("bleed", "fracture"))
          >>> inputs = example_inputs(model)
          >>> model.apply(model.init(jax.random.key(0), **inputs), **inputs).scan_logits.shape
          (1, 2)

        Raises:
          InputError: inputs of another shape or dtype, channels that the parameters are not made for, or values that
            are outside of 0 to 1 or no numbers.
        """
        if kwargs.get("method") is None and not _is_traced(variables, args, kwargs):
            check_values(*_values(args, kwargs))
        try:
            return super().apply(variables, *args, **kwargs)
        except ScopeParamShapeError:
            x, _ = _values(args, kwargs)
            check_channels_of(self, variables.get("params"), x)
            raise


def _is_traced(*values: Any) -> bool:
    return any(isinstance(leaf, jax.core.Tracer | jax.ShapeDtypeStruct) for leaf in jax.tree.leaves(values))


def _values(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
    """``x`` and ``spacing_mm`` of a call, by name or by place; None where they are not there."""
    by_place = dict(zip(("x", "slice_mask", "spacing_mm"), args, strict=False))
    given = {**by_place, **kwargs}
    return given.get("x"), given.get("spacing_mm")


def _is_array(value: Any) -> bool:
    return hasattr(value, "shape") and hasattr(value, "dtype")


def _arrays_apart(kwargs: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arrays, which a compiled function takes, and settings such as ``train``, which it is compiled for."""
    arrays = {name: value for name, value in kwargs.items() if _is_array(value)}
    return arrays, {name: value for name, value in kwargs.items() if name not in arrays}
