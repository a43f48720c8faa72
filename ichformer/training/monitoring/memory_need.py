"""How much memory a step needs, told before the first one."""

import sys
from dataclasses import dataclass
from typing import Any

import jax
from tqdm import tqdm

from ichformer.errors import InputError
from ichformer.models.layers.backends.backend import are_all
from ichformer.pipeline.batch import Batch
from ichformer.process.memory import free_memory
from ichformer.training.config import TrainConfig
from ichformer.training.state import TrainState
from ichformer.training.stepping import Step


@dataclass(frozen=True, kw_only=True)
class MemoryNeed:
    """What a compiled step needs on this host beside its state and its batch, which lie there already.

    Attributes:
      activations: bytes that shrink with the number of scans that are computed at a time.
      results: bytes of results that take no place of an argument.
      free: bytes that are free; None where nobody says.
    """

    activations: int
    results: int
    free: int | None

    @property
    def is_too_much(self) -> bool:
        """Whether it does not fit into what is free."""
        return self.free is not None and self.activations + self.results > self.free

    def parts(self, most: int) -> int | None:
        """In how many parts the scans have to be computed so that it fits: a divisor of ``most``; None if none do."""
        free = 0 if self.free is None else self.free
        fits = (n for n in range(2, most + 1) if most % n == 0 and self.activations / n + self.results <= free)
        return next(fits, None)


def with_memory_told(step: Step, config: TrainConfig, *, scans_at_once: int, whole: bool, progress: bool) -> Step:
    """``step``, whose first call says what memory it needs, as XLA planned it.

    The program is compiled once: JAX keeps it for the call. Under "pmap" nothing is said.

    Args:
      step: compiled when it is called.
      config: of the training.
      scans_at_once: scans that a device computes at a time.
      whole: whether the objective compares all scans of a batch, so that it cannot be computed in parts.
      progress: say it also where it fits.

    Returns:
      A function of the same arguments. It raises InputError where an accelerator has less memory than the step needs.
      On a CPU the system may still make room, so there it only warns.
    """
    if not hasattr(step, "lower"):
        return step
    is_told = False

    def told(state: TrainState, batch: Batch, rng: jax.Array) -> tuple[TrainState, dict[str, jax.Array]]:
        nonlocal is_told
        if not is_told:
            is_told = True
            if (need := memory_need(step.lower(state, batch, rng).compile())) is not None:
                _tell(need, config, None if whole else need.parts(scans_at_once), progress=progress)
        return step(state, batch, rng)

    return told


def memory_need(compiled: Any) -> MemoryNeed | None:
    """What a ``jax.stages.Compiled`` needs on all devices of this host; None where the backend does not say.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> need = memory_need(jax.jit(lambda x: x + 1).lower(jnp.zeros(1000)).compile())
      >>> need.results >= 4000  # so many for each device that shares the memory
      True
    """
    planned, devices = compiled.memory_analysis(), jax.local_devices()
    if planned is None:
        return None
    activations, results = planned.temp_size_in_bytes, planned.output_size_in_bytes - planned.alias_size_in_bytes
    if are_all("cpu", devices):  # they share the memory of the machine
        return MemoryNeed(activations=activations * len(devices), results=results * len(devices), free=free_memory())
    stats = [device.memory_stats() or {} for device in devices]
    if not all({"bytes_limit", "bytes_in_use"} <= each.keys() for each in stats):
        return MemoryNeed(activations=activations, results=results, free=None)
    free = min(each["bytes_limit"] - each["bytes_in_use"] for each in stats)
    return MemoryNeed(activations=activations, results=results, free=free)


def _tell(need: MemoryNeed, config: TrainConfig, parts: int | None, *, progress: bool) -> None:
    needed = f"{(need.activations + need.results) / 1e9:.2f} GB"
    if not need.is_too_much:
        if progress and jax.process_index() == 0:
            free = "" if need.free is None else f", and {need.free / 1e9:.2f} GB are free"
            tqdm.write(f"memory: a step needs {needed} beside what is in use{free}", file=sys.stderr)
        return
    assert need.free is not None
    what = f"a step needs {needed} of memory beside what is in use, and {need.free / 1e9:.2f} GB are free"
    fix = "give --model.remat full, or fewer --data.num-slices"
    if parts is not None:
        fix = f"give --parallel.accumulate {config.parallel.accumulate * parts}"
    if not are_all("cpu", jax.local_devices()):
        raise InputError(what, where="memory of the device", fix=fix)
    if jax.process_index() == 0:
        tqdm.write(f"warning: {what}; the system may end the training. Otherwise {fix}", file=sys.stderr)
