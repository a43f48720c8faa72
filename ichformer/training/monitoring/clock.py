"""How the wall time of a training divides into steps and everything else."""

import contextlib
import time
from collections.abc import Iterator
from typing import Literal

Phase = Literal["start", "input", "evaluation", "probing", "saving"]
"""What a training does beside its steps: it starts (reads, places, compiles), waits for input, validates and so on."""

_MOMENT_S = 1e-9


class Clock:
    """Counts the seconds of each phase. The device works on meanwhile, so the shares are upper bounds."""

    def __init__(self) -> None:
        self._began = self._marked = time.perf_counter()
        self._spent = 0.0
        self._waited = self._probed = 0.0

    @contextlib.contextmanager
    def on(self, phase: Phase) -> Iterator[None]:
        """Counts the time inside as time of this phase."""
        before = time.perf_counter()
        try:
            yield
        finally:
            took = time.perf_counter() - before
            self._spent += took
            if phase == "input":
                self._waited += took
            elif phase == "probing":
                self._probed += took

    def mark(self) -> tuple[float, dict[str, float]]:
        """Seconds since the last mark, and the shares to write down.

        "goodput" is the share of the wall time since the training began that went into steps; "input_bound" the share
        since the last mark in which the host waited for batches. "probing" is the share since the training began that
        went into probing, where there was any.
        """
        now = time.perf_counter()
        # A clock may stand, as that of a virtual machine that is moved does: then a moment has passed.
        seconds, in_all = max(now - self._marked, _MOMENT_S), max(now - self._began, _MOMENT_S)
        shares = {
            "goodput": 1 - min(max(self._spent, 0.0) / in_all, 1.0),
            "input_bound": min(max(self._waited, 0.0) / seconds, 1.0),
        }
        if self._probed:
            shares["probing"] = min(max(self._probed, 0.0) / in_all, 1.0)
        self._marked, self._waited = now, 0.0
        return seconds, shares
