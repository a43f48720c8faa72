"""A scan, or a run of its slices, on its way through the random changes: pixels and all that has to move with them."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int16, UInt8

from ichformer.errors import InputError


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """Slices of a scan with their labels. A random change returns a new one and never writes into its arrays.

    Attributes:
      hu: [S,H,W].
      spacing_mm: (z, y, x).
      slice_labels: [S,L] in the order of ``LabelSet.columns``, NaN where unknown.
      num_targets: the last so many columns of ``slice_labels`` are targets, not labels.
      mask: [S,H,W], the label of each voxel as in ``Batch.lesions``; None where there is none.
    """

    hu: Int16[np.ndarray, "s h w"]
    spacing_mm: tuple[float, float, float]
    slice_labels: Float32[np.ndarray, "s labels"]
    num_targets: int = 0
    mask: UInt8[np.ndarray, "s h w"] | None = None


Change = Callable[[Sample, np.random.Generator], Sample]
"""A random change of somebody else's: of a scan and a source of random numbers, the same sizes again."""


def apply_change(change: Change, sample: Sample, rng: np.random.Generator) -> Sample:
    """The changed sample; InputError where the change gives something else than a sample of the same sizes."""
    changed = change(sample, rng)
    where = f"augment={getattr(change, '__qualname__', type(change).__name__)}"
    if not isinstance(changed, Sample):
        raise InputError(
            f"gave a {type(changed).__name__}", where=where, fix="return a Sample, such as dataclasses.replace(sample)"
        )
    for name in ("hu", "slice_labels", *(["mask"] if sample.mask is not None and changed.mask is not None else [])):
        there, wanted = getattr(changed, name), getattr(sample, name)
        if (there.shape, there.dtype) != (wanted.shape, wanted.dtype):
            raise InputError(
                f"gave {name} as {there.dtype} of {list(there.shape)}, expected {wanted.dtype} of {list(wanted.shape)}",
                where=where,
                fix="keep sizes and dtypes",
            )
    return changed
