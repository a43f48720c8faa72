"""Random numbers that belong to a scan: the same for it however the batch is shared, in parts or among devices.

One draw for a whole array would depend on which scans lie in it, and so on the layout. Here each scan has a key of its
own: the layer's, into which the scan's place in the batch is folded.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, Shaped

_PLACES: ContextVar[Any] = ContextVar("places", default=None)


@contextmanager
def scans_at(places: Int[Array, "b"]) -> Iterator[None]:
    """Inside, the scans that a model or an objective is called with have these places.

    Args:
      places: [B], a number a scan: its place in the whole batch of a training step, or its row in the store.
    """
    token = _PLACES.set(places)
    try:
        yield
    finally:
        _PLACES.reset(token)


def draw_by_scan(
    rng: Array, count: int, draw: Callable[[Array, int], Shaped[Array, "each ..."]]
) -> Shaped[Array, "count ..."]:
    """Random numbers for the ``count`` rows of an array, drawn for each scan by itself.

    Outside ``scans_at`` every row counts as a scan.

    Args:
      rng: one key, the same for all scans and in every layout.
      count: rows of the first axis. Each scan has as many of them, and they follow each other: [B,...] or [B*S,...].
      draw: ``draw(key, each)`` gives the numbers of one scan's ``each`` rows.

    Raises:
      ValueError: rows that the scans cannot share evenly.
    """
    places = _PLACES.get()
    places = jnp.arange(count) if places is None else places
    each, rest = divmod(count, len(places))
    if rest:
        raise ValueError(f"{count} rows cannot be shared by {len(places)} scans: put the scans' axis first")
    keys = jax.vmap(jax.random.fold_in, (None, 0))(rng, places)
    drawn = jax.vmap(lambda key: draw(key, each))(keys)
    return drawn.reshape(count, *drawn.shape[2:])
