"""Checkpoints through Orbax v1: the only file that imports it, since its names still change."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
from orbax.checkpoint import v1 as ocp

from ichformer.training.state import TrainState


class Checkpoints:
    """The checkpoints of one run: saved in the background, only the newest kept.

    The position in the data is the number of steps: batch k follows from the seed and k alone.
    """

    def __init__(self, folder: Path, *, every: int, keep: int):
        policies = ocp.training.save_decision_policies
        self._checkpointer = ocp.training.Checkpointer(
            folder.absolute(),
            save_decision_policy=policies.FixedIntervalPolicy(every),
            preservation_policy=ocp.training.preservation_policies.LatestN(keep),
            cleanup_tmp_directories=True,
        )

    @property
    def latest_step(self) -> int | None:
        """Steps done in the newest checkpoint, None where there is none."""
        latest = self._checkpointer.latest
        return None if latest is None else latest.step

    @property
    def steps(self) -> tuple[int, ...]:
        """Steps done in each checkpoint that is there, the oldest first."""
        return tuple(found.step for found in self._checkpointer.checkpoints)

    def save(self, step: int, state: TrainState, *, force: bool = False) -> None:
        """Saves after ``step`` steps if that is due, or in any case with ``force``."""
        if force and self.latest_step == step:
            return
        self._checkpointer.save_checkpointables_async(step, {"state": state}, force=force)

    def restore(self, state: TrainState) -> TrainState:
        """The newest state, in the shapes and on the devices of ``state``, whatever devices it was saved from."""
        return self._checkpointer.load_checkpointables(None, {"state": jax.tree.map(_abstract, state)})["state"]

    def restore_params(self, shapes: TrainState, *, step: int | None = None) -> TrainState:
        """Parameters and averages alone, the newest or those of ``step``; the optimiser's state stays on disk."""
        wanted = jax.tree.map(_abstract, shapes)
        wanted = dataclasses.replace(wanted, opt_state=jax.tree.map(lambda _: ocp.PLACEHOLDER, wanted.opt_state))
        return self._checkpointer.load_checkpointables(step, {"state": wanted})["state"]

    def close(self) -> None:
        """Waits for what is being written."""
        self._checkpointer.close()


def _abstract(x: Any) -> jax.ShapeDtypeStruct:
    here = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=getattr(x, "sharding", None) or here)
