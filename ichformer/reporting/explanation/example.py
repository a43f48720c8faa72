"""The picture of a map beside the bleed that it should show: two slices, with the bleed's outline."""

import io

import numpy as np
from jaxtyping import Bool, Float32, Integer, UInt8
from PIL import Image, ImageDraw
from scipy import ndimage

from ichformer.ct.windows import WINDOWS, apply_windows
from ichformer.reporting.explanation.sheet import colours

_TILE_PX, _GAP_PX, _CROSS_PX, _LINE_PX = 224, 4, 7, 2
_OUTLINE, _CROSS = (60, 220, 160), (255, 255, 255)
"""Green beside maps of red, yellow and blue, and white."""


def example_picture(
    hu: Integer[np.ndarray, "s h w"], mask: Bool[np.ndarray, "s h w"], maps: Float32[np.ndarray, "s h w"]
) -> bytes:
    """Draw the slice with most of a bleed, and beside it the slice in which a map is highest, where a cross marks it.

    Both have the map over them and the outline of the bleed, which is not empty. Pixels are square, and the slices in
    the orientation of a prepared scan.

    Returns:
      A PNG.
    """
    with_bleed = int(mask.sum(axis=(1, 2)).argmax())
    peak, row, column = (int(i) for i in np.unravel_index(maps.argmax(), maps.shape))
    scaled = maps / max(float(np.abs(maps).max()), np.finfo(np.float32).tiny)
    picture = Image.new("RGB", (2 * _TILE_PX + _GAP_PX, _TILE_PX), (255, 255, 255))
    for x, i in ((0, with_bleed), (_TILE_PX + _GAP_PX, peak)):
        picture.paste(Image.fromarray(_tile(hu[i], mask[i], scaled[i])), (x, 0))
    draw = ImageDraw.Draw(picture)
    px = _TILE_PX / np.asarray(maps.shape[1:])
    y, x = np.rint((np.asarray([row, column]) + 0.5) * px).astype(int) + np.asarray([0, _TILE_PX + _GAP_PX])
    for colour, width in (((0, 0, 0), 3), (_CROSS, 1)):
        for dx, dy in ((_CROSS_PX, 0), (0, _CROSS_PX)):
            draw.line((x - dx, y - dy, x + dx, y + dy), fill=colour, width=width)
    packed = io.BytesIO()
    picture.save(packed, "PNG", optimize=True)
    return packed.getvalue()


def _tile(
    hu: Integer[np.ndarray, "h w"], mask: Bool[np.ndarray, "h w"], scaled: Float32[np.ndarray, "h w"]
) -> UInt8[np.ndarray, "rows columns 3"]:
    size = (_TILE_PX, _TILE_PX)
    grey = np.rint(apply_windows(hu, (WINDOWS["brain"],))[..., 0] * 255).astype(np.uint8)
    tile = Image.fromarray(grey).resize(size, Image.Resampling.BICUBIC).convert("RGB")
    tint = Image.fromarray(colours(scaled)).resize(size, Image.Resampling.BILINEAR)
    tile.paste(tint, mask=tint.getchannel("A"))
    region = np.asarray(Image.fromarray(mask).convert("L").resize(size, Image.Resampling.BILINEAR)) > 127
    outlined = np.array(tile)
    outlined[ndimage.binary_dilation(region, iterations=_LINE_PX) & ~region] = _OUTLINE
    return outlined
