"""The memory of this process: how much there is, and keeping it where arrays come and go."""

import ctypes
import sys
from pathlib import Path

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # glibc's malloc.h
_NEVER, _NONE = 2**31 - 1, 0
_CGROUP = Path("/sys/fs/cgroup")


def keep_freed_memory() -> None:
    """Make glibc keep freed memory for the rest of the process; without glibc nothing changes.

    It gives large arrays back to the system and asks for them anew each time, and the pages that the system then clears
    are up to half of the time of a training step on a CPU, a sixth of that of a phantom. What is kept belongs to the
    thread that asked, and only the main thread's grows beyond 64 MiB.
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(_M_TRIM_THRESHOLD, _NEVER)
        libc.mallopt(_M_MMAP_MAX, _NONE)


def free_memory() -> int | None:
    """Bytes that this process may still take: of the machine, or less where its cgroup has a limit. None if unknown.

    Sources: proc(5), MemAvailable; the kernel's cgroup-v2 documentation, memory.max and memory.current.
    """
    found = [_available(), _left_of_cgroup()]
    return min((n_bytes for n_bytes in found if n_bytes is not None), default=None)


def _available() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        (kib,) = (line.split()[1] for line in lines if line.startswith("MemAvailable:"))
        return int(kib) * 1024
    except (OSError, ValueError):
        return None


def _left_of_cgroup() -> int | None:
    try:
        limit, used = (int((_CGROUP / name).read_text(encoding="ascii")) for name in ("memory.max", "memory.current"))
    except (OSError, ValueError):  # none, or the limit "max"
        return None
    return max(limit - used, 0)
