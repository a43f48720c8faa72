"""Memory for steps on a CPU: kept from one to the next."""

import ctypes
import sys

import jax

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # glibc's malloc.h
_NEVER, _NONE = 2**31 - 1, 0


def keep_freed_memory() -> None:
    """Lets glibc keep what a step frees on a CPU, for the next one; of effect before JAX's first computation alone.

    XLA asks for the memory of a step anew each time, and glibc gives it back to the system each time: the pages that
    the system then clears are up to half of the time of a step. What is kept belongs to the thread that asked, and
    only the main thread's grows beyond 64 MiB, so JAX computes there and not in a thread of its own: a call of a
    compiled function returns when it is done. Other devices, and systems without glibc, are left as they are.
    """
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    if jax.default_backend() == "cpu" and sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(_M_TRIM_THRESHOLD, _NEVER)
        libc.mallopt(_M_MMAP_MAX, _NONE)
