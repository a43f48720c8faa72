"""Each of the confounders of surgery, small vessels, dura and what lies beside the head changes what it should."""

import numpy as np
import pytest
import scipy.ndimage as ndi

from tests.ct.phantom.test_confounders import inside_skull, ml, twins


def bone_gone(hu, plain):
    return (plain > 400) & (hu < 250)


def air_in_fluids_place(hu, plain):
    return (hu < -200) & (plain > -10) & inside_skull(plain)


def opaque(hu, plain):
    return (plain < -300) & (hu > -100)


def brighter(hu, plain):
    return inside_skull(plain) & (hu - plain > 8) & (plain < 90)


def darker(hu, plain):
    return inside_skull(plain) & (plain - hu > 4)


def beside_the_head(hu, plain):
    return (plain < -700) & (hu > -650)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "what", "least_ml", "most_ml"),
    [
        pytest.param("leukoaraiosis", darker, 4, 200),
        pytest.param("lacunes", darker, 0.05, 6),
        pytest.param("calcified_ganglia", brighter, 0.2, 6),
        pytest.param("calcified_arteries", brighter, 0.02, 3),
        pytest.param("dense_arteries", brighter, 0.1, 30),
        pytest.param("dense_dura", brighter, 2, 60),
        pytest.param("arachnoid_cyst", darker, 1, 60),
        pytest.param("cavum_septi", darker, 0.1, 5),
        pytest.param("opacified_sinuses", opaque, 2, 80),
        pytest.param("craniotomy", bone_gone, 0.5, 15),
        pytest.param("craniectomy", bone_gone, 6, 80),
        pytest.param("burr_holes", bone_gone, 0.1, 4),
        pytest.param("shunt", brighter, 0.1, 4),
        pytest.param("pneumocephalus", air_in_fluids_place, 0.3, 60),
        pytest.param("dressing", beside_the_head, 40, 600),
        pytest.param("tubes", beside_the_head, 0.2, 20),
    ],
)
def test_each_change_is_where_it_should_be(name, what, least_ml, most_ml):
    hu, plain, phantom = twins(2, name)
    assert least_ml < ml(what(hu, plain), phantom) < most_ml
    # Nothing else changes much: blood is looked for in the brain.
    other = (np.abs(hu - plain) > 15) & ~ndi.binary_dilation(what(hu, plain), iterations=3)
    assert other.sum() < 0.002 * other.size
