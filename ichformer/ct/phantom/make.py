"""One phantom: anatomy, bleeds and scanner put together, with its truth."""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import scipy.ndimage as ndi
from jaxtyping import Bool, Float, Int, UInt8

from ichformer import LABELS, SUBTYPES
from ichformer.ct.audit import Audit
from ichformer.ct.phantom.acquisition.artefacts import artefacts
from ichformer.ct.phantom.acquisition.scanner import acquire
from ichformer.ct.phantom.acquisition.sites import Site
from ichformer.ct.phantom.acquisition.stack import Stack, average, lay_slices, to_pixels
from ichformer.ct.phantom.anatomy.brain import paint_brain
from ichformer.ct.phantom.anatomy.grid import Box, Grid, bounds
from ichformer.ct.phantom.anatomy.head import Head, draw_head, frame, place, place_brain
from ichformer.ct.phantom.anatomy.shapes import Points, paint
from ichformer.ct.phantom.anatomy.skull import FORAMEN_MM, make_skull
from ichformer.ct.phantom.bleeds.bleed import Bleed, Mechanism
from ichformer.ct.phantom.bleeds.draw import draw_bleeds
from ichformer.ct.phantom.bleeds.kinds import Scene
from ichformer.ct.phantom.bleeds.painting import collection_mm, paint_bleeds, push
from ichformer.ct.phantom.bleeds.truth import midline_shift_mm, side_of
from ichformer.ct.phantom.findings.confounders import confound
from ichformer.ct.phantom.findings.implants import paint_metal
from ichformer.ct.phantom.findings.signs import Signs, paint_fracture, paint_inside
from ichformer.ct.phantom.findings.surgery import paint_surgery
from ichformer.ct.volume import Volume

POSITIVE_ML = 0.1
"""A slice is positive for a subtype from this much blood in the mask on."""

MASK_SHARE = 0.5
"""A voxel belongs to the mask from this share of blood on, and to the cavity from this share of it."""

_GROWTH, _MOST_GROWTHS = 1.6, 9
"""How much a bleed that no slice shows is enlarged, and how often at most."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Phantom:
    """A scan of a made-up head.

    Attributes:
      volume: as a perfect reader would return it: HU with ``site.lowest_hu`` outside the circle, sheared where the
        gantry is tilted.
      mask: uint8 [S,H,W], 0 where there is no blood, else 1 + the index in ``SUBTYPES``.
      cavity: bool [S,H,W], the inside of the skull down to the foramen magnum: brain, fluid and blood.
      outside_circle: bool [H,W], what the scanner did not reconstruct.
      site: the scanner.
      midline_shift_mm: how far the bleeds take the septum pellucidum at the foramina of Monro to the patient's left;
        negative where it goes to the right, 0 without a bleed.
      sides: for each of ``SUBTYPES`` "left", "right", "both" or "midline" (of the patient); "" where there is none.
    """

    volume: Volume
    mask: UInt8[np.ndarray, "s h w"]
    cavity: Bool[np.ndarray, "s h w"]
    outside_circle: Bool[np.ndarray, "h w"]
    site: Site
    midline_shift_mm: float
    sides: dict[str, str]

    @property
    def blood_ml(self) -> Float[np.ndarray, "s 5"]:
        """Millilitres of blood of each subtype in each slice."""
        z, y, x = self.volume.spacing_mm
        counts = np.stack([(self.mask == 1 + k).sum(axis=(1, 2)) for k in range(len(SUBTYPES))], axis=1)
        return counts * (z * y * x / 1000)

    @property
    def lesions(self) -> Int[np.ndarray, "5"]:
        """How many connected pieces the mask of each subtype has; voxels that share a corner are connected."""
        touching = np.ones((3, 3, 3), bool)
        boxes = enumerate(ndi.find_objects(self.mask, len(SUBTYPES)), start=1)
        return np.array([ndi.label(self.mask[box] == k, touching)[1] if box else 0 for k, box in boxes])

    @property
    def slice_labels(self) -> Bool[np.ndarray, "s 6"]:
        """Labels of each slice: whether it shows at least ``POSITIVE_ML`` of the subtype; "any" is the maximum."""
        positive = self.blood_ml >= POSITIVE_ML
        return np.concatenate([positive, positive.any(axis=1, keepdims=True)], axis=1)

    @property
    def scan_labels(self) -> Bool[np.ndarray, "6"]:
        """Labels of the scan: the maximum over its slices."""
        return np.asarray(self.slice_labels.any(axis=0))


_PRESSED_MM = 2.0
"""Of the fluid over the brain, what a collection presses away."""


def make_phantom(
    seed: int,
    *,
    site: Site,
    subtypes: frozenset[str] | tuple[str, ...] = (),
    head_seed: int | None = None,
    confounders: frozenset[str] | tuple[str, ...] = (),
    small: frozenset[str] | tuple[str, ...] = (),
    mechanism: Mechanism | None = None,
) -> Phantom:
    """A head CT with one bleed or several of every subtype in ``subtypes``.

    The same seed without ``subtypes`` gives the same head in the same position with the same noise. Nothing but the
    fluid that they widen or narrow depends on the ``confounders``: the same seed plants the same bleeds with them and
    without. A bleed that no slice of the site would show is enlarged until one does.

    Args:
      seed: of bleeds, position of the slices and noise. The same seed gives the same voxels.
      site: the scanner.
      subtypes: of ``SUBTYPES``; none for a scan without a bleed.
      head_seed: of the head, so that one patient can be scanned twice; ``seed`` where it is None.
      confounders: of ``CONFOUNDERS``.
      small: those of ``subtypes`` whose bleeds are small: 0.1 to 4 ml, or what a slice needs to show them.
      mechanism: "trauma" or "spontaneous", which decides what the bleeds look like; drawn from ``seed`` where None.

    Raises:
      ValueError: on an unknown subtype or confounder.
    """
    if unknown := set(subtypes) - set(SUBTYPES):
        raise ValueError(f"unknown subtypes {sorted(unknown)}: choose from {SUBTYPES}")
    bleeding, laying, noise = np.random.default_rng([seed, 1]).spawn(3)
    patient = seed if head_seed is None else head_seed
    head, signs = confound(
        draw_head(np.random.default_rng([patient, 0])),
        confounders,
        lasting=np.random.default_rng([patient, 2]),
        passing=np.random.default_rng([seed, 3]),
    )
    head = site.population.aged(head)
    bleeds = draw_bleeds(bleeding, subtypes, small=small, mechanism=mechanism, population=site.population)
    stack = lay_slices(site, laying)
    # Where the table stood: z is as arbitrary as on a real scanner.
    affine = stack.affine.copy()
    affine[:3, 3] += laying.uniform((-20, -160, -1200), (20, 40, 900)).round(1)
    made = _anatomy(head, bleeds, signs, stack)
    added_hu = artefacts(made.hu, stack, signs, np.random.default_rng([seed, 5]))
    picture = acquire(made.hu, stack, site, noise, added_hu=added_hu)
    cavity = to_pixels(average(made.cavity, stack), stack) > MASK_SHARE
    y, x = stack.rows_mm - stack.rows_mm.mean(), stack.columns_mm - stack.columns_mm.mean()
    outside_circle = np.hypot(y[:, None], x[None, :]) > site.fov_mm / 2
    stored = np.clip(np.rint(picture), site.lowest_hu, 3071).astype(np.int16)
    stored[:, outside_circle] = site.lowest_hu
    spacing = (site.thickness_mm, site.fov_mm / site.pixels, site.fov_mm / site.pixels)
    volume = Volume(
        hu=stored,
        spacing_mm=spacing,
        affine=affine,
        source=tuple(f"{s:04d}" for s in range(stack.slices)),
        audit=Audit(
            kernel=site.kernel, manufacturer=f"{site.manufacturer} {site.model}".strip(),
            thickness_mm=site.thickness_mm, tilt_deg=float(site.tilt_deg),
        ),
    )  # fmt: skip
    return Phantom(
        volume=volume, mask=made.mask, cavity=cavity, outside_circle=outside_circle, site=site,
        midline_shift_mm=made.midline_shift_mm, sides=made.sides,
    )  # fmt: skip


class _Made(NamedTuple):
    """HU and share of the cavity at the grid's positions; the mask; shift and sides as in ``Phantom``."""

    hu: Float[np.ndarray, "i k j"]
    cavity: Float[np.ndarray, "i k j"]
    mask: UInt8[np.ndarray, "s h w"]
    midline_shift_mm: float
    sides: dict[str, str]


def _anatomy(head: Head, bleeds: tuple[Bleed, ...], signs: Signs, stack: Stack) -> _Made:
    """The head with its bleeds, each of them as large as a slice needs to show it."""
    grid = replace(stack.grid, frame=frame(head))
    at = place(head, grid)
    skull = make_skull(at, grid, head)
    vault, depth, hu, inner = skull.vault, skull.depth, skull.hu, skull.inner
    # What lies in the cavity is painted in the part of the grid that holds it, less than half of it.
    box = bounds(inner > 0)
    voxel_ml = abs(float(np.linalg.det(stack.affine))) / 1000
    for _ in range(1 + _MOST_GROWTHS):
        moved = push(bleeds, head)
        content, cover = _content(head, bleeds, signs, grid.part(box), at.at(box), moved=moved, depth=depth[box])
        mask = _mask({name: _in_whole(share, box, grid) for name, share in cover.items()}, stack)
        hidden = {name for name in cover if _most_voxels(mask, name) * voxel_ml < POSITIVE_ML}
        if not hidden:
            break
        bleeds = tuple(bleed.grown(_GROWTH) if bleed.subtype in hidden else bleed for bleed in bleeds)
    paint(hu[box], content, inner[box])
    paint_fracture(signs, at, grid, head, hu, vault=vault)
    if signs.surgery:
        paint_surgery(signs.surgery, at, grid, head, hu, vault=vault)
    paint_metal(signs.metal, at, grid, hu)
    none = dict.fromkeys(SUBTYPES, "")
    return _Made(
        hu=hu, cavity=inner * (at.z > FORAMEN_MM), mask=mask, midline_shift_mm=midline_shift_mm(moved, head),
        sides=none | {name: side_of(share, at.x[box]) for name, share in cover.items()},
    )  # fmt: skip


def _content(
    head: Head,
    bleeds: tuple[Bleed, ...],
    signs: Signs,
    grid: Grid,
    at: Points,
    *,
    moved: Float[np.ndarray, "3 cz cy cx"],
    depth: Float[np.ndarray, "i k j"],
) -> tuple[Float[np.ndarray, "i k j"], dict[str, Float[np.ndarray, "i k j"]]]:
    """HU of what lies in the cavity, where the brain has ``moved``, and for each subtype the share of blood."""
    brain_at = place_brain(head, grid, moved)
    thick = collection_mm(bleeds, at, grid, head)
    left = depth
    for value in thick.values():
        # A collection presses the brain against itself: most of the fluid between them is gone.
        left = np.minimum(left, depth - value + np.minimum(value, _PRESSED_MM))
    brain = paint_brain(brain_at, grid, head, left)
    paint_inside(signs, brain_at, grid, brain.hu, depth=left)
    scene = Scene(brain=brain, p=brain_at, head_at=at, grid=grid, head=head, depth=depth, thick=thick)
    cover = paint_bleeds(bleeds, scene)
    return brain.hu, cover


def _in_whole(values: Float[np.ndarray, "i k j"], box: Box, grid: Grid) -> Float[np.ndarray, "i2 k2 j2"]:
    whole = np.zeros(grid.shape, np.float32)
    whole[box] = values
    return whole


def _most_voxels(mask: UInt8[np.ndarray, "s h w"], subtype: str) -> int:
    """Of a subtype in one slice."""
    return int((mask == 1 + LABELS.index(subtype)).sum(axis=(1, 2)).max())


def _mask(cover: dict[str, Float[np.ndarray, "i k j"]], stack: Stack) -> UInt8[np.ndarray, "s h w"]:
    shape = (stack.slices, len(stack.rows_mm), len(stack.columns_mm))
    mask, best = np.zeros(shape, np.uint8), np.full(shape, MASK_SHARE, np.float32)
    for name, share in cover.items():
        thick = average(share, stack)
        for s in np.flatnonzero(thick.max(axis=(0, 2)) > MASK_SHARE):
            pixels = to_pixels(thick[:, s : s + 1], replace(stack, slices=1))[0]
            mask[s][pixels > best[s]] = 1 + LABELS.index(name)
            best[s] = np.maximum(best[s], pixels)
    return mask
