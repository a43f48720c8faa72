"""A contact sheet: every slice of a scan in one picture."""

import math

import numpy as np
from jaxtyping import Bool, Integer, Shaped, UInt8
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from ichformer import SUBTYPES
from ichformer.ct.geometry.regrid import slice_origins_mm
from ichformer.ct.limits import check_grid
from ichformer.ct.volume import Volume
from ichformer.ct.windows import WINDOWS, apply_windows

SUBTYPE_COLOURS: dict[str, tuple[int, int, int]] = {
    "epidural": (255, 176, 0),
    "intraparenchymal": (254, 97, 0),
    "intraventricular": (100, 143, 255),
    "subarachnoid": (60, 220, 160),
    "subdural": (230, 60, 150),
}
"""Colours of contours, told apart by colour-blind eyes too (after the palette of IBM Design)."""

_GAP_PX = 2
_MOST_PX = 2**15
"""Along a side of the sheet: a scan of thousands of slices needs half of that."""

_TEXT = (176, 176, 176)


def contact_sheet(
    volume: Volume,
    window: str = "brain",
    mask: Shaped[np.ndarray, "s h w"] | None = None,
    columns: int | None = None,
    tile_px: int = 192,
    tint: UInt8[np.ndarray, "s h w 4"] | None = None,
) -> Image.Image:
    """Draw all slices, inferior first, as a radiologist sees them: the patient's right on the left.

    Args:
      volume: the scan.
      window: a name of ``WINDOWS``.
      mask: integer labels on the scan's grid: 1 to 5 in the order of ``SUBTYPES``; drawn as contours with a legend.
      columns: tiles in a row; chosen for a landscape sheet where None.
      tile_px: width of a tile.
      tint: colours with their opacity (RGBA) that are laid over the slices, such as those of a map.

    Returns:
      An RGB picture. Every tile has its number, counted from 1, and the height z of its middle in mm.
    """
    count, rows, width = volume.hu.shape
    columns = min(count, columns or max(1, round(math.sqrt(count * 1.6))))
    height_px = max(1, round(tile_px * rows * volume.spacing_mm[1] / (width * volume.spacing_mm[2])))
    present = [] if mask is None else [i for i in range(1, len(SUBTYPES) + 1) if (mask == i).any()]
    lines = -(-count // columns)
    font_px = max(9, tile_px // 16)
    legend_px = font_px * 2 if present else 0
    size = (columns * (tile_px + _GAP_PX) - _GAP_PX, lines * (height_px + _GAP_PX) - _GAP_PX + legend_px)
    check_grid(
        (3, size[1], size[0]),
        what=f"a contact sheet of {count} slices with tiles of {tile_px} x {height_px} pixels in three colours",
        where=volume.source[0],
        fix="name a scan of fewer slices, or one whose pixels are nearly square",
        most=_MOST_PX,
    )
    sheet = Image.new("RGB", size)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(font_px)
    to_middle = volume.affine[:3, 1:3] @ np.array([(rows - 1) / 2, (width - 1) / 2])
    heights_mm = (slice_origins_mm(volume) + to_middle)[:, 2]
    grey = np.rint(apply_windows(volume.hu, (WINDOWS[window],))[..., 0] * 255).astype(np.uint8)
    for i in range(count):
        x, y = i % columns * (tile_px + _GAP_PX), i // columns * (height_px + _GAP_PX)
        tile = Image.fromarray(grey[i]).resize((tile_px, height_px), Image.Resampling.LANCZOS).convert("RGB")
        if tint is not None:
            colours = Image.fromarray(tint[i]).resize((tile_px, height_px), Image.Resampling.BILINEAR)
            tile.paste(colours, mask=colours.getchannel("A"))
        if mask is not None and present:
            tile = Image.fromarray(_outlined(np.array(tile), mask[i], present))
        sheet.paste(tile, (x, y))
        edge = font_px // 3
        for at, anchor, text in (
            ((x + edge, y + edge), "la", str(i + 1)),
            ((x + tile_px - edge, y + edge), "ra", f"{heights_mm[i]:.0f} mm"),
            ((x + edge, y + height_px // 2), "lm", "R"),
            ((x + tile_px - edge, y + height_px // 2), "rm", "L"),
        ):
            draw.text(at, text, anchor=anchor, font=font, fill=_TEXT, stroke_width=1, stroke_fill=(0, 0, 0))
    x = font_px
    for label in present:
        name = SUBTYPES[label - 1]
        draw.text((x, size[1] - legend_px // 2), name, anchor="lm", font=font, fill=SUBTYPE_COLOURS[name])
        x += round(font.getlength(name)) + 2 * font_px
    return sheet


def _outlined(
    tile: UInt8[np.ndarray, "h w 3"], labels: Integer[np.ndarray, "h2 w2"], present: list[int]
) -> UInt8[np.ndarray, "h w 3"]:
    """The tile with a line of one pixel round the outside of each label, so that what is inside stays to be seen."""
    height, width = tile.shape[:2]
    for label in present:
        inside = Image.fromarray(labels == label).convert("L").resize((width, height), Image.Resampling.BOX)
        region: Bool[np.ndarray, "h w"] = np.asarray(inside) > 96
        tile[ndimage.binary_dilation(region) & ~region] = SUBTYPE_COLOURS[SUBTYPES[label - 1]]
    return tile
