"""Convolutions with the weights and symmetric pads of torch's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from ichformer.models.layers.convolution import convolve

pytestmark = pytest.mark.full


@pytest.mark.parametrize(
    ("channels", "features", "taps", "stride", "groups", "rank"),
    [(6, 8, 3, 1, 1, 2), (3, 8, 7, 2, 1, 2), (6, 8, 1, 2, 1, 2), (8, 8, 5, 2, 8, 2), (4, 6, 3, 2, 1, 3)],
)
def test_convolution_of_torch(channels, features, taps, stride, groups, rank):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, *(9, 8, 6)[:rank], channels)).astype(np.float32)
    kernel = rng.normal(size=(*(taps,) * rank, channels // groups, features)).astype(np.float32)
    images = torch.tensor(np.moveaxis(x, -1, 1), requires_grad=True)
    weight = torch.tensor(kernel.transpose(rank + 1, rank, *range(rank)), requires_grad=True)
    run = torch.nn.functional.conv2d if rank == 2 else torch.nn.functional.conv3d
    theirs = run(images, weight, stride=stride, padding=taps // 2, groups=groups)
    dy = rng.normal(size=theirs.shape).astype(np.float32)
    theirs.backward(torch.tensor(dy))

    @jax.jit
    def ours(x, kernel, dy):
        pads = ((taps // 2, taps // 2),) * rank
        y, back = jax.vjp(
            lambda x, kernel: convolve(x, kernel, strides=(stride,) * rank, padding=pads, groups=groups), x, kernel
        )
        return y, *back(dy)

    y, dx, dkernel = ours(x, kernel, jnp.asarray(np.moveaxis(dy, 1, -1)))
    for found, wanted in (
        (y, np.moveaxis(theirs.detach().numpy(), 1, -1)),
        (dx, np.moveaxis(images.grad.numpy(), 1, -1)),
        (dkernel, weight.grad.numpy().transpose(*range(2, rank + 2), 1, 0)),
    ):
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())
