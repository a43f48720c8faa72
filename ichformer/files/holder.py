"""Who holds a lease: a process on a machine, and whether it is still alive."""

import os
import socket
import time
import uuid
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Holder:
    """Who holds a lease.

    Attributes:
      what: its work, in one word, such as "training".
      host: name of its machine, for messages.
      machine: where its process can be seen: the start of the machine and the PID namespace; "" where not known.
      pid: of its process.
      started: start of that process in clock ticks, which tells it from a later one of the same number; "" not known.
      since: when it took the lease, in universal time.
      token: random; no other lease has it.
    """

    what: str
    host: str
    machine: str
    pid: int
    started: str
    since: str
    token: str


def this_process(what: str) -> Holder:
    """This process as the holder of a lease for ``what``."""
    pid = os.getpid()
    return Holder(
        what=what,
        host=socket.gethostname(),
        machine=_machine(),
        pid=pid,
        started=(_process(pid) or ("", ""))[1],
        since=time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()),
        token=uuid.uuid4().hex,
    )


def is_on_this_machine(holder: Holder) -> bool:
    """Whether the holder's process can be seen from here: same machine since its start, same PID namespace."""
    return holder.machine == _machine() != ""


def is_dead(holder: Holder) -> bool:
    """Whether the holder's process is known to be gone, or its number belongs to another process by now."""
    if not is_on_this_machine(holder):
        return False
    found = _process(holder.pid)
    if found is None:
        return not _is_there(holder.pid)
    return found[0] in "ZX" or found[1] != holder.started


def _is_there(pid: int) -> bool:
    """Whether a process has this number; /proc may be mounted so that it hides those of other users (hidepid)."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError, ValueError):
        return True
    return True


def _machine() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _process(pid: int) -> tuple[str, str] | None:
    """State and start of a process (proc(5), ``/proc/pid/stat``, fields 3 and 22); None where there is none."""
    try:
        # The second field is the name in brackets, in which anything may stand.
        after = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return after[0], after[19]
