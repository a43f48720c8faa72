"""One bleed: where it lies, how large it is and what its blood looks like."""

from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from ichformer.ct.phantom.anatomy.shapes import Point
from ichformer.ct.phantom.population import Population

Texture = Literal["even", "swirl", "level", "septa", "grains", "fading"]

Mechanism = Literal["trauma", "spontaneous"]

MECHANISMS: tuple[Mechanism, ...] = ("trauma", "spontaneous")
"""Why a head bleeds: a blow, or a diseased vessel."""


@dataclass(frozen=True, kw_only=True)
class Blood:
    """Density of a bleed: a mixture of dense blood and of thin, which is not clotted, or serum, or soaked tissue.

    Attributes:
      hu: of dense blood. Clotted blood has 50 to 80 HU, and loses about 1.5 HU a day.
      thin_hu: of thin blood.
      texture: how the two lie: "even" (dense alone), "swirl" (thin blobs in a fresh haematoma), "level" (cells at the
        back, serum above them), "septa" (membranes through an old collection), "grains" (salt and pepper, as in a
        contusion), "fading" (dense in the middle alone).
      seed: of the texture.
      cells: share of the volume that lies below a level.
    """

    hu: float
    thin_hu: float
    texture: Texture
    seed: int
    cells: float = 0.5


@dataclass(frozen=True, kw_only=True)
class Part:
    """An ellipsoid, of which a bleed has one or several."""

    at: Point
    radii: Point


@dataclass(frozen=True, kw_only=True)
class Bleed:
    """One bleed in the standard head.

    Attributes:
      subtype: one of ``SUBTYPES``.
      kind: its shape, of ``kinds.KINDS``: "lens"; "crescent", "falx", "tentorium"; "clot", "spots"; "level", "cast";
        "fluid".
      at: its centre, mm; for collections under the skull a direction of unit length.
      size_ml: the volume aimed at.
      blood: its density.
      parts: of clots and spots the lobes, of subarachnoid blood the cisterns and sulci where it lies.
      reach_mm, thick_mm: radius and thickness of a collection.
      oedema_mm: width of the rim of oedema.
      swell_mm: how much blood widens the sulci, cisterns and ventricles that it fills.
    """

    subtype: str
    kind: str
    at: Point
    size_ml: float
    blood: Blood
    parts: tuple[Part, ...] = ()
    reach_mm: float = 0.0
    thick_mm: float = 0.0
    oedema_mm: float = 0.0
    swell_mm: float = 0.0

    @property
    def side(self) -> float:
        """+1 on the left, -1 on the right."""
        return 1.0 if self.at[0] >= 0 else -1.0

    def grown(self, factor: float) -> "Bleed":
        """The same bleed with ``factor`` times its volume."""
        longer = float(np.cbrt(factor))
        parts = tuple(replace(p, radii=tuple(radius * longer for radius in p.radii)) for p in self.parts)
        return replace(
            self,
            size_ml=self.size_ml * factor,
            parts=parts,
            reach_mm=min(self.reach_mm * longer, 90.0),
            thick_mm=self.thick_mm * longer,
            swell_mm=self.swell_mm * longer,
        )


SMALL_ML = (0.1, 4.0)
"""Volumes of small bleeds."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Case:
    """What the bleeds of one subtype are drawn from.

    Attributes:
      rng: of this subtype alone.
      side: +1 or -1, where the blow fell or the disease is.
      mechanism: trauma, or a diseased vessel.
      is_small: whether the bleeds have 0.1 to 4 ml together.
      population: what kind of patients the site has.
    """

    rng: np.random.Generator
    side: float
    mechanism: Mechanism
    is_small: bool = False
    population: Population = field(default_factory=Population)

    def ml(self, low: float, high: float) -> float:
        """A volume of ``low`` to ``high`` ml, its logarithm evenly distributed; of ``SMALL_ML`` where it is small."""
        low, high = SMALL_ML if self.is_small else (low, high)
        factor = 1.0 if self.is_small else self.population.bleed_ml
        return factor * float(np.exp(self.rng.uniform(np.log(low), np.log(high))))

    def blood(self, hu: float, texture: Texture = "even", *, thin_hu: float = 0.0, cells: float = 0.5) -> Blood:
        """Blood of about ``hu``, in this population; ``thin_hu`` is a tone darker."""
        shift = self.population.bleed_hu
        dense = float(max(hu + shift, 18.0))
        return Blood(
            hu=dense,
            thin_hu=float(min(thin_hu + shift / 2, dense)) if texture != "even" else dense,
            texture=texture,
            seed=int(self.rng.integers(2**31)),
            cells=cells,
        )

    def pick(self, **weights: float) -> str:
        """One of the names, by weight."""
        share = np.array(list(weights.values()))
        return str(self.rng.choice(list(weights), p=share / share.sum()))


def unit(x: float, y: float, z: float) -> Point:
    """The direction of (x, y, z)."""
    v = np.array([x, y, z]) / np.linalg.norm([x, y, z])
    return float(v[0]), float(v[1]), float(v[2])


def ball_radius_mm(size_ml: float) -> float:
    """Radius of a ball of so many ml."""
    return float((3 * size_ml * 1000 / (4 * np.pi)) ** (1 / 3))
