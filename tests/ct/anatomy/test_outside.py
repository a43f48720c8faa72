import numpy as np

from ichformer.ct.anatomy.outside import air_outside


def test_air_outside_is_joined_to_the_border_and_a_sinus_is_not() -> None:
    hu = np.full((2, 9, 9), -1000, np.int16)
    hu[:, 2:7, 2:9] = 30  # a head that reaches the right border
    hu[0, 4, 4] = -1000  # a sinus
    hu[1, 4, 2:5] = -1000  # one that opens to the outside
    found = air_outside(hu)
    wanted = hu < -300
    wanted[0, 4, 4] = False
    np.testing.assert_array_equal(found, wanted)
