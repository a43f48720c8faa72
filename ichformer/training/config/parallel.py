"""The settings of how devices share the work."""

from dataclasses import dataclass
from typing import Literal

from ichformer.settings import check_ranges, check_settings

_MOST_PROCESSES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class ParallelConfig:
    """Which devices share the work, and how. A run may be resumed with other values: its batches stay the same.

    The mesh has the axes (data, fsdp, tensor); see ``training.parallel``.

    Attributes:
      mode: How a step runs on several devices: "jit" divides batches and parameters over a mesh; "pmap" keeps all
        parameters on every device of one host. Both give the same result up to rounding.
      data: Number of parts of a batch that are computed at the same time, each on fsdp x tensor devices. By default as
        many as there are devices for.
      fsdp: Number of devices that share a batch and each hold a part of every large parameter and of its optimiser
        state. Raise it where a model does not fit into the memory of one device.
      tensor: Number of devices that share the attention heads and the hidden features of each block. Raise it for the
        largest models only.
      accumulate: Number of parts of a batch that are computed one after the other. Memory shrinks by that factor, and
        the result stays the same up to rounding, also with dropout and masking. Raise it where a batch does not fit.
      coordinator: HOST:PORT of the first host of several. It is only needed where no launcher (Slurm, a GKE job, a TPU
        VM) gives it.
      num_processes: With --parallel.coordinator, the number of processes.
      process_id: With --parallel.coordinator, the number of this process, from 0.
    """

    mode: Literal["jit", "pmap"] = "jit"
    data: int | None = None
    fsdp: int = 1
    tensor: int = 1
    accumulate: int = 1
    coordinator: str | None = None
    num_processes: int | None = None
    process_id: int | None = None

    def __post_init__(self) -> None:
        """InputError for a value that is not of its type or outside its range."""
        check_settings(self, "--parallel.")
        least = {"data": 1, "fsdp": 1, "tensor": 1, "accumulate": 1, "num_processes": 1, "process_id": 0}
        values = {name: getattr(self, name) for name in least}
        check_ranges(
            "--parallel.",
            *(
                (
                    name,
                    value,
                    value is None or least[name] <= value <= _MOST_PROCESSES,
                    f"at least {least[name]} and at most {_MOST_PROCESSES}",
                )
                for name, value in values.items()
            ),
        )
