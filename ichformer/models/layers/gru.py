"""Gated recurrent units that skip masked slices."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ichformer.models.layers.backends.backend import as_on_cpu
from ichformer.models.layers.dense import Dense
from ichformer.models.layers.dropout import Dropout


class Gru(nn.Module):
    """One direction of a GRU (Cho et al. 2014) as torch and cuDNN compute it, the reset gate behind the product.

    ``n = tanh(W x + b + r (U h + c))``; of the two biases that torch adds at the other gates one is enough.

    Attributes:
      hidden: features of the state.
      reverse: from the last step to the first.
      dtype: of the products with the input; the state is float32.
    """

    hidden: int
    reverse: bool = False
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b s d"], mask: Bool[Array, "b s"]) -> Float[Array, "b s hidden"]:
        """The state behind every step; a masked step leaves it as it was, wherever it stands."""
        # All steps' inputs in one product; only the state's has to wait for its turn.
        inputs = Dense(3 * self.hidden, dtype=self.dtype, name="input")(x).astype(jnp.float32)
        kernel = self.param("state", nn.initializers.orthogonal(), (self.hidden, 3 * self.hidden))
        bias = self.param("state_bias", nn.initializers.zeros_init(), (self.hidden,))

        def step(state: Array, now: tuple[Array, Array]) -> tuple[Array, Array]:
            given, real = now
            r_in, z_in, n_in = jnp.split(given, 3, axis=-1)
            r_state, z_state, n_state = jnp.split(state @ kernel, 3, axis=-1)
            r, z = nn.sigmoid(r_in + r_state), nn.sigmoid(z_in + z_state)
            n = jnp.tanh(n_in + r * (n_state + bias[None]))
            state = jnp.where(real[:, None], (1 - z) * n + z * state, state)
            return state, state

        start = jnp.zeros((x.shape[0], self.hidden))
        steps = (inputs.swapaxes(0, 1), mask.swapaxes(0, 1))
        if as_on_cpu.value:  # what takes the way of a CPU, ONNX, gets no loop
            states = _written_out(step, start, steps, reverse=self.reverse)
        else:
            _, states = jax.lax.scan(step, start, steps, reverse=self.reverse)
        return states.swapaxes(0, 1).astype(self.dtype)


def _written_out(
    step: Callable[..., tuple[Array, Array]], state: Array, steps: tuple[Array, ...], *, reverse: bool
) -> Array:
    """What ``jax.lax.scan`` collects, each step by itself."""
    numbers = range(len(steps[0]))
    states: dict[int, Array] = {}
    for number in reversed(numbers) if reverse else numbers:
        state, states[number] = step(state, tuple(each[number] for each in steps))
    return jnp.concatenate([states[number][None] for number in numbers])


class BidirectionalGru(nn.Module):
    """Layers of two opposite GRUs each, side by side, as ``torch.nn.GRU(..., bidirectional=True)``.

    Attributes:
      hidden: features of a direction.
      layers: how many; dropout stands between them.
      dropout: on what a layer hands to the next.
      dtype: of the products with the input.
    """

    hidden: int
    layers: int = 2
    dropout: float = 0.0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "b s d"], mask: Bool[Array, "b s"], *, train: bool
    ) -> Float[Array, "b s hidden2"]:
        """[B,S,D] to [B,S,2 hidden]; masked steps, also in front, change nothing at the others."""
        for i in range(self.layers):
            if i > 0:
                x = Dropout(self.dropout)(x, train=train)
            forward = Gru(self.hidden, False, self.dtype, name=f"forward{i}")(x, mask)
            backward = Gru(self.hidden, True, self.dtype, name=f"backward{i}")(x, mask)
            x = jnp.concatenate([forward, backward], axis=-1)
        return x
