"""A picture of what a pretraining made of hidden pixels: a row for each scan, with input, reconstruction and truth."""

import io

import numpy as np
from jaxtyping import Float

TILE_PX = 192
"""Width and height of one slice in the picture."""

_GAP_PX, _HEAD_PX, _FONT_PX = 4, 24, 14
_COLUMNS = ("what the model sees", "what it makes of it", "truth")
_GREY = 176


def draw_strip(slices: Float[np.ndarray, "n 3 h w"]) -> bytes:
    """Draws slices [N,3,H,W] in [0, 1], each as the model sees it, as it makes it and as it is, as a grey PNG."""
    from PIL import Image, ImageDraw, ImageFont  # only where it is asked for: other trainings load no Pillow

    count = len(slices)
    size = (3 * (TILE_PX + _GAP_PX) - _GAP_PX, _HEAD_PX + count * (TILE_PX + _GAP_PX) - _GAP_PX)
    sheet = Image.new("L", size)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(_FONT_PX)
    grey = np.rint(np.clip(slices, 0, 1) * 255).astype(np.uint8)
    # Small slices are enlarged by their pixels, as they are; large ones are averaged.
    how = Image.Resampling.NEAREST if max(grey.shape[2:]) <= TILE_PX else Image.Resampling.BOX
    for column, title in enumerate(_COLUMNS):
        x = column * (TILE_PX + _GAP_PX)
        draw.text((x + TILE_PX // 2, _HEAD_PX // 2), title, anchor="mm", font=font, fill=_GREY)
        for row in range(count):
            tile = Image.fromarray(grey[row, column]).resize((TILE_PX, TILE_PX), how)
            sheet.paste(tile, (x, _HEAD_PX + row * (TILE_PX + _GAP_PX)))
    file = io.BytesIO()
    sheet.save(file, format="PNG", optimize=True)
    return file.getvalue()
