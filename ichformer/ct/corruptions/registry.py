"""Corruptions by name, each with five severities: 1 is what clinics see every day, 5 is severe. Ten come along:

| corruption | what the number is | 1 | 2 | 3 | 4 | 5 |
|---|---|---|---|---|---|---|
| dose_noise | added noise, HU (1 sd at full resolution) | 4 | 7 | 10.5 | 15.5 | 22 |
| kernel | transfer function at 3 lp/cm times or divided by | 1.2 | 1.5 | 2 | 2.8 | 4 |
| thickness | times the slices' thickness and distance | 1.25 | 1.5 | 2 | 2.5 | 3 |
| tilt | shear left in, degrees | 5 | 10 | 15 | 20 | 25 |
| motion | slide of the head, mm (and 0.7 degrees for each mm) | 0.5 | 1 | 2 | 4 | 7 |
| metal | three pairs of steel rods, mm across | 1 | 1.6 | 2.5 | 4 | 6 |
| hu_shift | water reads so many HU too high or low | 4 | 8 | 14 | 22 | 32 |
| field_of_view | share of the head cut off, or half of the field's excess | 0.05 | 0.1 | 0.17 | 0.25 | 0.35 |
| missing_slices | share of the slices that is missing | 0.05 | 0.1 | 0.2 | 0.35 | 0.5 |
| window_error | width of an 8-bit window round 40 HU, HU | 1000 | 400 | 200 | 120 | 80 |

The noise is what is added to a head scan of 4 HU where its dose falls to a half, a quarter, an eighth, a sixteenth and
a thirty-second, since noise goes with the square root of the dose. Tilts of up to 22 degrees were seen in real files.
Water within 5 HU is what accreditation asks for. The window of 80 HU is the brain window in which cases are published.

Where a fault has a side (too high or too low, sharper or smoother, cut off or small, which way), the seed draws it, and
it draws the same for all severities of a scan, so that severities differ in nothing but their number.
"""

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal, get_args, overload

import numpy as np
from jaxtyping import UInt8

from ichformer.ct.corruptions.base import Scan, start
from ichformer.ct.corruptions.metal import metal
from ichformer.ct.corruptions.motion import motion
from ichformer.ct.corruptions.placing import field_of_view, tilt
from ichformer.ct.corruptions.slabs import missing_slices, thickness
from ichformer.ct.corruptions.spectrum import dose_noise, kernel
from ichformer.ct.corruptions.values import hu_shift, window_error
from ichformer.ct.volume import Volume
from ichformer.errors import InputError
from ichformer.registry import Registry, register

Severity = Literal[1, 2, 3, 4, 5]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)


Apply = Callable[[Scan, float, np.random.Generator], Scan]
"""From a scan, a level and a source of random numbers to a scan."""


@dataclass(frozen=True, kw_only=True)
class Corruption:
    """A way to make a scan worse.

    Attributes:
      apply: makes a scan worse by a level.
      unit: what the level is.
      levels: of the severities 1 to 5.
    """

    apply: Apply
    unit: str
    levels: tuple[float, float, float, float, float]


_OWN: Mapping[str, Corruption] = {
    "dose_noise": Corruption(apply=dose_noise, unit="HU of noise", levels=(4, 7, 10.5, 15.5, 22)),
    "kernel": Corruption(apply=kernel, unit="times the MTF at 3 lp/cm", levels=(1.2, 1.5, 2, 2.8, 4)),
    "thickness": Corruption(apply=thickness, unit="times as thick", levels=(1.25, 1.5, 2, 2.5, 3)),
    "tilt": Corruption(apply=tilt, unit="degrees of shear", levels=(5, 10, 15, 20, 25)),
    "motion": Corruption(apply=motion, unit="mm of motion", levels=(0.5, 1, 2, 4, 7)),
    "metal": Corruption(apply=metal, unit="mm of steel", levels=(1, 1.6, 2.5, 4, 6)),
    "hu_shift": Corruption(apply=hu_shift, unit="HU of water", levels=(4, 8, 14, 22, 32)),
    "field_of_view": Corruption(apply=field_of_view, unit="share of the head", levels=(0.05, 0.1, 0.17, 0.25, 0.35)),
    "missing_slices": Corruption(apply=missing_slices, unit="share of slices", levels=(0.05, 0.1, 0.2, 0.35, 0.5)),
    "window_error": Corruption(apply=window_error, unit="HU of window", levels=(1000, 400, 200, 120, 80)),
}

CORRUPTIONS: Registry[Corruption] = Registry("corruption", lambda: _OWN)
"""Every corruption by name: those of the table above in its order, then those of others."""


@overload
def register_corruption(name: Apply) -> Apply: ...
@overload
def register_corruption(
    name: str | None = None, *, unit: str = "of 5", levels: tuple[float, float, float, float, float] = (1, 2, 3, 4, 5)
) -> Callable[[Apply], Apply]: ...
def register_corruption(
    name: Apply | str | None = None,
    *,
    unit: str = "of 5",
    levels: tuple[float, float, float, float, float] = (1, 2, 3, 4, 5),
) -> Apply | Callable[[Apply], Apply]:
    """Makes a corruption known by name, to ``corrupt`` and to ``ichformer robustness``.

    It decorates a function ``apply(scan, level, rng)`` that returns the changed scan.

    Example:
      >>> @register_corruption(unit="HU of drift", levels=(2, 4, 8, 16, 32))
      ... def drift(scan, level, rng):
      ...     return scan.with_hu(scan.volume.hu + rng.uniform(-level, level))
      >>> CORRUPTIONS["drift"].levels
      (2, 4, 8, 16, 32)

    Args:
      name: what to call it: ``@register_corruption("mine")``. Bare, it takes the name of the function.
      unit: what a level is, in words.
      levels: of the severities 1 to 5, from mild to severe; by default the severity itself.

    Raises:
      InputError: another corruption has that name, it is no name, it stands above something else, or there are not five
        levels.
    """
    if len(levels) != len(SEVERITIES):
        raise InputError(f"found {len(levels)} levels", where="levels", fix="give five, of the severities 1 to 5")
    return register(
        CORRUPTIONS,
        name,
        lambda apply: Corruption(apply=apply, unit=unit, levels=levels),
        wanted="a function apply(scan, level, rng) that returns a scan",
        arguments=("scan", "level", "rng"),
    )


def corrupt(
    volume: Volume,
    corruption: str,
    severity: Severity,
    *,
    seed: int | tuple[int, ...] = 0,
    mask: UInt8[np.ndarray, "s h w"] | None = None,
) -> Scan:
    """A scan made worse: the same arguments give the same voxels.

    Args:
      volume: any, as it was read or as it was prepared.
      corruption: a name of ``CORRUPTIONS``.
      severity: 1 to 5.
      seed: of all that is random; give every scan its own.
      mask: labels on the volume's grid, kept in step.

    Returns:
      The volume with a note in its audit, the mask, and of which old slices the new ones are made.

    Raises:
      ValueError: no such corruption or severity.
    """
    if corruption not in CORRUPTIONS or severity not in SEVERITIES:
        raise ValueError(f"{corruption!r} of severity {severity!r}: choose of {', '.join(CORRUPTIONS)} and 1 to 5")
    chosen = CORRUPTIONS[corruption]
    level = chosen.levels[severity - 1]
    # Each corruption has its own numbers, so that its side says nothing of another's.
    own = (*(seed if isinstance(seed, tuple) else (seed,)), zlib.crc32(corruption.encode()))
    scan = chosen.apply(start(volume, mask), level, np.random.default_rng(own))
    text = f"{corruption} of severity {severity}: {level:g} {chosen.unit}"
    return replace(scan, volume=replace(scan.volume, audit=scan.volume.audit.with_note("corrupted", text)))
