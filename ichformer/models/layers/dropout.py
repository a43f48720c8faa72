"""Dropout of features and stochastic depth; what a scan loses does not depend on how its batch is shared."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ichformer.models.layers.draws import draw_by_scan


class Dropout(nn.Module):
    """In training, each number is zero with probability ``rate``, at least 0 and under 1 (Srivastava et al. 2014).

    What is kept is divided by ``1 - rate``. Random numbers come from the collection "dropout", scan by scan
    (``draws.draw_by_scan``); with ``nn.Dropout`` they would depend on the layout of the devices.
    """

    rate: float = 0.0

    @nn.compact
    def __call__(self, x: Float[Array, "n *grid"], *, train: bool) -> Float[Array, "n *grid"]:
        """Features of the same shape; the first axis is that of the scans, or of their slices."""
        if not train or not self.rate:
            return x
        return _kept(x, 1.0 - self.rate, self.make_rng("dropout"), x.shape[1:])


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
    return _kept(x, 1.0 - rate, rng, (1,) * (x.ndim - 1))


def _kept(x: Array, keep: float | Array, rng: Array, shape: tuple[int, ...]) -> Array:
    """``x / keep`` with probability ``keep``, else 0; one draw for each row and entry of ``shape``."""
    keep = jnp.asarray(keep)
    mask = draw_by_scan(rng, len(x), lambda key, each: jax.random.bernoulli(key, keep, (each, *shape)))
    return jnp.where(mask, x / keep.astype(x.dtype), jnp.zeros((), x.dtype))
