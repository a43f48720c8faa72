"""The greys of a picture file, page by page, decoded by Pillow within the bounds of what a slice can be."""

import contextlib
import io
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import UInt8, UInt16
from PIL import ExifTags, Image, ImageOps

from ichformer.ct.io.archives import file_size, open_file
from ichformer.ct.limits import MAX_SIDE, MAX_VOXELS
from ichformer.errors import InputError, one_line
from ichformer.process.quiet import silent_log, silent_stderr

Grey = UInt8[np.ndarray, "h w"] | UInt16[np.ndarray, "h w"]

EXPORT = "export the scan as DICOM or NIfTI, or its slices as 8-bit grey pictures of the brain window"

_FORMATS = ("PNG", "JPEG", "TIFF")
"""Pillow is asked for no others: it hands PostScript, for one, to a program, whatever the file is called."""

_MAX_PAGES = 1024
"""Of a TIFF: a whole head in slices of 0.3 mm. For each compressed page libtiff walks through all that there are, so
that time grows with the square of their number."""

_COLOUR = 24
_NO_GREYS = {"1": "has black and white only and no greys", "CMYK": "has colours for print (CMYK)"}


@dataclass(kw_only=True)
class Pages:
    """What a picture file shows.

    Attributes:
      greys: its pages, as they are meant to be seen.
      notes: codes of the audit -> what was done to the pages and why.
    """

    greys: list[Grey] = field(default_factory=list)
    notes: dict[str, str] = field(default_factory=dict)


def read_pages(file: Path) -> Pages:
    """The pages of a TIFF, or the one picture that a PNG or JPEG holds.

    A picture that its EXIF block or TIFF tag wants turned is turned, as every viewer does. What is transparent is
    taken as black, whatever lies hidden there. A TIFF in which 0 is white is inverted.

    Raises:
      InputError: not a picture of these formats, a damaged one, one too large, coloured, animated, or without greys.
    """
    try:
        if (n_bytes := file_size(file)) > 4 * MAX_VOXELS:
            raise InputError(f"has {n_bytes} bytes, too many for a picture", where=file, fix=EXPORT)
        # Pillow asks for as many bytes as a file says. Of what lies in memory it gets no more than there are.
        with open_file(file) as opened:
            data = io.BytesIO(opened.read())
        with silent_log("PIL"), warnings.catch_warnings(action="ignore"), Image.open(data, formats=_FORMATS) as image:
            return _read(image, file)
    except InputError:
        raise
    except Exception as error:  # Pillow's decoders raise all kinds of exceptions
        raise InputError(
            f"cannot be read as a picture ({type(error).__name__}: {one_line(error)})", where=file, fix="copy it again"
        ) from None


def _read(image: Image.Image, file: Path) -> Pages:
    if image.format != "TIFF" and getattr(image, "n_frames", 1) > 1:
        raise InputError("holds several pictures, such as an animation", where=file, fix="save each as a file")
    pages = Pages()
    for number in range(_count_pages(image, file)):
        image.seek(number)
        pages.greys.append(_grey(image, file, pages.notes))
    return pages


def _count_pages(image: Image.Image, file: Path) -> int:
    """How many pages there are; InputError where they are too many or too large, before any is decoded."""
    n_pixels = 0
    for number in range(_MAX_PAGES + 1):
        try:
            image.seek(number)
        except EOFError:
            return number
        width, height = image.size
        if max(width, height) > MAX_SIDE:
            raise InputError(f"is {height} x {width}, more than {MAX_SIDE} a side", where=file, fix=EXPORT)
        n_pixels += width * height
        if n_pixels > MAX_VOXELS:
            break
    raise InputError(f"has more than {number} pages", where=file, fix="save each slice as a picture of its own")


def _grey(page: Image.Image, file: Path, notes: dict[str, str]) -> Grey:
    is_inverted = page.mode.startswith("I;16") and getattr(page, "tag_v2", {}).get(262) == 0
    page = _upright(page, file, notes)
    if page.mode.startswith("I;16"):
        # Pillow inverts pages of 8 bits whose 0 is white (PhotometricInterpretation, TIFF 6.0 section 3), not these.
        values = np.asarray(page).astype(np.uint16)
        return ~values if is_inverted else values
    if page.mode not in ("L", "LA", "P", "PA", "RGB", "RGBA"):
        what = _NO_GREYS.get(page.mode, f"has pixels of mode {page.mode}, so what its values mean is unknown")
        raise InputError(what, where=file, fix=EXPORT)
    if page.has_transparency_data:
        page = page.convert("RGBA")
        alpha = page.getchannel("A")
        if (np.asarray(alpha) < 255).any():
            notes["picture_transparent"] = f"{one_line(file.name)} is transparent in places, which were taken as black"
        page = Image.composite(page, Image.new("RGBA", page.size, (0, 0, 0, 255)), alpha)
    if page.mode == "L":
        return np.asarray(page)
    channels = np.asarray(page.convert("RGB"))
    if np.mean(np.ptp(channels.astype(np.int16), axis=2) > _COLOUR) > 0.001:
        raise InputError("is coloured", where=file, fix=EXPORT)
    return np.asarray(page.convert("RGB").convert("L"))


def _upright(page: Image.Image, file: Path, notes: dict[str, str]) -> Image.Image:
    """The page as its orientation tag wants it to be seen; Pillow itself turns a TIFF while it is decoded."""
    orientation = _orientation(page)
    if orientation in range(2, 9):
        notes["picture_turned"] = f"{one_line(file.name)} has the EXIF orientation {orientation} and was turned by it"
    with silent_stderr() if page.format == "TIFF" else contextlib.nullcontext():  # libtiff tells it of each bad row
        page.load()
    return page if page.format == "TIFF" or orientation not in range(2, 9) else ImageOps.exif_transpose(page)


def _orientation(page: Image.Image) -> object:
    try:
        return page.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # a broken EXIF block says nothing
        return None
