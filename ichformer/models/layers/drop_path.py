"""Stochastic depth: in training, a sample's branch is left out at random."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


class DropPath(nn.Module):
    """Each sample of the first axis loses the whole branch with probability ``rate`` (Huang et al. 2016, section 3).

    What is kept is divided by ``1 - rate``, so that nothing changes after training. Random numbers come from the
    collection "dropout".

    Attributes:
      rate: at least 0 and under 1; a scalar array where equal blocks of one ``nn.scan`` differ in it.
    """

    rate: float | Array = 0.0

    @nn.compact
    def __call__(self, x: Float[Array, "n *grid"], *, train: bool) -> Float[Array, "n *grid"]:
        """The branch of the same shape."""
        if not train or (isinstance(self.rate, (int, float)) and self.rate == 0):
            return x
        keep: Any = 1.0 - self.rate
        kept = jax.random.bernoulli(self.make_rng("dropout"), keep, x.shape[:1] + (1,) * (x.ndim - 1))
        return jnp.where(kept, x / jnp.asarray(keep, x.dtype), jnp.zeros((), x.dtype))
