"""An encoder: one convolution over squares of 8 x 8 pixels."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

import ichformer as ich


@ich.register_encoder("example_squares")
class Squares(nn.Module):
    """Slices to a grid of features, for the models hybrid, cnn2d and cnn_gru.

    Attributes:
      dtype: of the computation; the run's settings are passed on.
    """

    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x, *, train):
        """Windowed slices [N,H,W,C] in [0, 1] to features [N,H/8,W/8,32]: the contract of every encoder."""
        del train
        return nn.gelu(nn.Conv(32, (8, 8), (8, 8), dtype=self.dtype)(x))
