"""A store whose scans have a part of other scans, as they are read."""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from jaxtyping import UInt8

from ichformer.ct.volume import AIR_HU, Volume
from ichformer.explanations.audit.causes import BRAIN, TEXTURE, holds_something, places_of
from ichformer.explanations.audit.exchange import exchange_place, matching_slices
from ichformer.explanations.audit.texture import Texture, exchange_texture, texture_of
from ichformer.pipeline.preparation.config import Keep
from ichformer.pipeline.store.records import PreparedScan, Store


@dataclass(frozen=True, kw_only=True, eq=False)
class Parts:
    """What of a scan can be exchanged.

    Attributes:
      shape: of the scan.
      packed: ``causes.places_of``, compressed, as those of all scans are in memory at once.
      holds: see ``causes.holds_something``.
      texture: see ``texture.texture_of``.
    """

    shape: tuple[int, ...]
    packed: bytes
    holds: tuple[bool, ...]
    texture: Texture

    @property
    def places(self) -> UInt8[np.ndarray, "s h w"]:
        """``causes.places_of``."""
        return np.frombuffer(zlib.decompress(self.packed), np.uint8).reshape(self.shape)


def parts_of(volume: Volume, *, keep: Keep) -> Parts | None:
    """The parts of a prepared scan; None where no head with a brain in it can be found.

    Args:
      volume: of a store.
      keep: what its preparation kept. Where it kept the brain alone, the brain is all that is not air.
    """
    places = np.where(volume.hu > AIR_HU, BRAIN, 0).astype(np.uint8) if keep == "brain" else places_of(volume)
    if not (places == BRAIN).any():
        return None
    return Parts(
        shape=places.shape,
        packed=zlib.compress(places.tobytes(), 1),
        holds=holds_something(volume.hu, places),
        texture=texture_of(volume.hu, places, whole=keep == "head"),
    )


@dataclass(frozen=True, kw_only=True)
class ExchangedStore(Store):
    """A store in which each scan has a part of another scan.

    Attributes:
      cause: of ``causes.CAUSES``, the part that is exchanged.
      donors: by row, the row of the scan that gives it.
      parts: by row.
    """

    cause: str
    donors: Mapping[int, int] = field(repr=False)
    parts: Mapping[int, Parts] = field(repr=False)

    def read(self, row: int, *, slices: Any = None) -> PreparedScan:
        """Reads a whole scan, with the part of its donor."""
        if slices is not None:
            raise ValueError("a scan with an exchanged part is read whole")
        scan, donor = super().read(row), self.donors[row]
        own, other = self.parts[row], self.parts[donor]
        hu = scan.volume.hu
        rng = np.random.default_rng([row, donor])
        if self.cause == TEXTURE:
            changed = exchange_texture(hu, own.places, other.texture, rng)
        else:
            given = super().read(donor).volume
            at = matching_slices(len(hu), scan.volume.spacing_mm[0], len(given.hu), given.spacing_mm[0])
            # A skull as sharp as the other scan would carry its kernel with it, which is a cause of its own.
            is_skull = self.cause == "skull_and_scalp"
            other_hu = exchange_texture(given.hu, other.places, own.texture, rng) if is_skull else given.hu
            changed = exchange_place(hu, own.places, other_hu[at], other.places[at], place=self.cause)
        return replace(scan, volume=replace(scan.volume, hu=changed))


def exchanged(store: Store, cause: str, donors: Mapping[int, int], parts: Mapping[int, Parts]) -> ExchangedStore:
    """The store with a part exchanged."""
    return ExchangedStore(
        path=store.path,
        config=store.config,
        index=store.index,
        naming=store.naming,
        label_set=store.label_set,
        recipe=store.recipe,
        cause=cause,
        donors=donors,
        parts=parts,
    )
