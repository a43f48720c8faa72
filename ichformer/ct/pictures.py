"""Display pictures (PNG, JPEG, TIFF) as a Volume: greys turned back into the HU that they show."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

import numpy as np
from jaxtyping import UInt8, UInt16
from PIL import Image, ImageSequence

from ichformer.ct.archives import open_file
from ichformer.ct.audit import Audit
from ichformer.ct.display import WindowHU, read_display, to_hu
from ichformer.ct.headless import Headless
from ichformer.ct.limits import MAX_SIDE, MAX_VOXELS
from ichformer.ct.volume import Volume
from ichformer.errors import InputError, one_line
from ichformer.files import path_text

_FORMATS = ("PNG", "JPEG", "TIFF")
"""Pillow is asked for no others: it hands PostScript, for one, to a program, whatever the file is called."""

ASSUMED_SLICE_MM, ASSUMED_FIELD_MM = 5.0, 230.0
"""Pictures have no geometry: slices of the usual thickness, and a usual field of view along the longer side."""

Grey = UInt8[np.ndarray, "h w"] | UInt16[np.ndarray, "h w"]

_COLOUR = 24
_USED = 0.9
"""A picture of 16 bits that was made for the eye uses the whole of its scale; raw values of a scanner never do."""

_MEND = "export the scan as DICOM or NIfTI, or its slices as 8-bit grey pictures of the brain window"


@dataclass(frozen=True, kw_only=True)
class PictureStack(Headless):
    """Pictures of one scan, in the order of the numbers in their names."""

    files: tuple[Path, ...]

    @property
    def path(self) -> Path:
        """The folder; the file where there is one only."""
        return self.files[0] if len(self.files) == 1 else self.files[0].parent


def order_pictures(files: Sequence[Path]) -> tuple[Path, ...]:
    """By name, numbers by their value: 2.png before 10.png."""
    return tuple(sorted(files, key=lambda file: _runs(file.name)))


def read_pictures(stack: PictureStack, *, window_hu: WindowHU | None = None) -> Volume:
    """Read slices that someone windowed for the eye: grey becomes the HU that it shows (see ``display``).

    What lies outside the window is lost: bone is the window's upper end. Black that reaches the border is air. Rows are
    taken to run from anterior to posterior, columns from the patient's right to left, files (or the pages of a TIFF)
    from inferior to superior, 5 mm apart, the longer side being 230 mm. The audit says all this, and which window was
    taken.

    Args:
      stack: the pictures of one scan.
      window_hu: the HU that the smallest and the largest grey stand for (0 and 255, or 65535 where a picture has 16
        bits); estimated from the pictures where None.

    Raises:
      InputError: no picture, coloured, neither 8 nor 16 bits, of different sizes, or nothing tells what its greys mean.
    """
    slices: list[Grey] = []
    source: list[str] = []
    for file in stack.files:
        for number, grey in enumerate(_read_grey(file), start=1):
            if slices and (grey.shape, grey.dtype) != (slices[0].shape, slices[0].dtype):
                raise InputError(
                    f"is {_size(grey)}, the one before {_size(slices[0])}",
                    where=file,
                    mend="keep one scan a folder, or name single pictures",
                )
            slices.append(grey)
            source.append(path_text(file.name) + ("" if number == 1 else f"#{number}"))
            if len(slices) * grey.size > MAX_VOXELS:
                raise InputError(f"{len(slices)} slices are too many", where=file, mend="keep one scan a folder")
    full = int(np.iinfo(slices[0].dtype).max)
    if window_hu is None and full > 255 and max(grey.max() for grey in slices) < _USED * full:
        raise InputError(
            f"has 16 bits and no value over {max(int(grey.max()) for grey in slices)}, so what they mean is unknown",
            where=stack.path,
            mend="give the HU of 0 and of 65535 as --window LOW HIGH, such as -32768 32767 or -1024 64511",
        )
    pixel_mm = ASSUMED_FIELD_MM / max(slices[0].shape)
    display = read_display(slices, pixel_mm, window_hu, where=stack.path)
    audit = (
        display.describe(Audit(modality=""), full)
        .with_note(
            "spacing_assumed",
            f"{ASSUMED_SLICE_MM:g} mm between slices and {ASSUMED_FIELD_MM:g} mm along the longer side assumed",
        )
        .with_note("orientation_assumed", "anterior up, the patient's right on the left, inferior first")
    )
    affine = np.zeros((4, 4))
    affine[2, 0], affine[1, 1], affine[0, 2], affine[3, 3] = ASSUMED_SLICE_MM, pixel_mm, pixel_mm, 1
    return Volume(
        hu=np.stack([to_hu(grey, display) for grey in slices]),
        spacing_mm=(ASSUMED_SLICE_MM, pixel_mm, pixel_mm),
        affine=affine,
        source=tuple(source),
        audit=audit,
    )


def _size(grey: Grey) -> str:
    return f"{grey.shape[0]} x {grey.shape[1]}" + " of 16 bits" * (grey.dtype == np.uint16)


def _read_grey(file: Path) -> list[Grey]:
    try:
        with open_file(file) as opened, Image.open(cast("IO[bytes]", opened), formats=_FORMATS) as image:
            if max(image.size) > MAX_SIDE:
                raise InputError(
                    f"is {image.size[1]} x {image.size[0]}, more than {MAX_SIDE} a side", where=file, mend=_MEND
                )
            pages = getattr(image, "n_frames", 1)
            if pages * image.size[0] * image.size[1] > MAX_VOXELS:
                raise InputError(f"has {pages} pages, too many", where=file, mend=_MEND)
            return [_grey(page, file) for page in ImageSequence.Iterator(image)]
    except InputError:
        raise
    except Exception as error:  # Pillow's many formats raise whatever they stumble over
        raise InputError(
            f"cannot be read as a picture ({type(error).__name__}: {one_line(error)})", where=file, mend="copy it again"
        ) from None


def _grey(page: Image.Image, file: Path) -> Grey:
    if page.mode.startswith("I;16"):
        return np.asarray(page).astype(np.uint16)
    if page.mode not in ("L", "LA", "P", "RGB", "RGBA"):
        raise InputError(f"has pixels of mode {page.mode}, so what its values mean is unknown", where=file, mend=_MEND)
    channels = np.asarray(page.convert("RGB"))
    if np.mean(np.ptp(channels.astype(np.int16), axis=2) > _COLOUR) > 0.001:
        raise InputError("is coloured", where=file, mend=_MEND)
    return np.asarray(page.convert("L"))


def _runs(name: str) -> list[tuple[str, int]]:
    """The name as runs of text and number, so that comparing them compares numbers."""
    return [(text, int(digits or -1)) for text, digits in re.findall(r"(\D*)(\d*)", name)]
