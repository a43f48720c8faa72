"""Whether a scan may be scored: a score for something that is no head would be worse than none."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int16

from ichformer.ct.anatomy.brain import brain_mask
from ichformer.ct.volume import AIR_HU, Volume
from ichformer.pipeline.preparation.config import PrepareConfig
from ichformer.pipeline.store.records import Store


@dataclass(frozen=True, kw_only=True)
class Reason:
    """Why a scan has no score: a stable ``code`` for programs and a sentence for people."""

    code: str
    text: str


NO_BRAIN = Reason(code="no_brain", text="No brain was found in this scan.")
NO_NUMBER = Reason(code="no_number", text="The model gave a value that is no number.")


def why_not_scored(prepared: Volume, prepare: PrepareConfig) -> Reason | None:
    """Reason why a prepared scan must not be scored; None where it may be.

    A scan needs a skull with brain in it. A chest, a phantom of plastic or an empty scan would get a low score, as if
    it were a head without blood.

    Args:
      prepared: the scan as the model sees it, with its audit.
      prepare: how it was prepared. Where only the brain was kept, the skull is gone, and a scan without brain is air.
    """
    if prepare.keep == "brain":
        return None if (prepared.hu > AIR_HU).any() else NO_BRAIN
    return None if brain_mask(prepared).any() else NO_BRAIN


def why_stored_not_scored(store: Store, row: int, hu: Int16[np.ndarray, "s h w"]) -> Reason | None:
    """Reason why a scan of a store must not be scored, from HU that were read already and may have fewer slices."""
    header = store.header(row)
    volume = Volume(
        hu=hu,
        spacing_mm=header.spacing_mm,
        affine=header.affine,
        source=("",) * len(hu),
        audit=replace(header.audit, steps_mm=()),
    )
    return why_not_scored(volume, PrepareConfig(**store.config))


def check_numbers(*scores: Float[np.ndarray, "..."]) -> Reason | None:
    """The reason ``NO_NUMBER`` where a model's outputs are not all finite, else None."""
    return None if all(np.isfinite(one).all() for one in scores) else NO_NUMBER
