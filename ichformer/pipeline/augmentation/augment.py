"""Random changes to a scan that leave its labels true. NumPy on the host, one generator a scan."""

from dataclasses import dataclass, replace

import numpy as np

from ichformer.ct.volume import AIR_HU
from ichformer.errors import InputError
from ichformer.pipeline.augmentation.cutout import LARGEST_SIDE, cut_out, random_hole
from ichformer.pipeline.augmentation.inplane import flip, move_hu, move_mask, random_affine
from ichformer.pipeline.augmentation.intensity import add_noise, as_display_picture, change_gain, change_kernel
from ichformer.pipeline.augmentation.sample import Sample
from ichformer.settings import check_settings

_CHANCES = ("flip", "display", "drop_slices", "reverse_slices")


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How much is changed; every 0 switches its change off.

    Attributes:
      flip: Chance that left and right are exchanged, 0 to 1.
      rotate_deg: Largest rotation in the plane of a slice, either way, in degrees.
      scale: Largest relative change of size in the plane, either way; 0.1 is 10 %.
      shift: Largest shift in the plane, as a share of the side of the picture.
      noise_hu: Largest standard deviation of added white noise, in HU.
      offset_hu: Largest shift of the whole scan in HU, either way, as scanners differ in their calibration.
      gain: Largest relative change of contrast about the value of water, either way; 0.05 is 5 %.
      kernel: Largest change of sharpness, softer or sharper, as between reconstruction kernels. 1 is the blur of a
        Gaussian whose standard deviation is one pixel. Raise it where scanners differ in sharpness.
      display: Chance that a scan looks as if it had been read from display pictures in a window that nobody told, 0 to
        1. Set it where pictures are to be read, too.
      thicken_mm: Largest distance of slices, in mm, that neighbouring slices may be averaged to. Scans with thicker
        slices stay as they are. Raise it where protocols differ in thickness.
      drop_slices: Chance that a slice is missing, for each slice, 0 to 1.
      reverse_slices: Chance that the slices come from top to bottom, 0 to 1. Set it where the order of slices is not
        known.
      cutout: Largest side of a rectangle that is replaced by air, as a share of the side of the picture, at most 0.25.
        If a mask shows that it hides a bleed, the positive labels of the slice and all its targets become unknown.
      mixup: Strength of mixup (Zhang et al. 2018), which averages the pixels and labels of two scans with a random
        share. The share is drawn from a beta distribution with this value for both parameters. 0.2 is usual.

    A scan of which a part is missing is positive only if a slice that is left is. Where labels or targets are known of
    whole scans only (``known_labels.whole_rows``), nobody could say so: there ``drop_slices`` and ``cutout`` change
    nothing.
    """

    flip: float = 0.5
    rotate_deg: float = 15.0
    scale: float = 0.1
    shift: float = 0.05
    noise_hu: float = 6.0
    offset_hu: float = 4.0
    gain: float = 0.0
    kernel: float = 0.0
    display: float = 0.0
    thicken_mm: float = 0.0
    drop_slices: float = 0.0
    reverse_slices: float = 0.0
    cutout: float = 0.0
    mixup: float = 0.0

    def __post_init__(self) -> None:
        """InputError for a value that is no number or outside its range."""
        check_settings(self, "augmentation.")
        limits = dict.fromkeys(_CHANCES, 1.0) | {"cutout": LARGEST_SIDE, "scale": 0.9}
        for name, value in vars(self).items():
            most = limits.get(name, np.inf)
            if not 0 <= value <= most:
                fix = f"give 0 to {most:g}" if np.isfinite(most) else "give 0 or more"
                raise InputError(f"found {value}", where=f"augmentation.{name}", fix=fix)


def augment(sample: Sample, augmentation: Augmentation, rng: np.random.Generator) -> Sample:
    """Returns a copy that is changed in the plane and in its HU; all slices change alike, except for noise.

    What happens to the stack of slices is decided before they are read (``slabs.py``), and mixing takes a whole batch
    (``mixup.py``). A change that is switched off draws no number, but for the five that have always drawn theirs: so
    what a seed gives does not depend on changes that are not used.
    """
    if rng.random() < augmentation.flip:
        sample = flip(sample)
    matrix, offset = random_affine(
        sample.hu.shape[1:],
        rng,
        rotate_deg=augmentation.rotate_deg,
        scale=augmentation.scale,
        shift=augmentation.shift,
    )
    hu = move_hu(sample.hu, matrix, offset)
    mask = None if sample.mask is None else move_mask(sample.mask, matrix, offset)
    if augmentation.kernel:
        hu = change_kernel(hu, augmentation.kernel * rng.uniform(-1, 1))
    if augmentation.gain:
        hu = change_gain(hu, augmentation.gain * rng.uniform(-1, 1))
    hu = add_noise(hu, rng, noise_hu=augmentation.noise_hu, offset_hu=augmentation.offset_hu)
    if augmentation.display and rng.random() < augmentation.display:
        hu = as_display_picture(hu, rng)
    np.clip(np.rint(hu, out=hu), AIR_HU, np.iinfo(np.int16).max, out=hu)
    sample = replace(sample, hu=hu.astype(np.int16), mask=mask)
    if augmentation.cutout:
        sample = cut_out(sample, random_hole(hu.shape[1:], rng, side=augmentation.cutout))
    return sample
