"""The HU that greys of display pictures stand for: which end is bone, where black and white are, which window.

A picture does not say its window, but two tissues of known HU are in every head: brain and the fluid in it. The window
is the usual one under which both come out right. That is an estimate: windows that are much alike, such as 40/80 and
40/120, cannot always be told apart.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int16, Shaped
from scipy import ndimage

from ichformer.ct.anatomy.brain import brain_mask
from ichformer.ct.audit import Audit
from ichformer.ct.volume import AIR_HU, Volume
from ichformer.ct.windows import WINDOWS, Window
from ichformer.errors import InputError

WindowHU = tuple[float, float]
"""The HU that black and white stand for."""


def _ends(window: Window) -> WindowHU:
    return window.center_hu - window.width_hu / 2, window.center_hu + window.width_hu / 2


BRAIN_WINDOW_HU = _ends(WINDOWS["brain"])

_USUAL: dict[WindowHU, float] = {
    BRAIN_WINDOW_HU: 0.0,
    _ends(Window(center_hu=50, width_hu=100)): 1.0,
    _ends(Window(center_hu=40, width_hu=120)): 1.0,  # of CT-ICH (Hssayeni et al., Data 2020;5:14)
    _ends(WINDOWS["subdural"]): 1.0,
    _ends(WINDOWS["soft_tissue"]): 4.0,
    _ends(Window(center_hu=40, width_hu=40)): 4.0,  # for early strokes; blood is white in it
}
"""Windows in which heads are shown and bone is white, and how much better than the brain's each has to fit, in squared
standard deviations: most pictures show the brain window, few that of soft tissue or of strokes."""

_BRAIN_HU, _BRAIN_SD_HU = 33.0, 4.0
"""Grey and white matter together, from old to young and from scanner to scanner."""

_FLUID_HU, _FLUID_SD_HU, _NO_FLUID_SD_HU = 7.0, 5.0, 12.0
"""The darkest hundredth of the inside is fluid, or brighter where a slice has little of it."""

_LEAST_SPREAD_HU = 5.0
"""Grey and white matter alone are 8 HU apart: a window so wide that all is flatter shows bone, not brain."""

_MISFIT = 9.0
"""Three standard deviations."""

_SLICES, _FINE_MM, _WIDE = 12, 1.0, 0.7
"""So many slices are examined, each on its own, in pixels of about that size; those are used whose inside is nearly as
large as the largest."""

_DEEP_MM, _SMOOTH_MM = 5.0, 1.5
"""Greys are taken so far from the skull, and smoothed, so that noise makes no fluid."""

_VARIES = 0.07
"""Brain whose grey differs by more of the scale between the slices of one scan was shown in several windows. Through
the heads of CT-ICH it differs by 0.03 at most, from the brain window to the subdural one by 0.15."""

_NEAR_END = 8 / 255
"""Black and white that are so near to the ends of the scale are the ends."""

_DARK, _WHITE = 0.25, 0.78
"""Background is darker than the first, even on film; bone that is darker than the second is not the window's white."""

_BLACK = 3 / 255
"""Up to this grey is black: JPEG leaves some noise there."""

_GIVE = "give the window of the export as --window LOW HIGH, the HU of black and of white"


@dataclass(frozen=True, kw_only=True)
class Display:
    """How the greys of a stack of pictures become HU.

    Attributes:
      inverted: bone is black, and air is white.
      black: grey of ``window_hu[0]``, as a part of the scale from 0 to 1, once it is turned round.
      white: grey of ``window_hu[1]``.
      window_hu: the HU that both stand for.
      origin: "given", "estimated" or "assumed", where nothing to estimate it by was found.
      doubt: why the window may be a wrong one; "" where it was given or estimated well.
    """

    inverted: bool
    black: float
    white: float
    window_hu: WindowHU
    origin: str
    doubt: str

    def describe(self, audit: Audit, full: int) -> Audit:
        """The audit with what was found; ``full`` is the largest grey there can be."""
        low, high = self.window_hu
        audit = audit.with_note(
            "display_window",
            f"grey {self.black * full:.0f} to {self.white * full:.0f} was taken as {low:g} to {high:g} HU "
            f"({self.origin}), black at the border as air; what lies beyond the window is lost",
            window_hu=self.window_hu,
        )
        if self.inverted:
            audit = audit.with_note("greys_inverted", "bone was black and air was white; the greys were turned round")
        if self.origin == "estimated":
            audit = audit.with_note(
                "window_estimated",
                f"the window {low:g} to {high:g} HU was estimated from the greys of brain and fluid, so all HU are "
                f"estimates; {_GIVE} where you know it",
            )
        if self.doubt:
            audit = audit.with_note("window_doubtful", f"{self.doubt}, so its values may be no HU; {_GIVE}")
        return audit


def read_display(
    pictures: Sequence[Shaped[np.ndarray, "h w"]],
    pixel_mm: float,
    window_hu: WindowHU | None = None,
    *,
    where: object = "pictures",
) -> Display:
    """Find out what the greys of one scan's pictures stand for.

    Args:
      pictures: slices of unsigned integers, all of one type.
      pixel_mm: their pixels' side.
      window_hu: the HU of the smallest and the largest value that the type can hold, where they are known.
      where: what an error names.

    Raises:
      InputError: a window whose ends are not in order; or none is given, and bone is not white, as in a bone window,
        so that what the greys mean cannot be estimated.
    """
    if window_hu is not None:
        check_window(window_hu)
    chosen = np.unique(np.linspace(0, len(pictures) - 1, _SLICES).round().astype(int))
    every = max(1, int(_FINE_MM / pixel_mm))
    pixel_mm *= every
    sample = [pictures[i][::every, ::every] for i in chosen]
    inverted, black, white, inside = _levels_and_inside(sample, pixel_mm)
    greys = np.stack(sample).astype(np.float32) / np.float32(np.iinfo(sample[0].dtype).max)
    levels = (((1 - greys if inverted else greys) - black) / (white - black)).clip(0, 1)
    varies = _several_windows(levels, inside, pixel_mm)
    if window_hu is not None:
        return Display(inverted=inverted, black=0.0, white=1.0, window_hu=window_hu, origin="given", doubt=varies)
    if not inside.any():
        doubt = "no brain was found in it to estimate the window by"
        return Display(inverted=False, black=0.0, white=1.0, window_hu=BRAIN_WINDOW_HU, origin="assumed", doubt=doubt)
    brain, fluid, spread = _landmarks(levels, inside, pixel_mm)
    estimated = min(_USUAL, key=lambda window: _misfit(window, brain, fluid) + _USUAL[window])
    if white < _WHITE or spread * (estimated[1] - estimated[0]) < _LEAST_SPREAD_HU:
        raise InputError(
            "shows bone that is not white, or brain without contrast, as a bone window does",
            where=where,
            fix=f"{_GIVE}, or export the brain window",
        )
    misfit = _misfit(estimated, brain, fluid)
    doubt = varies or ("" if misfit <= _MISFIT else "no usual window fits the greys of brain and fluid well")
    return Display(inverted=inverted, black=black, white=white, window_hu=estimated, origin="estimated", doubt=doubt)


def check_window(window_hu: WindowHU) -> None:
    """InputError unless the ends are HU, the lower one first."""
    low, high = window_hu
    if not (-32768 <= low < high <= 32767):
        raise InputError(
            f"{low:g} to {high:g} HU is no window",
            where="--window",
            fix="give the HU of black and of white, such as 0 80",
        )


def to_hu(picture: Shaped[np.ndarray, "h w"], display: Display) -> Int16[np.ndarray, "h w"]:
    """One slice in HU, rounded; black that reaches the border is air."""
    scale = np.iinfo(picture.dtype).max
    grey = np.arange(scale + 1, dtype=np.float64) / scale
    level = (((1 - grey if display.inverted else grey) - display.black) / (display.white - display.black)).clip(0, 1)
    low, high = display.window_hu
    hu = np.rint(low + level * (high - low)).astype(np.int16)[picture]
    rows, columns = _within_frame(picture)
    air = np.ones(hu.shape, bool)
    air[rows, columns] = _background((level <= _BLACK)[picture[rows, columns]])
    hu[air] = AIR_HU
    return hu


def _within_frame(picture: Shaped[np.ndarray, "h w"]) -> tuple[slice, slice]:
    """Rows and columns inside lines of one grey along the edges: a drawn frame, or nothing but background."""
    flat = _NEAR_END * np.iinfo(picture.dtype).max
    ends = []
    for lines in (picture, picture.T):
        spread = np.ptp(lines[:, lines.shape[1] // 10 : -(lines.shape[1] // 10) or None], axis=1)
        most = len(lines) // 10
        first = int(np.argmax(np.append(spread[:most] > flat, True)))
        last = int(np.argmax(np.append(spread[::-1][:most] > flat, True)))
        ends.append(slice(first, len(lines) - last))
    return ends[0], ends[1]


def _background(black: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    parts, _ = ndimage.label(black)
    at_border = np.unique(np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]]))
    return np.isin(parts, at_border[at_border > 0])


def _levels_and_inside(
    pictures: list[Shaped[np.ndarray, "h w"]], pixel_mm: float
) -> tuple[bool, float, float, Bool[np.ndarray, "s h w"]]:
    """Whether the greys are upside down, the greys of black and white, and the inside of the skull."""
    scale = np.iinfo(pictures[0].dtype).max
    greys = np.stack(pictures).astype(np.float32) / np.float32(scale)
    around = (
        float(np.median(np.concatenate([_border(picture[_within_frame(picture)]) for picture in pictures]))) / scale
    )
    # White air encloses the head as bone encloses the brain, so that where it is white this has to be tried first.
    for inverted in (True, False) if around > 1 - _DARK else (False,):
        black, white = _levels(1 - greys if inverted else greys, 1 - around if inverted else around)
        inside = _inside(pictures, inverted, black, white, pixel_mm)
        if inside.any():
            break
    return inverted, black, white, inside


def _border(picture: Shaped[np.ndarray, "h w"]) -> Shaped[np.ndarray, "n"]:
    return np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])


def _levels(greys: Float32[np.ndarray, "s h w"], around: float) -> tuple[float, float]:
    """Black is what lies round the head; white is bone, the brightest large thing in it."""
    black = around if _NEAR_END < around < _DARK else 0.0
    head = greys[greys > black + 0.1]
    white = float(np.percentile(head, 95)) if head.size else 1.0
    return black, 1.0 if white > 1 - _NEAR_END else white


def _inside(
    pictures: list[Shaped[np.ndarray, "h w"]], inverted: bool, black: float, white: float, pixel_mm: float
) -> Bool[np.ndarray, "s h w"]:
    """The inside of the skull, slice by slice, which does not depend on their order."""
    display = Display(
        inverted=inverted, black=black, white=white, window_hu=BRAIN_WINDOW_HU, origin="assumed", doubt=""
    )
    found = []
    for picture in pictures:
        volume = Volume(
            hu=to_hu(picture, display)[None],
            spacing_mm=(5.0, pixel_mm, pixel_mm),
            affine=np.diag([pixel_mm, pixel_mm, 5.0, 1.0]),
            source=("",),
            audit=Audit(window_hu=BRAIN_WINDOW_HU),
        )
        found.append(brain_mask(volume)[0])
    return np.stack(found)


def _landmarks(
    levels: Float32[np.ndarray, "s h w"], inside: Bool[np.ndarray, "s h w"], pixel_mm: float
) -> tuple[float, float, float]:
    """Grey of brain, of fluid, and how far apart the greys inside are, without noise and without the skull's edge."""
    values = np.concatenate(_deep_greys(levels, inside, pixel_mm))
    darkest, brain, brightest = np.percentile(values, [1, 50, 90])
    return float(brain), float(darkest), float(brightest - darkest)


def _several_windows(levels: Float32[np.ndarray, "s h w"], inside: Bool[np.ndarray, "s h w"], pixel_mm: float) -> str:
    """Doubt that the slices were not all shown in one window; "" where the brain is equally bright in all of them."""
    brain = [float(np.median(values)) for values in _deep_greys(levels, inside, pixel_mm)] if inside.any() else [0.0]
    if max(brain) - min(brain) <= _VARIES:
        return ""
    return f"the grey of brain differs by {max(brain) - min(brain):.0%} of the scale from slice to slice"


def _deep_greys(
    levels: Float32[np.ndarray, "s h w"], inside: Bool[np.ndarray, "s h w"], pixel_mm: float
) -> list[Float32[np.ndarray, "n"]]:
    """The greys inside each slice whose inside is large, smoothed, away from the skull."""
    area = inside.sum((1, 2))
    values = []
    for level, mask in zip(levels[area >= _WIDE * area.max()], inside[area >= _WIDE * area.max()], strict=True):
        deep = ndimage.distance_transform_edt(mask) * pixel_mm > _DEEP_MM
        values.append(ndimage.gaussian_filter(level, _SMOOTH_MM / pixel_mm)[deep if deep.any() else mask])
    return values


def _misfit(window: WindowHU, brain: float, fluid: float) -> float:
    """How unlikely the HU are that a window gives to brain and fluid: squared standard deviations."""
    low, high = window
    brain_hu, fluid_hu = (low + level * (high - low) for level in (brain, fluid))
    over = fluid_hu - _FLUID_HU
    if fluid <= _BLACK:  # cut off at the window's black, so that it may be darker
        over = min(0.0, over)
    from_fluid = over / (_NO_FLUID_SD_HU if over > 0 else _FLUID_SD_HU)
    return ((brain_hu - _BRAIN_HU) / _BRAIN_SD_HU) ** 2 + from_fluid**2
