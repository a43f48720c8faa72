"""Stochastic depth: in training, a sample's branch is left out at random."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


class DropPath(nn.Module):
    """``drop_path`` at a rate of at least 0 and under 1; random numbers come from the collection "dropout"."""

    rate: float = 0.0

    @nn.compact
    def __call__(self, x: Float[Array, "n *grid"], *, train: bool) -> Float[Array, "n *grid"]:
        """The branch of the same shape; the branch itself after training."""
        return drop_path(x, self.rate, self.make_rng("dropout")) if train and self.rate else x


def drop_path(x: Float[Array, "n *grid"], rate: float | Float[Array, ""], rng: Array) -> Float[Array, "n *grid"]:
    """Each sample of the first axis loses the whole branch with probability ``rate`` (Huang et al. 2016, section 3).

    What is kept is divided by ``1 - rate``, so that nothing changes after training.
    """
    keep = jnp.asarray(1.0 - rate)
    kept = jax.random.bernoulli(rng, keep, x.shape[:1] + (1,) * (x.ndim - 1))
    return jnp.where(kept, x / keep.astype(x.dtype), jnp.zeros((), x.dtype))
