"""Motion while the scan runs: the head lies elsewhere for part of the turns."""

from dataclasses import replace

import numpy as np
import scipy.fft
from jaxtyping import Float, Float32
from scipy import ndimage

from ichformer.ct.anatomy.head import head_box
from ichformer.ct.corruptions.base import Scan
from ichformer.ct.volume import AIR_HU

RUN_SHARE = 0.4
"""Part of the slices that are hit, in two runs."""

TURN_DEG_PER_MM = 0.7
"""How far the head turns for each mm it slides."""

_FEATHER = 1 / 3
"""Part of the half turn over which a scanner fades its first and last views into each other."""

_NO_STREAK_HU = AIR_HU + 100


def motion(scan: Scan, shift_mm: float, rng: np.random.Generator) -> Scan:
    """Motion: in two runs of slices the head slides by up to ``shift_mm`` and turns.

    It is on its way while each slice of a run is taken, so a slice is put together from three poses, each seen from its
    part of the turn. What a parallel beam measures from one side are the values on one line through the origin of the
    slice's Fourier plane (Kak and Slaney 1988, section 3.2), so sectors of the spectra of the poses are joined: double
    contours and streaks come out as in a reconstruction of inconsistent projections. The head rest moves with the head.
    """
    volume = scan.volume
    count, *shape = volume.hu.shape
    box = head_box(volume.hu, volume.spacing_mm) or (0.0, shape[0] - 1.0, 0.0, shape[1] - 1.0)
    center = np.array([(box[0] + box[1]) / 2, (box[2] + box[3]) / 2])
    hu, mask = volume.hu.astype(np.float32), None if scan.mask is None else scan.mask.copy()
    for half in np.array_split(np.arange(count), min(count, 2)):
        run = min(len(half), max(1, round(RUN_SHARE * len(half))))
        first = int(rng.integers(0, len(half) - run + 1))
        # Rows, columns and turn between the slices, each from -1 to 1; at rest before and after the run.
        path = np.zeros((run + 1, 3))
        path[1:-1] = rng.uniform(-1, 1, (run - 1, 3))
        path[run // 2] = [*_unit(rng), rng.choice([-1.0, 1.0])]
        path *= shift_mm * np.array([*(1 / np.array(volume.spacing_mm[1:])), np.deg2rad(TURN_DEG_PER_MM)])
        begins = rng.uniform(0, 1, run)
        for s, before, after, begin in zip(half[first : first + run], path[:-1], path[1:], begins, strict=True):
            poses = [_posed(hu[s], center, before + part * (after - before)) for part in (0, 0.5, 1)]
            hu[s] = _seen_in_turn(poses, begin, volume.spacing_mm[1:])
            if mask is not None:
                mask[s] = _posed(mask[s], center, (before + after) / 2, order=0, outside=0)
    # What was not reconstructed stays so, whatever streaks cross it.
    return replace(scan.with_hu(np.where(volume.hu == AIR_HU, np.minimum(hu, _NO_STREAK_HU), hu)), mask=mask)


def _unit(rng: np.random.Generator) -> Float[np.ndarray, "2"]:
    heading = rng.uniform(0, 2 * np.pi)
    return np.array([np.sin(heading), np.cos(heading)])


def _posed(
    picture: np.ndarray,
    center: Float[np.ndarray, "2"],
    pose: Float[np.ndarray, "3"],
    *,
    order: int = 1,
    outside: float = AIR_HU,
) -> np.ndarray:
    """The picture turned about ``center`` and slid: rows and columns in voxels, turn in radians."""
    cos, sin = np.cos(pose[2]), np.sin(pose[2])
    back = np.array([[cos, sin], [-sin, cos]])
    return ndimage.affine_transform(picture, back, center - back @ (center + pose[:2]), order=order, cval=outside)


def _seen_in_turn(
    poses: list[Float32[np.ndarray, "h w"]], begin: float, spacing_mm: tuple[float, ...]
) -> Float32[np.ndarray, "h w"]:
    """One slice from its poses at the begin, the middle and the end of a full turn that starts at ``begin`` (0 to 1).

    Every line of the Fourier plane is seen twice, half a turn apart: first between begin and middle, then between
    middle and end. So the middle has half of the weight throughout, and the other half goes from begin to end.
    """
    rows = np.fft.fftfreq(poses[0].shape[0], spacing_mm[0])
    columns = np.fft.rfftfreq(poses[0].shape[1], spacing_mm[1])
    seen = (np.arctan2(rows[:, None], columns[None, :]) / np.pi - begin) % 1
    # It rises from 0 to 1 and, where the turn closes, falls back over the views that are faded.
    late = np.minimum(seen / (1 - _FEATHER), (1 - seen) / _FEATHER).astype(np.float32)
    at_begin, at_middle, at_end = (scipy.fft.rfft2(pose) for pose in poses)
    joined = (at_middle + at_begin + late * (at_end - at_begin)) / 2
    return scipy.fft.irfft2(joined, s=poses[0].shape)
