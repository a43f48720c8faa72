"""The patients of a site: how old their brains are, and how they bleed."""

from dataclasses import dataclass, replace

from ichformer.ct.phantom.anatomy.head import Head


@dataclass(frozen=True, kw_only=True)
class Population:
    """In what the patients of a site differ from the usual ones; the defaults are the usual ones.

    Attributes:
      atrophy: what the youngest and the oldest brains have: 0 for tight sulci and slit ventricles, 1 for wide ones.
      bleed_hu: added to the density of all blood: below zero for anaemic patients, or for blood that is days old.
      bleed_ml: factor on the volume of all bleeds that are not small.
    """

    atrophy: tuple[float, float] = (0.0, 1.0)
    bleed_hu: float = 0.0
    bleed_ml: float = 1.0

    def aged(self, head: Head) -> Head:
        """The head, its brain as old as this population's."""
        youngest, oldest = self.atrophy
        atrophy = youngest + (oldest - youngest) * head.atrophy
        return replace(head, atrophy=atrophy, ventricles=head.ventricles + 0.62 * (atrophy - head.atrophy))
