"""A ResNet of visible patches beside one in PyTorch, written as SparK's code is: masks multiply, norms gather."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from ichformer.models.encoders.resnet import IMAGENET_MEAN, IMAGENET_STD, ResNet
from ichformer.models.encoders.visible import encode_visible

pytestmark = pytest.mark.full

STRIDE, SIZE, GRID = 8, 48, 6


class Reference:
    """Of one slice: every layer's output times the mask; group norms over visible places, gathered."""

    def __init__(self, params, visible):
        self.params = jax.tree.map(lambda leaf: torch.tensor(np.asarray(leaf), requires_grad=True), params)
        self.visible = torch.tensor(np.asarray(visible))

    def mask(self, x):
        times = x.shape[-1] // GRID
        return self.visible.repeat_interleave(times, 0).repeat_interleave(times, 1)

    def conv(self, x, of, stride=1):
        kernel = of["kernel"].permute(3, 2, 0, 1)
        y = torch.nn.functional.conv2d(x, kernel, stride=stride, padding=kernel.shape[-1] // 2)
        return y * self.mask(y)

    def norm(self, x, of):
        seen = x[0].permute(1, 2, 0)[self.mask(x)]  # [places, channels]
        groups = seen.reshape(len(seen), -1, 8)
        mean, variance = groups.mean((0, 2), keepdim=True), groups.var((0, 2), unbiased=False, keepdim=True)
        normed = ((groups - mean) / torch.sqrt(variance + 1e-6)).reshape(seen.shape) * of["scale"] + of["bias"]
        y = torch.zeros(x.shape[2], x.shape[3], x.shape[1])
        y[self.mask(x)] = normed
        return y.permute(2, 0, 1)[None]

    def block(self, x, of, stride):
        y = torch.relu(self.norm(self.conv(x, of["conv1"], stride), of["norm1"]))
        y = self.norm(self.conv(y, of["conv2"]), of["norm2"])
        if "shortcut" in of:
            x = self.norm(self.conv(x, of["shortcut"], stride), of["shortcut_norm"])
        return torch.relu(x + y)

    def __call__(self, x):
        x = torch.tensor(np.moveaxis(np.asarray(x), -1, 0))[None]
        x = (x - IMAGENET_MEAN) / IMAGENET_STD * self.mask(x)
        x = torch.relu(self.norm(self.conv(x, self.params["stem"], 2), self.params["stem_norm"]))
        x = torch.nn.functional.max_pool2d(x, 3, 2, 1)
        x = x * self.mask(x)
        finer = self.block(x, self.params["stage0_block0"], 1)
        return self.block(finer, self.params["stage1_block0"], 2), finer


def test_visible_resnet_of_torch():
    encoder = ResNet((1, 1), (16, 32))
    x = jax.random.uniform(jax.random.key(0), (2, SIZE, SIZE, 3))
    visible = jax.random.bernoulli(jax.random.key(1), 0.4, (2, GRID, GRID))
    params = jax.jit(functools.partial(encoder.init, train=False))(jax.random.key(2), x)["params"]
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda leaf: leaf + jnp.float32(0.1 * rng.normal(size=leaf.shape)), params)
    apply = nn.apply(functools.partial(encode_visible, stride=STRIDE, train=True), encoder)
    grids = jax.jit(lambda params: apply({"params": params}, x, visible))
    weights = [
        rng.normal(size=leaf.shape).astype(np.float32) for leaf in jax.tree.leaves(jax.eval_shape(grids, params))
    ]

    def total(params):
        return sum((leaf * weight).sum() for leaf, weight in zip(jax.tree.leaves(grids(params)), weights, strict=True))

    wanted, sums = [], jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), params)
    for i in range(2):
        reference = Reference(params, visible[i])
        theirs = reference(x[i])
        wanted.append([np.moveaxis(each[0].detach().numpy(), 0, -1) for each in theirs])
        of_slice = [torch.tensor(np.moveaxis(weight[i], -1, 0)) for weight in weights]
        sum((each[0] * weight).sum() for each, weight in zip(theirs, of_slice, strict=True)).backward()
        sums = jax.tree.map(lambda sofar, leaf: sofar + leaf.grad.numpy(), sums, reference.params)
    for ours, theirs in zip(jax.tree.leaves(grids(params)), zip(*wanted, strict=True), strict=True):
        np.testing.assert_allclose(ours, np.stack(theirs), rtol=0, atol=1e-5 * np.abs(ours).max())
    jax.tree.map(
        lambda ours, theirs: np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4 * np.abs(theirs).max()),
        jax.jit(jax.grad(total))(params),
        sums,
    )
