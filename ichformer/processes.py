"""What every worker process does first."""

import signal


def leave_interrupts_to_parent() -> None:
    """Ctrl-C reaches all processes of a terminal; only the parent heeds it, and lets the work in hand finish."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
