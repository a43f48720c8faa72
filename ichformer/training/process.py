"""What the command line sets for its own process. A library leaves the process of its caller as it is."""

import logging
import os
import sys
from collections.abc import Callable

import jax

from ichformer.errors import InputError
from ichformer.models.layers.backends.backend import is_expected
from ichformer.process.memory import keep_freed_memory
from ichformer.training.config import ParallelConfig
from ichformer.training.sharding.hosts import join_hosts


def own_process(parallel: ParallelConfig | None = None) -> None:
    """Makes the steps on a CPU faster and error messages shorter, for the rest of the process.

    Call it before JAX's first computation, and only from a program that owns its process.

    Args:
      parallel: of a training that several processes share: they have to meet first. None for a single process.

    Raises:
      InputError: see ``hosts.join_hosts``; or Linux shows no ``/proc``, without which XLA computes nothing on a CPU.
    """
    if sys.platform == "linux" and not os.path.exists("/proc/cpuinfo"):
        raise InputError("is not mounted, but XLA needs it", where="/proc", fix="mount -t proc proc /proc")
    if parallel is not None:
        join_hosts(parallel)
    keep_memory_of_steps()
    logging.getLogger("absl").addFilter(_is_no_traceback_of_orbax)
    sys.unraisablehook = _without_late_writes(sys.unraisablehook)


def keep_memory_of_steps() -> None:
    """``keep_freed_memory`` where XLA computes on a CPU; of effect before JAX's first computation alone.

    XLA asks for the memory of a step anew each time. JAX computes in the main thread then, whose memory is kept, and
    not in a thread of its own: a call of a compiled function returns when it is done. Other devices are left as they
    are.
    """
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    if is_expected("cpu"):
        keep_freed_memory()


def _is_no_traceback_of_orbax(record: logging.LogRecord) -> bool:
    """Orbax logs with its traceback what goes wrong in its threads, and raises it as well."""
    return not (record.exc_info and "orbax" in record.pathname)


def _without_late_writes(
    print_error: Callable[["sys.UnraisableHookArgs"], object],
) -> Callable[["sys.UnraisableHookArgs"], None]:
    """``print_error``, but for writes of TensorStore that end after Orbax gave the checkpoint up.

    Where one part of a checkpoint cannot be written, Orbax raises that and closes the event loop of all parts. The
    threads of TensorStore that still write then print that the loop is closed, after the last line of the command.
    """

    def hook(said: "sys.UnraisableHookArgs") -> None:
        is_of_a_thread_in_c = said.object is None
        if not is_of_a_thread_in_c or str(said.exc_value) != "Event loop is closed":
            print_error(said)

    return hook
