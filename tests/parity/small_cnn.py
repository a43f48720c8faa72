"""One small network in Flax and in torch, with the same weights."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ichformer import LABELS
from ichformer.models.contract import CAM_LAYER, Prediction

WIDTH = 6


class SmallCNN(nn.Module):
    """Two convolutions, of which the first gives the grid, and a layer on the mean of the second."""

    @nn.compact
    def __call__(self, x: Array, slice_mask: Array, spacing_mm: Array, train: bool) -> Prediction:
        b, s = x.shape[:2]
        y = nn.relu(nn.Conv(WIDTH, (3, 3), (2, 2), padding=1, name="first")(x.reshape(b * s, *x.shape[2:])))
        grid = self.perturb(CAM_LAYER, y.reshape(b, s, *y.shape[1:]))
        y = nn.relu(nn.Conv(WIDTH, (3, 3), padding=1, name="second")(grid.reshape(b * s, *grid.shape[2:])))
        logits = nn.Dense(len(LABELS), name="head")(y.mean((1, 2))).reshape(b, s, -1)
        return Prediction(slice_logits=logits, scan_logits=logits.max(1), features={CAM_LAYER: grid})


def random_params(rng: np.random.Generator, *, windows: int) -> Any:
    """Of a ``SmallCNN``."""
    given = jnp.zeros((1, 1, 8, 8, windows)), jnp.ones((1, 1), bool), jnp.ones((1, 3))
    shapes = jax.eval_shape(lambda: SmallCNN().init(jax.random.key(0), *given, False))["params"]
    return jax.tree.map(lambda p: jnp.asarray(rng.normal(0.1, 0.5, p.shape), jnp.float32), shapes)


def torch_twin(torch: Any, params: Any) -> Any:
    """The network in torch, from pictures [n, windows, h, w] to logits [n, labels]."""
    windows = params["first"]["kernel"].shape[2]
    network = torch.nn.Sequential(
        torch.nn.Conv2d(windows, WIDTH, 3, 2, 1),
        torch.nn.ReLU(),
        torch.nn.Conv2d(WIDTH, WIDTH, 3, 1, 1),
        torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(WIDTH, len(LABELS)),
    )
    with torch.no_grad():
        for module, name in layers_of(network):
            kernel = np.asarray(params[name]["kernel"])
            kernel = kernel.transpose(3, 2, 0, 1) if kernel.ndim == 4 else kernel.T
            module.weight.copy_(torch.from_numpy(kernel.copy()))
            module.bias.copy_(torch.from_numpy(np.asarray(params[name]["bias"]).copy()))
    return network.eval()


def params_of(network: Any) -> Any:
    """The parameters of a ``torch_twin`` as ``SmallCNN`` has them."""
    params = {}
    for module, name in layers_of(network):
        kernel = module.weight.detach().numpy()
        kernel = kernel.transpose(2, 3, 1, 0) if kernel.ndim == 4 else kernel.T
        params[name] = {"kernel": jnp.array(kernel), "bias": jnp.array(module.bias.detach().numpy())}
    return params


def layers_of(network: Any) -> list[tuple[Any, str]]:
    """The layers that have parameters, each with its name in ``SmallCNN``."""
    return [(network[0], "first"), (network[2], "second"), (network[6], "head")]
