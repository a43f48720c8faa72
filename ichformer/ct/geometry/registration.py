"""Two scans of one head laid over each other: the rigid motion between them, and how well it fits."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float32, Float64
from scipy import ndimage

from ichformer.ct.geometry.regrid import resample_plane, slice_origins_mm
from ichformer.ct.geometry.rigid import Motion, holds, values_at
from ichformer.ct.volume import AIR_HU, Volume

if TYPE_CHECKING:
    import SimpleITK

_STEP_MM = 4.0
"""The heads are compared on a lattice of so many mm. Of phantoms in slices of 2.5 to 7 mm, turned by up to 30 degrees,
the largest error in the brain was 0.1 to 0.7 mm. A lattice of 2 mm took three times as long, for 0.1 to 0.5 mm."""

_SKULL_MM = 12.0
"""So far round the inside of the skull both heads are compared: the vault and some scalp, but neither jaw nor neck,
which move by themselves, nor much of the head rest."""

_WINDOW_HU = (-200.0, 1000.0)
"""HU are cut to it. Bone decides in it, and blood, which changes between two scans, counts for little."""

_SHRINK = (2, 1)
"""The search goes over every second point of the lattice first, then over all."""

_BINS = 32
_RAD = 60.0
"""A step of the search turns by a ``_RAD``-th of a radian where it shifts by 1 mm: both move the skull alike."""

_LEAST_DICE, _LEAST_LIKENESS = 0.9, 0.8
"""Of phantoms, six pairs of one head had at least 0.97 of both, and five pairs of two heads 0.88 to 0.96 and 0.14 to
0.73."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Registration:
    """How a later scan of a head lies over an earlier one.

    Attributes:
      motion: takes points of the earlier patient to those of the later.
      dice: overlap of the insides of both skulls, where both scans reach: twice what they share over their sum.
      likeness: correlation of the HU of both heads there, in a window for bone.
    """

    motion: Motion
    dice: float
    likeness: float

    @property
    def is_good(self) -> bool:
        """Whether voxels of both scans can be compared."""
        return self.dice >= _LEAST_DICE and self.likeness >= _LEAST_LIKENESS


def register_heads(
    earlier: Volume, later: Volume, *, earlier_brain: Bool[np.ndarray, "s h w"], later_brain: Bool[np.ndarray, "t k l"]
) -> Registration:
    """Find the rigid motion that lays the later scan of a head over the earlier one.

    The same scans give the same motion: every point of the lattice counts, and one thread adds them up.

    Source: Mattes et al., IEEE Transactions on Medical Imaging 2003;22:120-128 (mutual information), and Powell, The
    Computer Journal 1964;7:155-162 (a search without derivatives), both by SimpleITK.

    Args:
      earlier, later: the scans.
      earlier_brain, later_brain: of ``ct.anatomy.brain.brain_mask``; with at least one voxel each.
    """
    fixed, moving = _lattice_over(earlier, earlier_brain), _lattice_over(later, later_brain)
    motion = _search(fixed, moving)
    points = motion.points_mm(fixed.points_mm[fixed.counts.ravel()])
    is_held = holds(later, points)
    shrunk = _shrunk(later)
    there = np.clip(values_at(shrunk.hu, shrunk, points[is_held], outside=float(AIR_HU)), *_WINDOW_HU)
    brain = values_at(later_brain, later, points[is_held], outside=0.0) >= 0.5
    here, own = (one[fixed.counts][is_held] for one in (fixed.hu, fixed.brain))
    return Registration(motion=motion, dice=_dice(own, brain), likeness=_likeness(here, there))


@dataclass(frozen=True, kw_only=True, eq=False)
class _Lattice:
    """A head on an even lattice of ``_STEP_MM`` along the patient's axes.

    Attributes:
      origin_mm: (x, y, z) of the first point.
      hu: cut to ``_WINDOW_HU``.
      brain: the inside of the skull.
      counts: the inside of the skull and what lies round it, as far as the scan holds it.
    """

    origin_mm: Float64[np.ndarray, "3"]
    hu: Float32[np.ndarray, "z y x"]
    brain: Bool[np.ndarray, "z y x"]
    counts: Bool[np.ndarray, "z y x"]

    @property
    def points_mm(self) -> Float64[np.ndarray, "n 3"]:
        """All points (x, y, z), the last axis first."""
        return _points_mm(self.origin_mm, self.hu.shape)

    @property
    def middle_mm(self) -> Float64[np.ndarray, "3"]:
        """The middle of the brain."""
        return self.points_mm[self.brain.ravel()].mean(axis=0)


def _lattice_over(volume: Volume, brain: Bool[np.ndarray, "s h w"]) -> _Lattice:
    """The lattice over the inside of the skull and what lies round it."""
    slices, rows, columns = (np.flatnonzero(brain.any(axis)) for axis in ((1, 2), (0, 2), (0, 1)))
    ends = np.array([[row, column] for row in rows[[0, -1]] for column in columns[[0, -1]]], np.float64)
    corners = slice_origins_mm(volume)[slices][:, None] + ends @ volume.affine[:3, 1:3].T
    low, high = corners.min(axis=(0, 1)) - _SKULL_MM, corners.max(axis=(0, 1)) + _SKULL_MM
    x, y, z = (int(n) for n in np.ceil((high - low) / _STEP_MM) + 1)
    points = _points_mm(low, (z, y, x))
    shrunk = _shrunk(volume)
    inside = (values_at(brain, volume, points, outside=0.0) >= 0.5).reshape(z, y, x)
    near = ndimage.distance_transform_edt(~inside, _STEP_MM) <= _SKULL_MM
    hu = np.clip(values_at(shrunk.hu, shrunk, points, outside=float(AIR_HU)), *_WINDOW_HU).reshape(z, y, x)
    return _Lattice(
        origin_mm=low, hu=hu.astype(np.float32), brain=inside, counts=near & holds(volume, points).reshape(z, y, x)
    )


def _points_mm(origin_mm: Float64[np.ndarray, "3"], shape: tuple[int, ...]) -> Float64[np.ndarray, "n 3"]:
    z, y, x = np.indices(shape).reshape(3, -1) * _STEP_MM
    return np.stack([x, y, z], axis=1) + origin_mm


def _shrunk(volume: Volume) -> Volume:
    """The scan with pixels of about ``_STEP_MM``, each the mean of its own."""
    step = np.array([max(1, round(_STEP_MM / mm)) for mm in volume.spacing_mm[1:]], np.float64)
    rows, columns = (max(1, int(size // by)) for size, by in zip(volume.hu.shape[1:], step, strict=True))
    return resample_plane(volume, start=(step - 1) / 2, step=step, shape=(rows, columns))[0]


def _search(fixed: _Lattice, moving: _Lattice) -> Motion:
    """The motion from the points of ``fixed`` to those of ``moving`` under which both tell most about each other."""
    import SimpleITK

    images = [_as_image(one, one.hu) for one in (fixed, moving)]
    masks = [_as_image(one, one.counts.astype(np.uint8)) for one in (fixed, moving)]
    found = SimpleITK.Euler3DTransform()
    found.SetCenter(fixed.middle_mm.tolist())
    found.SetTranslation((moving.middle_mm - fixed.middle_mm).tolist())
    method = SimpleITK.ImageRegistrationMethod()
    method.SetNumberOfThreads(1)
    method.SetMetricAsMattesMutualInformation(_BINS)
    method.SetMetricFixedMask(masks[0])
    method.SetMetricMovingMask(masks[1])
    method.SetInterpolator(SimpleITK.sitkLinear)
    method.SetShrinkFactorsPerLevel(_SHRINK)
    method.SetSmoothingSigmasPerLevel([_STEP_MM * (by - 1) / 2 for by in _SHRINK])
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
    # Gradient descent, mean squares and correlation ended up to 7 mm beside the same phantoms.
    method.SetOptimizerAsPowell(
        numberOfIterations=30, maximumLineIterations=50, stepLength=1.0, stepTolerance=1e-2, valueTolerance=1e-4
    )
    method.SetOptimizerScales([_RAD] * 3 + [1.0] * 3)
    method.SetInitialTransform(found)  # what is found is put there
    method.Execute(*images)
    matrix = np.eye(4)
    matrix[:3, :3] = np.array(found.GetMatrix()).reshape(3, 3)
    matrix[:3, 3] = found.TransformPoint((0.0, 0.0, 0.0))
    return Motion(matrix=matrix)


def _as_image(lattice: _Lattice, values: Any) -> "SimpleITK.Image":
    import SimpleITK

    image = SimpleITK.GetImageFromArray(values)
    image.SetSpacing([_STEP_MM] * 3)
    image.SetOrigin(lattice.origin_mm.tolist())
    return image


def _dice(one: Bool[np.ndarray, " n"], other: Bool[np.ndarray, " n"]) -> float:
    total = int(one.sum() + other.sum())
    return float(2 * (one & other).sum() / total) if total else 0.0


def _likeness(one: Float32[np.ndarray, " n"], other: Float32[np.ndarray, " n"]) -> float:
    if one.size == 0 or one.std() == 0 or other.std() == 0:
        return 0.0
    return float(np.corrcoef(one, other)[0, 1])
