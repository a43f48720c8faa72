"""How a step is compiled and where its arrays lie: the only file that knows of meshes and jit."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from ichformer.errors import InputError
from ichformer.pipeline.batch import Batch


def make_mesh() -> Mesh:
    """All devices along "data": each holds the parameters and a share of the batch."""
    return jax.make_mesh((jax.device_count(),), ("data",), axis_types=(AxisType.Auto,))


def check_batch_size(batch_size: int, mesh: Mesh) -> None:
    """InputError where the batch cannot be shared evenly."""
    devices = mesh.shape["data"]
    if batch_size % devices:
        raise InputError(
            f"{batch_size} scans cannot be shared by {devices} devices",
            where="--data.batch-size",
            mend=f"take a multiple of {devices}",
        )


def shard_batch(batch: Batch, mesh: Mesh) -> Batch:
    """This host's part of a batch onto its devices, as one global array each."""
    sharding = NamedSharding(mesh, PartitionSpec("data"))
    return jax.tree.map(lambda x: jax.make_array_from_process_local_data(sharding, np.asarray(x)), batch)


def replicate(tree: Any, mesh: Mesh) -> Any:
    """The same arrays on every device."""
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec()))


def compile_step(step: Callable[..., Any], mesh: Mesh) -> Callable[..., Any]:
    """``step(state, batch, rng) -> (state, metrics)``, jitted over the mesh; the old state's memory is given up."""
    everywhere = NamedSharding(mesh, PartitionSpec())
    return jax.jit(
        step,
        in_shardings=(everywhere, NamedSharding(mesh, PartitionSpec("data")), everywhere),
        out_shardings=everywhere,
        donate_argnums=0,
    )
