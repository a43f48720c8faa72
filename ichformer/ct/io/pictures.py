"""Reading display pictures (PNG, JPEG, TIFF) as a Volume: greys become the HU that they show."""

import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ichformer.ct.audit import Audit
from ichformer.ct.io.display import WindowHU, read_display, to_hu
from ichformer.ct.io.headless import Headless
from ichformer.ct.io.picture_files import Grey, read_pages
from ichformer.ct.limits import MAX_VOXELS
from ichformer.ct.volume import Volume
from ichformer.errors import InputError, one_line
from ichformer.files.writing import path_text

ASSUMED_SLICE_MM, ASSUMED_FIELD_MM = 5.0, 230.0
"""Pictures have no geometry: slices of the usual thickness, and a usual field of view along the longer side."""

_USED = 0.9
"""A picture of 16 bits that was made for the eye uses the whole of its scale; raw values of a scanner never do."""


_COUNTED = 3
"""So many equal numbers in two series of names are no chance."""


@dataclass(frozen=True, kw_only=True)
class PictureStack(Headless):
    """Pictures of one scan, in the order of the numbers in their names."""

    files: tuple[Path, ...]

    @property
    def path(self) -> Path:
        """The folder; the file where there is one only."""
        return self.files[0] if len(self.files) == 1 else self.files[0].parent


def order_pictures(files: Sequence[Path]) -> tuple[Path, ...]:
    """Sort picture files by name, with numbers by their value: 2.png before 10.png."""
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
      InputError: no picture, coloured, neither 8 nor 16 bits, of different sizes, or nothing tells what its greys mean;
        names that count the slices of several scans, or one scan in several windows.
    """
    _refuse_several_scans(stack)
    slices: list[Grey] = []
    source: list[str] = []
    notes: dict[str, str] = {}
    for file in stack.files:
        pages = read_pages(file)
        notes |= pages.notes
        for number, grey in enumerate(pages.greys, start=1):
            if slices and (grey.shape, grey.dtype) != (slices[0].shape, slices[0].dtype):
                raise InputError(
                    f"is {_size(grey)}, the one before {_size(slices[0])}",
                    where=file,
                    fix="keep one scan a folder, or name single pictures",
                )
            slices.append(grey)
            source.append(path_text(file.name) + ("" if number == 1 else f"#{number}"))
            if len(slices) * grey.size > MAX_VOXELS:
                raise InputError(f"{len(slices)} slices are too many", where=file, fix="keep one scan a folder")
    full = int(np.iinfo(slices[0].dtype).max)
    if window_hu is None and full > 255 and max(grey.max() for grey in slices) < _USED * full:
        raise InputError(
            f"has 16 bits and no value over {max(int(grey.max()) for grey in slices)}, so what they mean is unknown",
            where=stack.path,
            fix="give the HU of 0 and of 65535 as --window LOW HIGH, such as -32768 32767 or -1024 64511",
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
    for code, text in sorted(notes.items()):
        audit = audit.with_note(code, text)
    affine = np.zeros((4, 4))
    affine[2, 0], affine[1, 1], affine[0, 2], affine[3, 3] = ASSUMED_SLICE_MM, pixel_mm, pixel_mm, 1
    return Volume(
        hu=np.stack([to_hu(grey, display) for grey in slices]),
        spacing_mm=(ASSUMED_SLICE_MM, pixel_mm, pixel_mm),
        affine=affine,
        source=tuple(source),
        audit=audit,
    )


def _refuse_several_scans(stack: PictureStack) -> None:
    """Raise InputError where names count the same slices more than once: ``a_001.png`` beside ``b_001.png``.

    Two people's slices in one stack would look like one head.
    """
    numbers: dict[str, dict[int, Path]] = {}
    for file in stack.files:
        if found := re.fullmatch(r"(.*?)([0-9]+)([^0-9]*)", file.stem):
            numbers.setdefault(f"{found[1]}#{found[3]}", {})[int(found[2])] = file
    series = list(numbers.values())
    for first, second in pairs_to_compare([each.keys() for each in series], least=_COUNTED):
        if len(both := sorted(series[first].keys() & series[second].keys())) >= _COUNTED:
            names = [one_line(series[at][both[0]].name, max_chars=60) for at in (first, second)]
            raise InputError(
                f"holds the slices of several scans, such as {names[0]} and {names[1]}",
                where=stack.path,
                fix="keep one scan a folder, in one window and without masks",
            )


def pairs_to_compare(sets: Sequence[Set[int]], *, least: int) -> Iterator[tuple[int, int]]:
    """Every pair of sets that may have ``least`` numbers in common, and few others.

    Of the numbers that two sets share, take the one that the fewest sets hold: ``least - 1`` others follow it in both
    sets, in the order of how many sets hold them. So only sets that share a number which is not among their
    ``least - 1`` commonest ones need to be compared (prefix filtering; Chaudhuri, Ganti and Kaushik, ICDE 2006).
    """
    how_many = Counter(itertools.chain.from_iterable(sets))
    holders: dict[int, list[int]] = defaultdict(list)
    for at, numbers in enumerate(sets):
        rarest = sorted(numbers, key=lambda number: (how_many[number], number))[: max(0, len(numbers) - least + 1)]
        for other in sorted({other for number in rarest for other in holders[number]}):
            yield other, at
        for number in rarest:
            holders[number].append(at)


def _size(grey: Grey) -> str:
    return f"{grey.shape[0]} x {grey.shape[1]}" + " of 16 bits" * (grey.dtype == np.uint16)


def _runs(name: str) -> list[tuple[str, int]]:
    """The name as runs of text and number, so that comparing them compares numbers."""
    return [(text, int(digits or -1)) for text, digits in re.findall(r"(\D*)(\d*)", name)]
