"""Whole numbers of a stack of slices as text that a page can carry: exact, small, and decoded by a few lines of script.

A picture format would have to pass through the browser's canvas, where privacy settings may alter pixels; these bytes
do not.
"""

import base64
import zlib

import numpy as np
from jaxtyping import Int

BITS = 12
"""Bits of a packed number: HU from -1024 to 3071 fit, which is the range of ordinary scanners."""


def pack(slices: Int[np.ndarray, "s h w"], *, low: int) -> list[str]:
    """Each slice as base64 of a zlib stream.

    A pixel is predicted by the median edge detector of JPEG-LS (ITU-T T.87, A.4.1) from its left, upper and upper left
    neighbours, taken as 0 beyond the border. The residuals, folded to 0, -1, 1, -2, 2 ... -> 0, 1, 2, 3, 4 ..., stand
    as two planes: all low bytes, then all high bytes.

    Args:
      slices: any integers; those outside [low, low + 2**BITS - 1] are clipped.
      low: the number that is packed as 0.

    Returns:
      one string a slice.
    """
    packed = []
    for pixels in slices:
        x = np.clip(pixels.astype(np.int32) - low, 0, 2**BITS - 1)
        padded = np.pad(x, ((1, 0), (1, 0)))
        left, upper, corner = padded[1:, :-1], padded[:-1, 1:], padded[:-1, :-1]
        smaller, larger = np.minimum(left, upper), np.maximum(left, upper)
        residual = x - np.clip(left + upper - corner, smaller, larger)
        folded = np.where(residual >= 0, 2 * residual, -2 * residual - 1)
        planes = np.stack([folded & 255, folded >> 8]).astype(np.uint8)
        # Residuals are noise with flat runs: Huffman codes and run lengths pack them as well as a search for matches.
        deflate = zlib.compressobj(9, zlib.DEFLATED, 15, 9, zlib.Z_RLE)
        packed.append(base64.b64encode(deflate.compress(planes.tobytes()) + deflate.flush()).decode("ascii"))
    return packed
