"""Points of the patient among the voxels of a scan, and rigid motions."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from ichformer.ct.geometry.regrid import slice_origins_mm
from ichformer.ct.geometry.rigid import Motion, holds, values_at, voxels_of
from tests.lesions.heads import volume

UNEVEN = volume((5, 6, 7), (4.0, 1.5, 0.5), steps_mm=(2.0, 4.0, 4.0, 7.0))


def turned(scan, *, shear: float = 0.0):
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", (12, -7, 31), degrees=True).as_matrix()
    affine[:3, 3] = 5, -90, 400
    own = scan.affine.copy()
    own[1, 0] += shear * own[2, 0]
    return replace(scan, affine=affine @ own)


@pytest.mark.parametrize("scan", [UNEVEN, turned(UNEVEN), turned(UNEVEN, shear=0.3)])
def test_every_voxel_is_found_where_it_lies(scan):
    index = np.argwhere(np.ones(scan.hu.shape, bool))
    points = slice_origins_mm(scan)[index[:, 0]] + index[:, 1:] @ scan.affine[:3, 1:3].T
    np.testing.assert_allclose(voxels_of(scan, points).T, index, atol=1e-9)
    values = np.arange(scan.hu.size, dtype=np.float32).reshape(scan.hu.shape)
    np.testing.assert_allclose(values_at(values, scan, points, outside=-1.0), values.ravel(), atol=1e-3)
    assert holds(scan, points).all()


def test_points_between_and_beyond_the_slices():
    points = np.array([[0.0, 0, z] for z in (1.0, 4.0, -0.9, -1.1, 20.4, 20.6)])
    np.testing.assert_allclose(voxels_of(UNEVEN, points)[0], [0.5, 1.5, -0.45, -0.55, 4 + 3.4 / 7, 4 + 3.6 / 7])
    assert holds(UNEVEN, points).tolist() == [True, True, True, False, True, False]
    assert values_at(UNEVEN.hu + 8, UNEVEN, points, outside=-5.0).tolist() == [8, 8, 8, -5, 8, -5]


def test_the_way_back_of_a_motion():
    motion = Motion(matrix=turned(UNEVEN).affine @ np.linalg.inv(UNEVEN.affine))
    points = np.random.default_rng(0).normal(0, 80, (20, 3))
    np.testing.assert_allclose(motion.inverse.points_mm(motion.points_mm(points)), points, atol=1e-9)
    assert motion.angle_deg == pytest.approx(motion.inverse.angle_deg)
    assert motion.angle_deg == pytest.approx(
        np.degrees(Rotation.from_euler("xyz", (12, -7, 31), degrees=True).magnitude())
    )
