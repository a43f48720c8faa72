"""Convolution written so that XLA's CPU backend is fast at it: sums, products and plain 2-D convolutions.

XLA has a fast CPU kernel for one thing, the dense 2-D convolution forwards. Depth-wise ones, gradients of strided ones,
gradients at the kernel and 3-D ones fall to loops many times slower (``experiments/bench/convolution.py``), so here

- a depth-wise convolution is a sum of shifted images, and the gradient at its kernel one reduction for all taps;
- the gradient at the input of a strided convolution is one convolution without stride a phase, interleaved;
- the gradient at a dense kernel is a matrix product over some rows at a time, few enough for the cache;
- a 3-D convolution is a sum of 2-D ones over the taps in depth;
- where patches do not overlap, a convolution is a matrix product.

Pads are pairs, one an axis of space. Computed in float32 at least, returned in the dtype of the arguments.
"""

import functools
import itertools
import math
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

Pads = tuple[tuple[int, int], ...]

BLOCK_BYTES = 1 << 22
"""About what the shifted copies of a block of rows may take: no more than the cache holds."""


def forward(
    x: Float[Array, "n *space c"], kernel: Float[Array, "*taps c2 d"], strides: tuple[int, ...], pads: Pads
) -> Float[Array, "n *space2 d"]:
    """The convolution of channels-last images with ``kernel``, depth-wise where its c2 is 1 and c is not."""
    dtype = x.dtype
    x, kernel = _at_least_float32(x), _at_least_float32(kernel)
    convolve = _depthwise if _is_depthwise(x, kernel) else _dense
    return convolve(x, kernel, strides, pads).astype(dtype)


def gradients(
    x: Float[Array, "n *space c"],
    kernel: Float[Array, "*taps c2 d"],
    dy: Float[Array, "n *space2 d"],
    strides: tuple[int, ...],
    pads: Pads,
) -> tuple[Float[Array, "n *space c"], Float[Array, "*taps c2 d"]]:
    """What ``dy``, a gradient at the result of ``forward``, is at its images and at its kernel."""
    dtypes = x.dtype, kernel.dtype
    x, kernel, dy = _at_least_float32(x), _at_least_float32(kernel), _at_least_float32(dy)
    if _is_depthwise(x, kernel):
        dx = _to_input(dy, kernel, x.shape[1:-1], strides, pads, _depthwise)
        dkernel = _depthwise_to_kernel(x, dy, kernel.shape, strides, pads)
    elif _is_matmul(kernel, strides):
        dx, dkernel = _matmul_gradients(x, kernel, dy, strides, pads)
    else:
        dx = _dense_to_input(dy, kernel, x.shape[1:-1], strides, pads)
        dkernel = _dense_to_kernel(x, dy, kernel.shape, strides, pads)
    return dx.astype(dtypes[0]), dkernel.astype(dtypes[1])


def _at_least_float32(x: Array) -> Array:
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def _is_depthwise(x: Array, kernel: Array) -> bool:
    return kernel.shape[-2] == 1 and x.shape[-1] > 1


def _is_matmul(kernel: Array, strides: tuple[int, ...]) -> bool:
    taps = kernel.shape[:-2]
    return math.prod(taps) == 1 or taps == strides


def _depthwise(x: Array, kernel: Array, strides: tuple[int, ...], pads: Pads) -> Array:
    taps = kernel.shape[:-2]
    weights = kernel.reshape(-1, *(1,) * (x.ndim - 1), kernel.shape[-1])
    shifted = _shifted(_pad(x, pads), taps, strides)
    return functools.reduce(jnp.add, (image * weight for image, weight in zip(shifted, weights, strict=True)))


def _depthwise_to_kernel(x: Array, dy: Array, shape: tuple[int, ...], strides: tuple[int, ...], pads: Pads) -> Array:
    products = tuple(image * dy for image in _shifted(_pad(x, pads), shape[:-2], strides))
    zeros = (jnp.zeros((), x.dtype),) * len(products)
    # One reduction of many operands reads dy once; what stays of the batch is what the threads share.
    sums = lax.reduce(products, zeros, lambda a, b: tuple(map(jnp.add, a, b)), range(1, x.ndim - 1))
    return jnp.stack([one.sum(0) for one in sums]).reshape(shape)


def _dense(x: Array, kernel: Array, strides: tuple[int, ...], pads: Pads) -> Array:
    if _is_matmul(kernel, strides):
        return _matmul(x, kernel, strides, pads)
    if x.ndim == 4:
        x, pads = _cut(x, pads)
        return lax.conv_general_dilated(x, kernel, strides, pads, dimension_numbers=("NHWC", "HWIO", "NHWC"))
    planes = _planes(x, kernel.shape[0], strides[0], pads[0])
    parts = (_dense(plane, tap, strides[1:], pads[1:]) for plane, tap in zip(planes, kernel, strict=True))
    y = functools.reduce(jnp.add, parts)
    return y.reshape(x.shape[0], -1, *y.shape[1:])


def _dense_to_kernel(x: Array, dy: Array, shape: tuple[int, ...], strides: tuple[int, ...], pads: Pads) -> Array:
    if x.ndim == 5:
        dy = dy.reshape(-1, *dy.shape[2:])
        planes = _planes(x, shape[0], strides[0], pads[0])
        return jnp.stack([_dense_to_kernel(plane, dy, shape[1:], strides[1:], pads[1:]) for plane in planes])
    taps, x = shape[:2], _pad(x, pads)
    n, rows, columns = dy.shape[:3]
    row_bytes = n * columns * math.prod(shape[:-1]) * x.dtype.itemsize
    block = max(
        size for size in range(1, rows + 1) if rows % size == 0 and (size == 1 or size * row_bytes <= BLOCK_BYTES)
    )

    def add_block(total: Array, start: Array) -> tuple[Array, None]:
        above = lax.dynamic_slice_in_dim(x, start * strides[0], (block - 1) * strides[0] + taps[0], 1)
        part = lax.dynamic_slice_in_dim(dy, start, block, 1)
        shifted = jnp.stack(list(_shifted(above[:, :, : (columns - 1) * strides[1] + taps[1]], taps, strides)))
        return total + jnp.einsum("tnhwc,nhwd->tcd", shifted, part), None

    total = jnp.zeros((math.prod(taps), *shape[-2:]), x.dtype)
    return lax.scan(add_block, total, jnp.arange(0, rows, block))[0].reshape(shape)


def _dense_to_input(dy: Array, kernel: Array, space: tuple[int, ...], strides: tuple[int, ...], pads: Pads) -> Array:
    if math.prod(dy.shape[:-1]) > 2 * dy.shape[-1]:
        return _to_input(dy, jnp.swapaxes(kernel, -1, -2), space, strides, pads, _dense)
    # Few positions of many features: to bring such a kernel into another order takes longer than to apply it.
    taps = kernel.shape[:-2]
    parts = (_rows(dy) @ _rows(kernel).T).reshape(*dy.shape[:-1], math.prod(taps), -1)
    dx = jnp.zeros((dy.shape[0], *space, kernel.shape[-2]), dy.dtype)
    for i, tap in enumerate(itertools.product(*map(range, taps))):
        before = [a - low for a, (low, _) in zip(tap, pads, strict=True)]
        spans = [(size - 1) * s + 1 for size, s in zip(dy.shape[1:], strides, strict=False)]
        behind = [size - a - span for size, a, span in zip(space, before, spans, strict=True)]
        edges = [(a, b, s - 1) for a, b, s in zip(before, behind, strides, strict=True)]
        dx = dx + lax.pad(parts[..., i, :], jnp.zeros((), dy.dtype), [(0, 0, 0), *edges, (0, 0, 0)])
    return dx


def _matmul(x: Array, kernel: Array, strides: tuple[int, ...], pads: Pads) -> Array:
    """A convolution whose patches do not overlap."""
    patches = _patches(x, kernel.shape[:-2], strides, pads)
    y = _rows(patches) @ kernel.reshape(-1, kernel.shape[-1])
    return y.reshape(*patches.shape[:-1], -1)


def _matmul_gradients(x: Array, kernel: Array, dy: Array, strides: tuple[int, ...], pads: Pads) -> tuple[Array, Array]:
    patches, back = jax.vjp(lambda x: _patches(x, kernel.shape[:-2], strides, pads), x)
    matrix = kernel.reshape(-1, kernel.shape[-1])
    # As plain matrices, or XLA would copy one of them transposed.
    dmatrix = _rows(patches).T @ _rows(dy)
    dpatches = _rows(dy) @ matrix.T
    return back(dpatches.reshape(patches.shape))[0], dmatrix.reshape(kernel.shape)


def _rows(x: Array) -> Array:
    """[everything else, channels]."""
    return x.reshape(-1, x.shape[-1])


def _patches(x: Array, taps: tuple[int, ...], strides: tuple[int, ...], pads: Pads) -> Array:
    """[N,*space2, taps times channels]: what each position of the result sees, where it shares that with no other."""
    x = _pad(x, pads)
    if math.prod(taps) == 1:
        return x[(slice(None), *(slice(None, None, stride) for stride in strides))]
    counts = [size // tap for size, tap in zip(x.shape[1:], taps, strict=False)]
    x = x[(slice(None), *(slice(count * tap) for count, tap in zip(counts, taps, strict=True)))]
    x = x.reshape(x.shape[0], *itertools.chain(*zip(counts, taps, strict=True)), x.shape[-1])
    order = (0, *range(1, x.ndim - 1, 2), *range(2, x.ndim - 1, 2), x.ndim - 1)
    return x.transpose(order).reshape(x.shape[0], *counts, -1)


def _to_input(
    dy: Array,
    kernel: Array,
    space: tuple[int, ...],
    strides: tuple[int, ...],
    pads: Pads,
    convolve: Callable[[Array, Array, tuple[int, ...], Pads], Array],
) -> Array:
    """The gradient at the input, of this size in space; ``kernel`` has input and output features swapped.

    The input at h was seen by tap i of the result at q where q s + i = h + p, for stride s and p zeros before. So
    where h + p = v s + r, the taps are i = m s + r and the results q = v - m: for each phase r a convolution of dy
    with every s-th tap, flipped.
    """
    rank = len(space)
    first = [low // s for (low, _), s in zip(pads, strides, strict=True)]
    last = [(low + size - 1) // s for (low, _), size, s in zip(pads, space, strides, strict=True)]
    counts = [b - a + 1 for a, b in zip(first, last, strict=True)]
    phases = []
    for phase in itertools.product(*map(range, strides)):
        taps = kernel[tuple(slice(r, None, s) for r, s in zip(phase, strides, strict=True))]
        if math.prod(taps.shape[:rank]) == 0:
            phases.append(jnp.zeros((dy.shape[0], *counts, kernel.shape[-1]), dy.dtype))
            continue
        edges = tuple((m - 1 - a, b - q + 1) for m, a, b, q in zip(taps.shape, first, last, dy.shape[1:], strict=False))
        phases.append(convolve(dy, jnp.flip(taps, range(rank)), (1,) * rank, edges))
    for axis in range(rank, 0, -1):
        s = strides[axis - 1]
        groups = [phases[i : i + s] for i in range(0, len(phases), s)]
        phases = [_interleave(group, axis) for group in groups]
    starts = [low - a * s for (low, _), a, s in zip(pads, first, strides, strict=True)]
    crop = (slice(a, a + size) for a, size in zip(starts, space, strict=True))
    return phases[0][(slice(None), *crop)]


def _interleave(images: list[Array], axis: int) -> Array:
    """Images whose positions along ``axis`` follow each other in turn."""
    shape = list(images[0].shape)
    shape[axis] *= len(images)
    return jnp.stack(images, axis + 1).reshape(shape) if len(images) > 1 else images[0]


def _planes(x: Array, taps: int, stride: int, pad: tuple[int, int]) -> Iterator[Array]:
    """For each tap in depth the planes that it sees, as a batch of images."""
    padded = _pad(x, (pad,))
    for image in _shifted(padded, (taps,), (stride,)):
        yield image.reshape(-1, *image.shape[2:])


def _shifted(x: Array, taps: tuple[int, ...], strides: tuple[int, ...]) -> Iterator[Array]:
    """For each tap of a kernel, in its order, the images that it sees; axes after those of the taps are kept."""
    spans = [(size - t) // s * s + 1 for size, t, s in zip(x.shape[1:], taps, strides, strict=False)]
    for tap in itertools.product(*map(range, taps)):
        windows = (slice(a, a + span, s) for a, span, s in zip(tap, spans, strides, strict=True))
        yield x[(slice(None), *windows)]


def _cut(x: Array, pads: Pads) -> tuple[Array, Pads]:
    """Images without what negative pads take off them, and the zeros that remain to be put around.

    XLA's kernel for a CPU reads beyond the image where a pad is negative before and positive behind (in jaxlib 0.10.2,
    not in 0.12.0). It has to be a slice, as XLA makes a pad of the convolution's own of every other.
    """
    if min(itertools.chain(*pads)) >= 0:
        return x, pads
    kept = (slice(max(-low, 0), size + min(high, 0)) for size, (low, high) in zip(x.shape[1:], pads, strict=False))
    return x[(slice(None), *kept)], tuple((max(low, 0), max(high, 0)) for low, high in pads)


def _pad(x: Array, pads: Pads) -> Array:
    """Zeros around (or, where negative, less of) the axes of space, those not named left alone."""
    edges = [(0, 0), *pads, *[(0, 0)] * (x.ndim - 1 - len(pads))]
    return lax.pad(x, jnp.zeros((), x.dtype), [(low, high, 0) for low, high in edges])
