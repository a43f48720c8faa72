"""Display windows: the one function that turns HU into the channels of a model or a picture, in NumPy and JAX."""

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped


@dataclass(frozen=True, kw_only=True)
class Window:
    """A window of ``width_hu`` round ``center_hu``."""

    center_hu: float
    width_hu: float

    def __post_init__(self) -> None:
        if not self.width_hu > 0:
            raise ValueError(f"width_hu must be positive, got {self.width_hu}")


WINDOWS = {
    "brain": Window(center_hu=40, width_hu=80),
    "subdural": Window(center_hu=80, width_hu=200),
    "soft_tissue": Window(center_hu=40, width_hu=380),
    "bone": Window(center_hu=600, width_hu=2800),
    "stroke": Window(center_hu=32, width_hu=8),
    **{f"hu_{low}_{low + 20}": Window(center_hu=low + 10, width_hu=20) for low in range(0, 100, 20)},
}
"""The windows of the field, by name (the values that every public ICH code base uses).

And five from water to the densest clot, end to end: as channels they are a thermometer code of the HU (Buckman et al.,
ICLR 2018), in which a step from brain to blood is as large as one from brain to bone.
"""


def apply_windows(
    hu: Shaped[Any, "*grid"], windows: tuple[Window, ...], xp: ModuleType = np
) -> Float[Any, "*grid channels"]:
    """HU to one channel a window, each linear from 0 to 1.

    The window runs from ``center - width/2`` to ``center + width/2``, as every ICH code base has it. This is not the
    LINEAR function of DICOM PS3.3 C.11.2.1.2.1, which uses ``center - 0.5`` and ``width - 1``.

    Example:
      >>> apply_windows(np.array([-100, 0, 40, 80]), (WINDOWS["brain"], WINDOWS["subdural"])).tolist()
      [[0.0, 0.0], [0.0, 0.10000000149011612], [0.5, 0.30000001192092896], [1.0, 0.5]]

    Args:
      hu: Hounsfield units, any shape, any real dtype.
      windows: one output channel each.
      xp: ``numpy`` on the host, ``jax.numpy`` inside a jitted step.

    Returns:
      float32, the shape of ``hu`` with a channel axis appended, values in [0, 1].
    """
    low = np.asarray([w.center_hu - w.width_hu / 2 for w in windows], np.float32)
    width = np.asarray([w.width_hu for w in windows], np.float32)
    grid = (1,) * hu.ndim
    low, width = low.reshape(*grid, -1), width.reshape(*grid, -1)
    return xp.clip((hu.astype(np.float32)[..., None] - low) / width, 0.0, 1.0)
