"""A hash of a scan's pixels that does not depend on the file format or on names."""

import hashlib

import numpy as np
from jaxtyping import Int16

KEPT = 8
"""Hashes in a fingerprint."""

_LOW_HU, _HIGH_HU = -100, 1000
"""Values beyond are not counted: padding, air and metal are written differently by different formats."""

_MIN_VALUES = 32
"""A slice of fewer different values shows no tissue, so it says nothing of whose it is."""


def fingerprint(hu: Int16[np.ndarray, "s h w"]) -> str:
    """Up to ``KEPT`` hashes, separated by spaces; scans that share slices share hashes.

    A slice's hash is that of how often each value from -100 to 1000 HU occurs in it. So it stays the same in another
    format, turned or flipped, with other padding or a wider margin; it does not survive resampling or noise. Of the
    hashes of all slices the smallest are kept (the bottom-k sketch of Broder, Compression and Complexity of Sequences
    1997): a scan and a part of it, which has a share f of its slices, have none in common with a probability of (1 -
    f)^8, which is 0.4 % for a half.

    Args:
      hu: a scan as it was read, before any preparation.

    Returns:
      hashes of 16 hexadecimal digits, the smallest first; "" where no slice shows tissue.
    """
    hashes = {value for picture in hu if (value := _hash(picture))}
    return " ".join(sorted(hashes)[:KEPT])


def _hash(picture: Int16[np.ndarray, "h w"]) -> str:
    counted = picture[(picture >= _LOW_HU) & (picture < _HIGH_HU)] - np.int16(_LOW_HU)
    counts = np.bincount(counted, minlength=_HIGH_HU - _LOW_HU).astype("<i4")
    if np.count_nonzero(counts) < _MIN_VALUES:
        return ""
    return hashlib.sha256(counts.tobytes()).hexdigest()[:16]
