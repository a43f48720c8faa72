"""A model over the scans of a store, batch by batch on all devices, and how tables name the scans."""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from ichformer.pipeline.batch import Batch
from ichformer.pipeline.loader import evaluation_batches
from ichformer.pipeline.store.records import Store
from ichformer.training.sharding.parallel import make_mesh, replicate, shard_batch


def over_store(
    compute: Callable[[Any, Batch], Any], params: Any, store: Store, rows: np.ndarray, *, batch_size: int = 8
) -> Iterator[tuple[Batch, Any]]:
    """Each batch of scans, and what ``compute(params, batch)`` gives of it as NumPy arrays.

    Scans of like length come together, so the order is not that of ``rows``; scans of weight 0 fill up the last batch.

    Args:
      compute: a jitted function.
      params: its first argument, which every device holds.
      store: prepared scans.
      rows: which of them.
      batch_size: scans at once, rounded up to a multiple of the devices.
    """
    mesh = make_mesh()
    params = replicate(params, mesh)
    for batch in evaluation_batches(store, rows=rows, batch_size=-(-batch_size // mesh.size) * mesh.size):
        yield batch, jax.device_get(compute(params, shard_batch(batch, mesh)))


def scan_ids(store: Store, row: int) -> dict[str, str]:
    """How tables name a scan of a store. A patient has the origin in its name, as sets may share names."""
    entry = store.index.iloc[row]
    named = {name: str(entry[name]) for name in ("study", "series", "site", "split")}
    return {"patient": f"{entry['origin']}/{entry['patient']}", **named}
