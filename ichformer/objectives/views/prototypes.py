"""What distillation without labels is made of: prototypes, a teacher's targets, and the spread of features."""

from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ichformer.models.layers.attention.self_attention import DENSE_INIT
from ichformer.models.layers.dense import Dense

Centring = Literal["mean", "sinkhorn"]

SINKHORN_ROUNDS = 3


class Prototypes(nn.Module):
    """Three dense layers, then the cosine to each of ``count`` prototypes (Caron et al. 2021, section 3.1).

    Attributes:
      count: of the prototypes.
      bottleneck: features of a prototype.
    """

    count: int
    bottleneck: int = 256

    @nn.compact
    def __call__(self, x: Float[Array, "*n d"]) -> Float[Array, "*n count"]:
        """Features to cosines, in float32."""
        x = x.astype(jnp.float32)
        for name in ("hidden0", "hidden1"):
            x = nn.gelu(
                Dense(4 * x.shape[-1] if name == "hidden0" else x.shape[-1], kernel_init=DENSE_INIT, name=name)(x)
            )
        x = unit(Dense(self.bottleneck, kernel_init=DENSE_INIT, name="bottleneck")(x))
        prototypes = self.param("prototypes", nn.initializers.normal(1.0), (self.count, self.bottleneck))
        return x @ unit(prototypes).T


def unit(vectors: Float[Array, "*n d"]) -> Float[Array, "*n d"]:
    """The vectors at length 1."""
    return vectors * jax.lax.rsqrt(jnp.maximum(jnp.square(vectors).sum(-1, keepdims=True), 1e-12))


def targets_of(
    logits: Float[Array, "n k"],
    centre: Float[Array, "k"],
    counts: Bool[Array, "n"],
    *,
    temperature: float,
    centring: Centring,
) -> Float[Array, "n k"]:
    """The teacher's distribution over prototypes for each row; no gradient reaches it.

    "mean" takes the running mean of the teacher's logits off (Caron et al. 2021, section 3.1). "sinkhorn" gives all
    prototypes an equal share of the rows (Caron et al. 2020, SwAV, section 3.1, in three rounds) and has no centre.

    Args:
      logits: of the teacher.
      centre: their running mean.
      counts: rows that are there.
      temperature: of the softmax.
      centring: see above.
    """
    logits = jax.lax.stop_gradient(logits.astype(jnp.float32))
    if centring == "mean":
        return jax.nn.softmax((logits - centre[None]) / temperature, axis=-1)
    shares = jnp.exp((logits - logits.max()) / temperature) * counts[:, None]
    for _ in range(SINKHORN_ROUNDS):
        shares = shares / jnp.maximum(shares.sum(0, keepdims=True), 1e-12)
        shares = shares / jnp.maximum(shares.sum(1, keepdims=True), 1e-12)
    return shares


def cross_entropy(
    targets: Float[Array, "*n k"], logits: Float[Array, "*n k"], *, temperature: float
) -> Float[Array, "*n"]:
    """Of the student's softmax at ``temperature``, beside the teacher's distribution."""
    return -(targets * jax.nn.log_softmax(logits.astype(jnp.float32) / temperature, axis=-1)).sum(-1)


def spread_loss(vectors: Float[Array, "b d"], counts: Bool[Array, "b"]) -> Float[Array, "b"]:
    """Minus the logarithm of the distance to the nearest other vector (KoLeo: Sablayrolles et al. 2019, section 3.1).

    It is least where unit vectors are spread evenly. Without another vector it is 0.

    Args:
      vectors: a feature vector for each scan.
      counts: scans that are there; others are nobody's neighbours.
    """
    vectors = unit(vectors.astype(jnp.float32))
    others = counts[None] & ~jnp.eye(len(vectors), dtype=bool)
    similar = jnp.matmul(vectors, vectors.T, precision="highest")
    nearest = jnp.where(others, jax.lax.stop_gradient(similar), -2.0).argmax(1)
    distance = jnp.sqrt(jnp.square(vectors - vectors[nearest] + 1e-8).sum(-1))
    return jnp.where(counts & others.any(1), -jnp.log(distance + 1e-8), 0.0)
