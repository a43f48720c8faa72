"""A corruption: a scanner that warms up, so that HU drift from the first slice to the last."""

import numpy as np

import ichformer as ich


@ich.register_corruption("example_drift", unit="HU from the first slice to the last", levels=(2, 4, 8, 16, 32))
def drift(scan, level, rng):
    """The scan with ``level`` HU added along its slices, upwards or downwards as the seed draws it."""
    hu = scan.volume.hu
    along = np.linspace(0, level * rng.choice([-1, 1]), len(hu), dtype=np.float32)
    return scan.with_hu(hu + along[:, None, None])
