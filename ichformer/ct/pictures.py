"""Display pictures (PNG, JPEG, TIFF) as a Volume: a brain window turned back into the HU that it shows."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

import numpy as np
from jaxtyping import Int16, UInt8
from PIL import Image, ImageSequence
from scipy import ndimage

from ichformer.ct.archives import open_file
from ichformer.ct.audit import Audit
from ichformer.ct.headless import Headless
from ichformer.ct.hounsfield import MAX_SIDE
from ichformer.ct.volume import AIR_HU, MAX_VOXELS, Volume
from ichformer.ct.windows import WINDOWS
from ichformer.errors import InputError, one_line
from ichformer.files import path_text

_FORMATS = ("PNG", "JPEG", "TIFF")
"""Pillow is asked for no others: it hands PostScript, for one, to a program, whatever the file is called."""

ASSUMED_SLICE_MM, ASSUMED_FIELD_MM = 5.0, 230.0
"""Pictures have no geometry: slices of the usual thickness, and a usual field of view along the longer side."""

_BLACK = 3
"""Up to this grey is black: JPEG leaves some noise there."""

_COLOUR = 24
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


def read_pictures(stack: PictureStack) -> Volume:
    """Read slices that someone windowed for the eye: grey 0 to 255 becomes 0 to 80 HU, the brain window.

    What lies outside the window is lost: bone is 80 HU. Black that reaches the border is air. Rows are taken to run
    from anterior to posterior, columns from the patient's right to left, files (or the pages of a TIFF) from inferior
    to superior, 5 mm apart, the longer side being 230 mm. The audit says so.

    Raises:
      InputError: no picture, coloured, not 8 bits, or of different sizes.
    """
    slices: list[UInt8[np.ndarray, "h w"]] = []
    source: list[str] = []
    for file in stack.files:
        for number, grey in enumerate(_read_grey(file), start=1):
            if slices and grey.shape != slices[0].shape:
                raise InputError(
                    f"is {grey.shape[0]} x {grey.shape[1]}, the one before {slices[0].shape[0]} x {slices[0].shape[1]}",
                    where=file,
                    mend="keep one scan a folder, or name single pictures",
                )
            slices.append(grey)
            source.append(path_text(file.name) + ("" if number == 1 else f"#{number}"))
            if len(slices) * grey.size > MAX_VOXELS:
                raise InputError(f"{len(slices)} slices are too many", where=file, mend="keep one scan a folder")
    hu = np.stack([_hu(grey) for grey in slices])
    pixel_mm = ASSUMED_FIELD_MM / max(hu.shape[1:])
    high = WINDOWS["brain"].center_hu + WINDOWS["brain"].width_hu / 2
    audit = (
        Audit(modality="")
        .with_note("display_window", f"grey 0 to 255 taken as 0 to {high:.0f} HU, black at the border as air")
        .with_note(
            "spacing_assumed",
            f"{ASSUMED_SLICE_MM:g} mm between slices and {ASSUMED_FIELD_MM:g} mm along the longer side assumed",
        )
        .with_note("orientation_assumed", "anterior up, the patient's right on the left, inferior first")
    )
    affine = np.zeros((4, 4))
    affine[2, 0], affine[1, 1], affine[0, 2], affine[3, 3] = ASSUMED_SLICE_MM, pixel_mm, pixel_mm, 1
    return Volume(
        hu=hu, spacing_mm=(ASSUMED_SLICE_MM, pixel_mm, pixel_mm), affine=affine, source=tuple(source), audit=audit
    )


def _read_grey(file: Path) -> list[UInt8[np.ndarray, "h w"]]:
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


def _grey(page: Image.Image, file: Path) -> UInt8[np.ndarray, "h w"]:
    if page.mode not in ("L", "LA", "P", "RGB", "RGBA"):
        raise InputError(f"has pixels of mode {page.mode}, so what its values mean is unknown", where=file, mend=_MEND)
    channels = np.asarray(page.convert("RGB"))
    if np.mean(np.ptp(channels.astype(np.int16), axis=2) > _COLOUR) > 0.001:
        raise InputError("is coloured", where=file, mend=_MEND)
    return np.asarray(page.convert("L"))


def _hu(grey: UInt8[np.ndarray, "h w"]) -> Int16[np.ndarray, "h w"]:
    window = WINDOWS["brain"]
    low = window.center_hu - window.width_hu / 2
    hu = np.rint(low + grey * (window.width_hu / 255)).astype(np.int16)
    parts, _ = ndimage.label(grey <= _BLACK)
    at_border = np.unique(np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]]))
    hu[np.isin(parts, at_border[at_border > 0])] = AIR_HU
    return hu


def _runs(name: str) -> list[tuple[str, int]]:
    """The name as runs of text and number, so that comparing them compares numbers."""
    return [(text, int(digits or -1)) for text, digits in re.findall(r"(\D*)(\d*)", name)]
