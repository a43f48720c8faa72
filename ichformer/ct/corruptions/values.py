"""Corruptions of the values alone: calibration, and a display window between the scanner and the file."""

import numpy as np

from ichformer.ct.corruptions.base import Scan
from ichformer.ct.volume import AIR_HU

WINDOW_CENTER_HU = 40.0
_GREYS = 255


def hu_shift(scan: Scan, water_hu: float, rng: np.random.Generator) -> Scan:
    """A scanner out of calibration: water reads ``water_hu`` too high or too low.

    The error is an offset of all values and a gain of the attenuation, in shares that the seed draws; a pure gain
    leaves air alone and moves bone twice as far as water. Accreditation asks for water within 5 HU (American College of
    Radiology, CT accreditation phantom instructions: -7 to +7 HU, preferably 5).
    """
    shift_hu = water_hu * rng.choice([-1.0, 1.0])
    offset = rng.uniform()
    hu = scan.volume.hu.astype(np.float32)
    wrong = hu + np.float32(shift_hu) * (offset + (1 - offset) * (hu / 1000 + 1))
    return scan.with_hu(np.where(scan.volume.hu == AIR_HU, AIR_HU, wrong))


def window_error(scan: Scan, width_hu: float, rng: np.random.Generator) -> Scan:  # noqa: ARG001, the same for every seed
    """Values saved as 8-bit pictures through a window of ``width_hu`` round 40 HU, and turned back into HU.

    What lies outside the window takes its ends, between them are 255 steps. Black that is air by far stays air, as
    ``ct.pictures`` reads such pictures.
    """
    hu = scan.volume.hu.astype(np.float32)
    low = WINDOW_CENTER_HU - width_hu / 2
    grey = np.rint(np.clip((hu - low) / width_hu, 0, 1) * _GREYS)
    back = low + grey * (width_hu / _GREYS)
    return scan.with_hu(np.where((grey == 0) & (hu < low - 300), AIR_HU, back))
