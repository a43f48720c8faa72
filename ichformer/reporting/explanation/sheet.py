"""The picture of a map: every slice of the scan, beside it the same with the map in colours, and the scale below."""

import math
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image, ImageDraw, ImageFont

from ichformer.ct.contact_sheet import contact_sheet
from ichformer.ct.volume import Volume
from ichformer.explanations.heat_map import ScanMap

_FONT_PX, _GAP_PX, _BAR_PX = 16, 12, 240
_MOST_OPAQUE = 0.85
"""So that the slice can be seen below the strongest colour."""

_TEXT = (220, 220, 220)

_GREY = 110
"""Below the bar of colours, as brain is in the picture."""


def explanation_sheet(volume: Volume, found: ScanMap, *, about: str, is_signed: bool, unit: str) -> Image.Image:
    """Draw the slices of a scan twice, inferior first: as they are, and with the map over them.

    Red to yellow raised the score, blue to cyan lowered it, and the stronger, the more opaque.

    Args:
      volume: the scan.
      found: its map.
      about: the method in a few words.
      is_signed: whether the map may have places below 0.
      unit: of ``found.largest``, in words.

    Returns:
      An RGB picture with the scale, the method, the label and the level in its last lines.
    """
    columns = max(1, round(math.sqrt(len(volume.hu) * 0.8)))
    plain = contact_sheet(volume, columns=columns)
    tinted = contact_sheet(volume, columns=columns, tint=colours(found.values))
    lines = [
        f"{found.method} ({about}) of the score of {found.label!r} at the level of the {found.level}.",
        f"One scale for all slices; its end is {found.largest:.3g} {unit}.",
        f"Interpolated from a grid of {found.grid[0]} x {found.grid[1]} cells in a slice.",
        "Research use only. Not for diagnosis.",
    ]
    font = ImageFont.load_default(_FONT_PX)
    text_px = _BAR_PX + 2 * _GAP_PX + math.ceil(max(font.getlength(line) for line in lines))
    size = (max(2 * plain.width + _GAP_PX, text_px), plain.height + (len(lines) + 1) * (_FONT_PX + _GAP_PX))
    sheet = Image.new("RGB", size)
    sheet.paste(plain, (0, 0))
    sheet.paste(tinted, (plain.width + _GAP_PX, 0))
    draw = ImageDraw.Draw(sheet)
    top = plain.height + _GAP_PX
    _draw_bar(sheet, draw, font, top, is_signed)
    for i, line in enumerate(lines):
        draw.text((_BAR_PX + 2 * _GAP_PX, top + i * (_FONT_PX + _GAP_PX // 2)), line, font=font, fill=_TEXT)
    return sheet


def colours(values: Float32[np.ndarray, "*grid"]) -> UInt8[np.ndarray, "*grid 4"]:
    """Values in [-1, 1] as colours with their opacity (RGBA); 0 is transparent."""
    strength = np.abs(values)
    strong, green = np.full_like(values, 255), 255 * strength**2
    positive = np.stack([strong, green, np.zeros_like(values)], axis=-1)
    rgb = np.where((values < 0)[..., None], positive[..., ::-1], positive)
    opacity = 255 * _MOST_OPAQUE * np.sqrt(strength)
    return np.rint(np.concatenate([rgb, opacity[..., None]], axis=-1)).astype(np.uint8)


def _draw_bar(sheet: Image.Image, draw: ImageDraw.ImageDraw, font: Any, top: int, is_signed: bool) -> None:
    values = np.linspace(-1.0 if is_signed else 0.0, 1.0, _BAR_PX, dtype=np.float32)[None].repeat(_FONT_PX, axis=0)
    bar = Image.fromarray(colours(values))
    sheet.paste((_GREY,) * 3, (_GAP_PX, top, _GAP_PX + _BAR_PX, top + _FONT_PX))
    sheet.paste(bar, (_GAP_PX, top), mask=bar.getchannel("A"))
    for x, anchor, text in ((0, "la", "-1: lowers it" if is_signed else "0"), (_BAR_PX, "ra", "1: raises it")):
        draw.text((_GAP_PX + x, top + _FONT_PX + _GAP_PX // 2), text, anchor=anchor, font=font, fill=_TEXT)
