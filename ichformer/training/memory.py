"""Keeps the memory of a training step on a CPU for the next step."""

import jax

from ichformer.models.layers.backends.backend import is_expected
from ichformer.process.memory import keep_freed_memory


def keep_memory_of_steps() -> None:
    """``keep_freed_memory`` where XLA computes on a CPU; of effect before JAX's first computation alone.

    XLA asks for the memory of a step anew each time. JAX computes in the main thread then, whose memory is kept, and
    not in a thread of its own: a call of a compiled function returns when it is done. Other devices are left as they
    are.
    """
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    if is_expected("cpu"):
        keep_freed_memory()
