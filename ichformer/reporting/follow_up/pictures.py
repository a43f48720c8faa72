"""The slices that show what changed: both scans in the planes of the earlier one, with the bleeds outlined."""

from dataclasses import dataclass
from io import BytesIO

import numpy as np
from jaxtyping import Bool, Float64, Int32, UInt8
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from ichformer.ct.anatomy.head import head_box
from ichformer.ct.geometry.regrid import slice_origins_mm
from ichformer.ct.geometry.rigid import values_at, voxels_of
from ichformer.ct.volume import AIR_HU, Volume
from ichformer.ct.windows import WINDOWS, apply_windows
from ichformer.lesions.follow_up.followed import Fate
from ichformer.reporting.follow_up.compared import Compared

_MOST_PLANES = 6
"""Planes that are shown at most."""

_PIXEL_MM = 0.6
_ROOM_MM = 4.0
"""Round the head."""

_WINDOW = WINDOWS["subdural"]
"""As wide as blood beside bone needs it."""

_COLOURS: dict[Fate, str] = {"new": "#ff6b5e", "gone": "#5db7ff", "not_shown": "#b8b8b8"}
_IN_BOTH = "#f5c542"
"""Of the outlines: that of a bleed which both scans show."""

_LETTERS_PX = 22


@dataclass(frozen=True, kw_only=True)
class Plane:
    """One plane of the earlier scan.

    Attributes:
      number: of the earlier slice, from 1.
      bleeds: numbers of the bleeds that it shows.
      earlier, later: PNG files.
    """

    number: int
    bleeds: tuple[int, ...]
    earlier: bytes
    later: bytes


def draw_planes(compared: Compared) -> tuple[Plane, ...]:
    """The planes with the largest bleeds, from inferior to superior; none where the scans were not compared."""
    if compared.followed is None:
        return ()
    volume, motion = compared.earlier.reading.volume, compared.registration.motion
    numbers = _numbers(compared)
    drawn = []
    for s in _key_slices(compared):
        points, shape = _points_mm(volume, s)
        there = motion.points_mm(points)
        pictures, shown = [], set()
        for scan, at, own in (
            (compared.earlier, points, numbers[0]),
            (compared.later, there, numbers[1]),
        ):
            hu = values_at(scan.reading.volume.hu, scan.reading.volume, at, outside=float(AIR_HU)).reshape(shape)
            bleeds = _at(own, scan.bleeds.volume, at).reshape(shape)
            shown |= set(np.unique(bleeds).tolist()) - {0}
            pictures.append(_picture(hu, bleeds, compared))
        drawn.append(Plane(number=s + 1, bleeds=tuple(sorted(shown)), earlier=pictures[0], later=pictures[1]))
    return tuple(drawn)


def _numbers(compared: Compared) -> tuple[Int32[np.ndarray, "s h w"], Int32[np.ndarray, "t k l"]]:
    """For each scan, of each voxel the number of what it belongs to (``Followed.number``), 0 elsewhere."""
    found = []
    for scan, which in ((compared.earlier.bleeds, "earlier"), (compared.later.bleeds, "later")):
        to_number = np.zeros(len(scan.bleeds) + 1, np.int32)
        place = {id(bleed): at for at, bleed in enumerate(scan.bleeds, 1)}
        for one in compared.followed or ():
            for bleed in getattr(one, which):
                to_number[place[id(bleed)]] = one.number
        found.append(to_number[scan.numbers])
    return found[0], found[1]


def _key_slices(compared: Compared) -> list[int]:
    """Slices of the earlier scan: for every bleed, the largest first, the one that holds most of it in both scans."""
    volume, back = compared.earlier.reading.volume, compared.registration.motion.inverse
    slices = len(volume.hu)
    chosen: list[int] = []
    for one in compared.followed or ():
        points = [each.points_mm for each in one.earlier] + [back.points_mm(each.points_mm) for each in one.later]
        at = np.rint(voxels_of(volume, np.concatenate(points))[0]).astype(int)
        at = at[(at >= 0) & (at < slices)]
        if at.size:
            chosen.append(int(np.bincount(at).argmax()))
    return sorted([*dict.fromkeys(chosen or [slices // 2])][:_MOST_PLANES])


def _points_mm(volume: Volume, s: int) -> tuple[Float64[np.ndarray, "n 3"], tuple[int, int]]:
    """The points of a picture of one slice, cut to the head, and its shape."""
    box = head_box(volume.hu, volume.spacing_mm) or (0.0, volume.hu.shape[1] - 1.0, 0.0, volume.hu.shape[2] - 1.0)
    axes = [
        np.arange(low * mm - _ROOM_MM, high * mm + _ROOM_MM, _PIXEL_MM) / mm
        for low, high, mm in zip(box[::2], box[1::2], volume.spacing_mm[1:], strict=True)
    ]
    rows, columns = (grid.ravel() for grid in np.meshgrid(*axes, indexing="ij"))
    in_slice = np.stack([rows, columns], axis=1) @ volume.affine[:3, 1:3].T
    return slice_origins_mm(volume)[s] + in_slice, (len(axes[0]), len(axes[1]))


def _at(
    numbers: Int32[np.ndarray, "s h w"], volume: Volume, points_mm: Float64[np.ndarray, "n 3"]
) -> Int32[np.ndarray, " n"]:
    """The nearest voxel's number, 0 outside."""
    at = np.rint(voxels_of(volume, points_mm)).astype(int)
    held = np.all((at >= 0) & (at < np.array(numbers.shape)[:, None]), axis=0)
    found = np.zeros(len(points_mm), np.int32)
    found[held] = numbers[tuple(at[:, held])]
    return found


def _picture(hu: np.ndarray, bleeds: Int32[np.ndarray, "h w"], compared: Compared) -> bytes:
    grey = np.rint(255 * apply_windows(hu, (_WINDOW,))[..., 0]).astype(np.uint8)
    picture = Image.fromarray(np.repeat(grey[..., None], 3, axis=2))
    pixels: UInt8[np.ndarray, "h w 3"] = np.array(picture)
    words: list[tuple[tuple[int, int], str, str]] = []
    for one in compared.followed or ():
        inside = bleeds == one.number
        if inside.any():
            colour = _COLOURS.get(one.fate, _IN_BOTH)
            pixels[_outline(inside)] = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
            rows, columns = np.nonzero(inside)
            words.append(((int(columns.max()) + 3, int(rows.min()) - _LETTERS_PX // 2), str(one.number), colour))
    picture = Image.fromarray(pixels)
    font = ImageFont.load_default(_LETTERS_PX)
    for (x, y), text, colour in words:
        at = (min(x, picture.width - _LETTERS_PX), max(0, y))
        ImageDraw.Draw(picture).text(at, text, fill=colour, font=font, stroke_width=2, stroke_fill="black")
    file = BytesIO()
    picture.save(file, "PNG", optimize=True)
    return file.getvalue()


def _outline(inside: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """Two pixels outside of the edge, so that the blood stays in sight."""
    return ndimage.binary_dilation(inside, iterations=2) & ~inside
