"""Hospitals: scanners and protocols that differ as real ones do."""

from dataclasses import dataclass, field
from typing import Literal

from ichformer.ct.phantom.population import Population


@dataclass(frozen=True, kw_only=True)
class Site:
    """A hospital's scanner and its head protocol.

    Attributes:
      name: of the site.
      manufacturer, model, kernel: for the header; all invented.
      thickness_mm: of the slices, which lie without gaps.
      pixels: rows and columns of a slice.
      fov_mm: side of the slice; what lies outside the circle in it was not reconstructed.
      tilt_deg: of the gantry, positive where the slices' normal leans towards posterior (rising towards the forehead).
      neck_mm: how much of the neck the scan takes in below the foramen magnum, more or less.
      noise_hu: standard deviation in the middle of the head, about which the scans vary.
      blur_mm: full width at half maximum of the point spread.
      edge_boost: 0 for a soft kernel; a sharp one overshoots at edges and has finer noise.
      offset_hu, gain: calibration: what is stored is ``gain * (HU + 1000) - 1000 + offset_hu``, a few HU more or less.
      intercept: RescaleIntercept.
      padding: value that is stored outside the circle (before the intercept), None where air is stored.
      step_mm: the finest step of the anatomy; larger is faster.
      header: "full" for a legal CT image; "rsna2019" for what is left of one in RSNA 2019, with values wrapped at 12
        bits under a wrong intercept.
      population: what its patients and their bleeds are like.
    """

    name: str
    manufacturer: str
    model: str
    kernel: str
    thickness_mm: float
    pixels: int
    fov_mm: float
    tilt_deg: float
    neck_mm: float = 0.0
    noise_hu: float
    blur_mm: float
    edge_boost: float
    offset_hu: float
    gain: float
    intercept: int
    padding: int | None
    step_mm: float = 1.5
    header: Literal["full", "rsna2019"] = "full"
    population: Population = field(default_factory=Population)

    @property
    def lowest_hu(self) -> int:
        """The lowest HU of air, and of everything outside the reconstructed circle."""
        return -1000 if self.header == "rsna2019" else -1024


SITES = {
    site.name: site
    for site in (
        Site(
            name="alder",
            manufacturer="PHANTOM WORKS A",
            model="Alder 64",
            kernel="H30 SOFT",
            thickness_mm=5.0,
            pixels=256,
            fov_mm=235.0,
            tilt_deg=0.0,
            noise_hu=2.9,
            blur_mm=1.6,
            edge_boost=0.1,
            offset_hu=0.0,
            gain=1.0,
            intercept=-1024,
            padding=None,
        ),
        Site(
            name="birch",
            manufacturer="PHANTOM WORKS B",
            model="Birch Dual",
            kernel="STND",
            thickness_mm=5.0,
            pixels=256,
            fov_mm=230.0,
            tilt_deg=18.0,
            noise_hu=3.6,
            blur_mm=1.4,
            edge_boost=0.4,
            offset_hu=-2.5,
            gain=1.0,
            intercept=-1024,
            padding=-2000,
        ),
        Site(
            name="cedar",
            manufacturer="PHANTOM WORKS C",
            model="Cedar One",
            kernel="HEAD SHARP",
            thickness_mm=2.5,
            pixels=256,
            fov_mm=245.0,
            tilt_deg=0.0,
            noise_hu=5.2,
            blur_mm=1.1,
            edge_boost=0.9,
            offset_hu=1.5,
            gain=1.0,
            intercept=0,
            padding=None,
        ),
        Site(
            name="dogwood",
            manufacturer="PHANTOM WORKS A",
            model="Dogwood 4",
            kernel="SMOOTH",
            thickness_mm=7.0,
            pixels=256,
            fov_mm=250.0,
            tilt_deg=-15.0,
            noise_hu=2.6,
            blur_mm=2.0,
            edge_boost=0.0,
            offset_hu=3.0,
            gain=1.002,
            intercept=0,
            padding=-1500,
        ),
        Site(
            name="elm",
            manufacturer="PHANTOM WORKS D",
            model="Elm 16",
            kernel="C STANDARD",
            thickness_mm=4.0,
            pixels=288,
            fov_mm=240.0,
            tilt_deg=9.0,
            noise_hu=3.9,
            blur_mm=1.3,
            edge_boost=0.3,
            offset_hu=-1.0,
            gain=0.998,
            intercept=-1024,
            padding=None,
        ),
        Site(
            name="rsna2019",
            manufacturer="",
            model="",
            kernel="",
            thickness_mm=5.0,
            pixels=256,
            fov_mm=235.0,
            tilt_deg=11.0,
            noise_hu=3.4,
            blur_mm=1.5,
            edge_boost=0.3,
            offset_hu=0.5,
            gain=1.0,
            intercept=0,
            padding=None,
            header="rsna2019",
        ),
        Site(
            name="fir",
            manufacturer="PHANTOM WORKS E",
            model="Fir 40",
            kernel="BONE PLUS",
            thickness_mm=3.0,
            pixels=256,
            fov_mm=225.0,
            tilt_deg=23.0,
            noise_hu=8.5,
            blur_mm=0.75,
            edge_boost=1.3,
            offset_hu=-6.0,
            gain=1.004,
            intercept=-1024,
            padding=None,
            population=Population(atrophy=(0.55, 1.2), bleed_hu=-7.0, bleed_ml=0.6),
        ),
    )
}
"""The built-in sites, by name.

"fir" lies outside the range of all others: kernel, noise, tilt and calibration of its scanner, and its old, anaemic
patients. Held out of training it shows how a model does on scans of another style.
"""

DEFAULT_SITES = ("alder", "birch", "cedar", "dogwood", "elm")
"""Of a cohort that names none."""
