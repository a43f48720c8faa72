"""A profiler's trace of some steps, for TensorBoard's profile page and Perfetto."""

from pathlib import Path
from types import TracebackType
from typing import Any

import jax


class Profile:
    """Traces from ``before`` the first of ``steps`` until ``after`` the last; nothing where ``steps`` is None."""

    def __init__(self, folder: Path, steps: tuple[int, int] | None):
        self._folder, self._steps = folder, steps
        self._tracing = False

    def __enter__(self) -> "Profile":
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Writes a trace that the end of the run cut short."""
        self._stop()

    def before(self, step: int) -> None:
        """Call it before each step."""
        if self._steps is not None and step == self._steps[0]:
            jax.profiler.start_trace(str(self._folder))
            self._tracing = True

    def after(self, step: int, state: Any) -> None:
        """Call it after each step with what it gave; waits for the device where the trace ends."""
        if self._tracing and self._steps is not None and step == self._steps[1]:
            jax.block_until_ready(state)
            self._stop()

    def _stop(self) -> None:
        if self._tracing:
            jax.profiler.stop_trace()
            self._tracing = False
