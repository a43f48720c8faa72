"""Rollback to an earlier checkpoint where updates fail one after the other."""

import dataclasses
import sys
from pathlib import Path

from ichformer.errors import InputError
from ichformer.training.checkpoints.checkpoint import Checkpoints
from ichformer.training.state import TrainState


class Rollback:
    """Takes a run back to the newest checkpoint before its updates failed, at most once to each."""

    def __init__(self, run: Path, checkpoints: Checkpoints, *, max_bad_steps: int):
        self._run, self._checkpoints, self._max_bad_steps = run, checkpoints, max_bad_steps
        self._been: set[int] = set()

    def __call__(self, state: TrainState, done: int, bad_in_a_row: int) -> TrainState:
        """``state``, or after too many bad updates the earlier parameters, optimiser and average, with a message.

        The count of steps goes on, and so do the batches: the same ones would end in the same numbers again.

        Raises:
          InputError: there is no checkpoint from before, or the run was taken back to it already.
        """
        if bad_in_a_row < self._max_bad_steps:
            return state
        fix = "lower --optim.learning-rate, look at the labels of the store, and train into a new folder"
        where = f"{self._run}, step {done}"
        before = done - bad_in_a_row
        if not self._checkpoints.has_one(until=before):
            raise InputError(f"the last {bad_in_a_row} losses leapt or were no numbers", where=where, fix=fix)
        earlier = self._checkpoints.restore(state, until=before)
        step = int(earlier.step)
        if step in self._been:
            raise InputError(f"updates fail again and again after step {step}", where=where, fix=fix)
        self._been.add(step)
        print(  # noqa: T201
            f"step {done}: {bad_in_a_row} bad updates in a row, back to the state of step {step}", file=sys.stderr
        )
        return dataclasses.replace(earlier, step=state.step)
