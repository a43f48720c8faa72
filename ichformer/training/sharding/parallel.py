"""Compiles the step and places its arrays. Only this file knows meshes, jit and pmap."""

import functools
import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Int32

from ichformer.errors import InputError
from ichformer.models.layers.backends.backend import are_all
from ichformer.pipeline.batch import Batch
from ichformer.training.config import ParallelConfig
from ichformer.training.sharding.layout import partitions
from ichformer.training.state import TrainState

BATCH_AXES = ("data", "fsdp")
"""The axes of the mesh that share the scans of a batch; along "tensor" all devices see the same scans."""


def make_mesh(config: ParallelConfig | None = None) -> Mesh:
    """The devices as a mesh (data, fsdp, tensor); by default all along "data".

    Where the config asks for fewer devices than one host has, the first ones are taken.

    Raises:
      InputError: more devices than there are, devices that are left over on several hosts, or a combination that does
        not go together.
    """
    config = ParallelConfig() if config is None else config
    shared = {"fsdp": config.fsdp, "tensor": config.tensor, "accumulate": config.accumulate}
    for name, value in shared.items() | ({("data", config.data)} if config.data is not None else set()):
        if value < 1:
            raise InputError(f"found {value}", where=f"--parallel.{name}", fix="give 1 or more")
    if config.mode == "pmap":
        if config.fsdp * config.tensor > 1:
            raise InputError(
                "keeps the parameters whole on every device",
                where="--parallel.mode pmap",
                fix="leave out --parallel.fsdp and --parallel.tensor, or take --parallel.mode jit",
            )
        if jax.process_count() > 1:
            raise InputError(
                f"drives the devices of one host, here are {jax.process_count()}",
                where="--parallel.mode pmap",
                fix="take --parallel.mode jit",
            )
    devices = jax.devices()
    rest = config.fsdp * config.tensor
    data = max(len(devices) // rest, 1) if config.data is None else config.data
    wanted = data * rest
    if wanted > len(devices) or (wanted < len(devices) and (config.data is None or jax.process_count() > 1)):
        raise InputError(
            f"data {data} x fsdp {config.fsdp} x tensor {config.tensor} are {wanted} devices, there are {len(devices)}",
            where="--parallel",
            fix=f"choose numbers whose product is {len(devices)}",
        )
    if jax.local_device_count() % config.tensor:
        raise InputError(
            f"the {jax.local_device_count()} devices of a host cannot be shared by groups of {config.tensor}",
            where="--parallel.tensor",
            fix="choose a divisor: such a group exchanges far too much to reach over hosts",
        )
    return jax.make_mesh(
        (data, config.fsdp, config.tensor),
        ("data", "fsdp", "tensor"),
        axis_types=(AxisType.Auto,) * 3,
        devices=devices[:wanted],
    )


def check_batch_size(batch_size: int, mesh: Mesh, *, accumulate: int = 1) -> None:
    """InputError where the parts of the batch cannot be shared evenly."""
    devices = _shares(mesh)
    if batch_size % (devices * accumulate):
        parts = f" in {accumulate} parts" if accumulate > 1 else ""
        raise InputError(
            f"{batch_size} scans{parts} cannot be shared by {devices} devices",
            where="--data.batch-size",
            fix=f"take a multiple of {devices * accumulate}",
        )


def scans_at_once(batch_size: int, mesh: Mesh, *, accumulate: int = 1) -> int:
    """How many scans of a batch each device computes at a time."""
    return batch_size // (_shares(mesh) * accumulate)


def shard_batch(batch: Batch, mesh: Mesh) -> Batch:
    """This host's part of a batch onto its devices, as one global array each."""
    sharding = NamedSharding(mesh, PartitionSpec(BATCH_AXES))
    # All arrays in one call: one by one they are most of what the loop costs the host.
    return jax.make_array_from_process_local_data(sharding, jax.tree.map(np.asarray, batch))


def replicate(tree: Any, mesh: Mesh) -> Any:
    """The same arrays on every device."""
    return jax.device_put(tree, everywhere(mesh))


def everywhere(mesh: Mesh) -> NamedSharding:
    """The whole array on every device."""
    return NamedSharding(mesh, PartitionSpec())


def state_shardings(state: TrainState, mesh: Mesh) -> TrainState:
    """Where each array of a state, given as arrays or as their shapes, lies (``training.layout``)."""
    specs = partitions(state, fsdp=mesh.shape["fsdp"], tensor=mesh.shape["tensor"])
    return jax.tree.map(lambda spec: NamedSharding(mesh, spec), specs)


def create_sharded(init: Callable[[], TrainState], mesh: Mesh) -> TrainState:
    """``init()``, made where it will lie: no device ever holds more of it than its part."""
    shardings = state_shardings(jax.eval_shape(init), mesh)
    # It runs once, and LLVM takes longer over all its random numbers than over a whole training step: a fourth of the
    # time, and the same numbers to the bit, with less of LLVM's help.
    options = {"xla_backend_optimization_level": 1} if are_all("cpu", mesh.devices.flat) else None
    return jax.jit(init, out_shardings=shardings, compiler_options=options)()


def place(state: TrainState, mesh: Mesh) -> TrainState:
    """A state of which some arrays came from elsewhere, the same ones on every host, to where it will lie."""

    def put(x: jax.Array, sharding: NamedSharding) -> jax.Array:
        if x.sharding == sharding:
            return x
        values = np.asarray(x)
        return jax.make_array_from_callback(values.shape, sharding, lambda index: values[index])

    return jax.tree.map(put, state, state_shardings(state, mesh))


def compile_step(
    step: Callable[..., tuple[TrainState, Any]], state: TrainState, mesh: Mesh, *, mode: str = "jit"
) -> Callable[[TrainState, Batch, jax.Array], tuple[TrainState, Any]]:
    """``step(state, batch, rng) -> (state, metrics)`` over the mesh; the old state's memory is given up.

    Args:
      step: pure; it is also given ``places``, where in the whole batch each of its scans stands. Under "pmap" it gets
        one device's scans and ``axis_name``, over which it has to sum.
      state: arrays or shapes; only their layout is read.
      mesh: where to run.
      mode: "jit" or "pmap"; the arguments of what comes back are the same for both.
    """
    if mode == "pmap":
        return _compile_pmap(step, mesh)
    shardings = state_shardings(state, mesh)

    def placed(state: TrainState, batch: Batch, rng: jax.Array) -> tuple[TrainState, Any]:
        return step(state, batch, rng, places=jnp.asarray(_places(mesh, len(batch.weight))))

    return jax.jit(
        _with_batch_kept_apart(placed, mesh),
        in_shardings=(shardings, NamedSharding(mesh, PartitionSpec(BATCH_AXES)), everywhere(mesh)),
        out_shardings=(shardings, everywhere(mesh)),
        donate_argnums=0,
    )


def _with_batch_kept_apart(step: Callable[..., Any], mesh: Mesh) -> Callable[..., Any]:
    """``step`` in which what every module returns stays shared along its first axis, the scans or their slices.

    Without it XLA may choose to gather the activations of all scans on every device rather than the parameters of a
    layer. The other axes are left to XLA, for the tensor axis.
    """
    if _shares(mesh) == 1:
        return step

    def keep(x: Any) -> Any:
        if not isinstance(x, jax.Array) or x.ndim < 2 or x.shape[0] % _shares(mesh):
            return x
        spec = PartitionSpec(BATCH_AXES, *(PartitionSpec.UNCONSTRAINED,) * (x.ndim - 1))
        return jax.lax.with_sharding_constraint(x, NamedSharding(mesh, spec))

    def keep_all(call: Callable[..., Any], args: Any, kwargs: Any, _: Any) -> Any:
        return jax.tree.map(keep, call(*args, **kwargs))

    @functools.wraps(step)
    def wrapped(*args: Any) -> Any:
        with nn.intercept_methods(keep_all):
            return step(*args)

    return wrapped


def _compile_pmap(
    step: Callable[..., tuple[TrainState, Any]], mesh: Mesh
) -> Callable[[TrainState, Batch, jax.Array], tuple[TrainState, Any]]:
    """The state goes in and comes out whole, without the axis of devices that pmap's users know from elsewhere."""

    def of_device(state: TrainState, batch: Batch, rng: jax.Array) -> tuple[TrainState, Any]:
        count = len(batch.weight)
        places = jax.lax.axis_index("data") * count + jnp.arange(count)
        return step(state, batch, rng, places=places, axis_name="data")

    mapped = jax.pmap(
        of_device,
        axis_name="data",
        in_axes=(None, 0, None),
        out_axes=None,
        devices=list(mesh.devices.flat),
        donate_argnums=0,
    )

    @jax.jit
    def split(batch: Batch) -> Batch:
        return jax.tree.map(lambda x: x.reshape(mesh.size, -1, *x.shape[1:]), batch)

    return lambda state, batch, rng: mapped(state, split(batch), rng)


def _places(mesh: Mesh, count: int) -> np.ndarray:
    """``places_of`` the ``count`` scans of a batch that ``shard_batch`` laid out."""
    held_by = np.zeros(count, np.int32)
    held: dict[Any, Any] = dict(NamedSharding(mesh, PartitionSpec(BATCH_AXES)).devices_indices_map((count,)))
    for device, (scans,) in held.items():
        held_by[scans] = device.process_index
    return places_of(held_by)


def places_of(held_by: Int32[np.ndarray, "b"]) -> Int32[np.ndarray, "b"]:
    """The place of each scan in the batch that one host alone would read.

    Hosts take turns in it (``pipeline.loader.training_batches``), while in the array a host's scans lie together.

    Args:
      held_by: the number of the host that holds each scan of the array.
    """
    hosts = len(np.unique(held_by))
    places = np.empty_like(held_by)
    for host in range(hosts):
        own = np.flatnonzero(held_by == host)
        places[own] = host + hosts * np.arange(len(own))
    return places


def _shares(mesh: Mesh) -> int:
    return math.prod(mesh.shape[axis] for axis in BATCH_AXES)
