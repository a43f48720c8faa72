"""The plastic head, scanned level and with the gantry tilted both ways: corrected, it is one object."""

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial import cKDTree

from ichformer.ct.geometry.regrid import remove_tilt
from ichformer.ct.io.scans import read_volume

SKIN_HU, BONE_HU = -300, 300
STRIDE = 3


def load(path, is_corrected: bool) -> tuple[np.ndarray, np.ndarray]:
    """HU, every third row and column, and the affine that the corrected volume has."""
    volume = read_volume(path)
    straight, _ = remove_tilt(volume)
    affine = straight.affine.copy()
    affine[:3, 1:3] *= STRIDE
    return (straight if is_corrected else volume).hu[:, ::STRIDE, ::STRIDE].astype(np.float64), affine


def surface_mm(hu: np.ndarray, affine: np.ndarray, level: float) -> np.ndarray:
    """Where straight lines between neighbouring voxels cross ``level``, in the patient."""
    points = []
    for axis in range(3):
        low, high = hu.swapaxes(0, axis)[:-1], hu.swapaxes(0, axis)[1:]
        crosses = ((low > level) != (high > level)) & np.isfinite(low) & np.isfinite(high)
        at = np.argwhere(crosses).astype(float)
        at[:, 0] += (level - low[crosses]) / (high[crosses] - low[crosses])
        at[:, [0, axis]] = at[:, [axis, 0]]
        points.append(at)
    return np.concatenate(points) @ affine[:3, :3].T + affine[:3, 3]


def align(moving: np.ndarray, fixed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rotation and shift, by iterated closest points (Besl & McKay 1992) on the nearest 90 %."""
    tree, rotation, shift = cKDTree(fixed), np.eye(3), np.zeros(3)
    sample = moving[np.random.default_rng(0).choice(len(moving), 6000, replace=False)]
    lowest, highest = fixed.min(0) + 4, fixed.max(0) - 4
    for _ in range(50):
        moved = sample @ rotation.T + shift
        distance, nearest = tree.query(moved)
        used = ((moved > lowest) & (moved < highest)).all(1)
        used &= distance <= np.quantile(distance[used], 0.9)
        a, b = sample[used], fixed[nearest[used]]
        u, _, v = np.linalg.svd((a - a.mean(0)).T @ (b - b.mean(0)))
        rotation = (v.T * [1, 1, np.sign(np.linalg.det(v.T @ u.T))]) @ u.T
        shift = b.mean(0) - rotation @ a.mean(0)
    return rotation, shift


def head_only(hu: np.ndarray, level: float) -> np.ndarray:
    """Without the headrest, which does not lie with the head."""
    dense = np.nan_to_num(hu, nan=-1024) > level
    parts, _ = ndimage.label(dense)
    head = parts == 1 + np.argmax(np.bincount(parts.ravel())[1:])
    return np.where(dense & ~head, -1024, hu)


def as_slices_of(hu, affine, rotation, shift, like, like_affine) -> np.ndarray:
    """The moved volume in the slices of another one, averaged over their thickness; NaN where it does not reach."""
    index = np.stack(np.meshgrid(*map(np.arange, like.shape), indexing="ij"), -1).reshape(-1, 3)
    total = np.zeros(len(index))
    for part in (-0.33, 0.0, 0.33):
        point = (index + np.array([part, 0, 0])) @ like_affine[:3, :3].T + like_affine[:3, 3]
        at = np.linalg.solve(affine[:3, :3], ((point - shift) @ rotation - affine[:3, 3]).T)
        total += ndimage.map_coordinates(hu, at, order=1, cval=np.nan) / 3
    return total.reshape(like.shape)


def mean_distance_mm(philips, name: str, *, is_corrected: bool) -> float:
    """Between the bone of a tilted scan and of the level one: the mean over both of the way to the other."""
    level, level_affine = load(philips / "S21570" / "S2010", is_corrected=True)
    tilted, affine = load(philips / "S21610" / name, is_corrected=is_corrected)
    rotation, shift = align(surface_mm(tilted, affine, SKIN_HU), surface_mm(level, level_affine, SKIN_HU))
    moved = as_slices_of(tilted, affine, rotation, shift, level, level_affine)
    covered = np.isfinite(moved)
    inner = ndimage.binary_erosion(covered, np.ones((3, 7, 7)))
    bone = [
        surface_mm(head_only(np.where(covered, hu, np.nan), BONE_HU), level_affine, BONE_HU) for hu in (moved, level)
    ]

    def inside(points: np.ndarray) -> np.ndarray:
        at = np.rint(np.linalg.solve(level_affine[:3, :3], (points - level_affine[:3, 3]).T)).astype(int)
        return points[inner[tuple(at)]]

    ways = [cKDTree(b).query(inside(a))[0] for a, b in (bone, bone[::-1])]
    return float(np.concatenate(ways).mean())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["S2010", "S3010"])
def test_bone_surfaces_lie_within_a_millimetre(real_data, name):
    philips = real_data / "dcm_qa_ct" / "Philips"
    corrected = mean_distance_mm(philips, name, is_corrected=True)
    sheared = mean_distance_mm(philips, name, is_corrected=False)
    print(f"{name}: mean distance of bone surfaces {corrected:.2f} mm; {sheared:.2f} mm with the tilt left in")
    assert corrected < 1.0
    assert sheared > 2.0
