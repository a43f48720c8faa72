"""A scan with a place of another scan in the place of its own: what it would be if that place had come out otherwise.

A place is never blanked. A scan with a hole is none that a model has seen, and what a model says of it tells nothing.
"""

import numpy as np
from jaxtyping import Int16, Int64, UInt8

from ichformer.ct.volume import AIR_HU
from ichformer.explanations.audit.causes import BRAIN, place_number


def matching_slices(slices: int, step_mm: float, other_slices: int, other_step_mm: float) -> Int64[np.ndarray, " s"]:
    """For each slice of a scan the one of another scan that lies as far below its top, or its lowest."""
    below_mm = (slices - 1 - np.arange(slices)) * step_mm
    return np.maximum(other_slices - 1 - np.rint(below_mm / other_step_mm).astype(np.int64), 0)


def exchange_place(
    hu: Int16[np.ndarray, "s h w"],
    places: UInt8[np.ndarray, "s h w"],
    other_hu: Int16[np.ndarray, "s h w"],
    other_places: UInt8[np.ndarray, "s h w"],
    *,
    place: str,
) -> Int16[np.ndarray, "s h w"]:
    """A scan with what another has at a place.

    Where the other has its head, the air of the scan stays; skull and scalp are exchanged where both have them.

    Args:
      hu: the scan.
      places: of ``causes.places_of``.
      other_hu: slices of another scan that match (``matching_slices``).
      other_places: of them.
      place: of ``causes.PLACES``.
    """
    number = place_number(place)
    here = places == number
    if place == "skull_and_scalp":
        return np.where(here & (other_places == number), other_hu, hu)
    head = (place_number("skull_and_scalp"), BRAIN)
    return np.where(here, np.where(np.isin(other_places, head), np.int16(AIR_HU), other_hu), hu)
