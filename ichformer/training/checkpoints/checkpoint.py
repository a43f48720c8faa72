"""Checkpoints through Orbax v1: the only file that imports it, since its names still change."""

import contextlib
import dataclasses
import gc
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
from orbax.checkpoint import v1 as ocp

from ichformer.errors import InputError, fixable, one_line
from ichformer.files.writing import check_utf8
from ichformer.process.quiet import silent_log
from ichformer.training.checkpoints.files import (
    BEST_BY,
    check_index,
    damage_in,
    forget_place,
    none_readable,
    read_loss,
    seal,
    steps_in,
)
from ichformer.training.sharding.hosts import on_first_host, true_on_all_hosts
from ichformer.training.state import TrainState, from_stored, to_stored

# What Orbax and TensorStore raise for files that are cut, gone or scrambled, or whose JSON is of other types. Running
# out of memory is none of them.
_UNREADABLE = (
    *(ValueError, OSError, LookupError, TypeError, AttributeError, AssertionError, ArithmeticError, EOFError),
    *(RecursionError, NotImplementedError),
)


class Checkpoints:
    """The checkpoints of one run: saved in the background; the newest are kept, and the best where there are metrics.

    The position in the data is the number of steps: batch k follows from the seed and k alone.
    """

    def __init__(self, folder: Path, *, every: int | None = None, keep: int = 1):
        """Without ``every`` only to read: what a training may be writing there stays as it is.

        To write, checkpoints that Orbax cannot even list are first put into the folder "damaged" beside the others.

        Raises:
          InputError: no checkpoint can be listed, or the folder's name is no UTF-8.
        """
        check_utf8(folder)
        self._folder, self._every = folder.absolute(), every
        self._saving: tuple[int, ocp.AsyncResponse[bool]] | None = None
        self._checkpointer: ocp.training.Checkpointer | None = None
        if every is not None:
            on_first_host(self._put_unlisted_aside)
            self._checkpointer = _to_write(self._folder, keep=keep)

    @property
    def latest_step(self) -> int | None:
        """Steps done in the newest checkpoint, None where there is none."""
        return max(self.steps, default=None)

    @property
    def best_step(self) -> int | None:
        """Steps done in the checkpoint with the smallest ``BEST_BY``, the last of equals; None where none has it."""
        validated = [(loss, -step) for step, loss in self._losses().items()]
        return -min(validated)[1] if validated else None

    @property
    def steps(self) -> tuple[int, ...]:
        """Steps done in each checkpoint that is there, the oldest first."""
        if self._checkpointer is None:
            return tuple(steps_in(self._folder))
        return tuple(sorted(checkpoint.step for checkpoint in self._checkpointer.checkpoints))

    def has_one(self, *, until: int) -> bool:
        """Whether there is a checkpoint with so many steps or fewer."""
        return bool(self._steps(until))

    def is_validated(self, step: int) -> bool:
        """Whether the checkpoint of so many steps is there with metrics."""
        return step in self._losses()

    def save(
        self, step: int, state: TrainState, *, metrics: dict[str, float] | None = None, force: bool = False
    ) -> None:
        """Saves after ``step`` steps if that is due, or in any case with ``force`` or ``metrics``; anew if it is there.

        Raises:
          InputError: this or the last one could not be written. The older ones stay.
        """
        # Asked of Orbax at every step, its policy takes longer than the rest of the loop.
        is_due = force or bool(metrics) or (self._every is not None and step % self._every == 0)
        checkpointer = self._checkpointer
        assert checkpointer is not None, "opened to read"
        with fixable(self._folder):
            if is_due or not checkpointer.is_saving_in_progress():
                self._finish()
            if is_due:
                saving = checkpointer.save_checkpointables_async(
                    step, {"state": to_stored(state)}, force=True, overwrite=step in self.steps, metrics=metrics
                )
                self._saving = step, saving

    def restore(self, state: TrainState, *, until: int | None = None) -> TrainState:
        """The newest state that can be read, in the shapes and on the devices of ``state``.

        It comes back whatever devices it was saved from. Newer checkpoints that are damaged, if only in what one host
        reads, are said on standard error. Opened to write, they are also put into the folder "damaged" beside these.

        Args:
          state: arrays of the shapes and on the devices that are wanted.
          until: none with more steps than this; any where None.

        Raises:
          InputError: there are checkpoints, but none can be read, or the newest is whole and has other parameters.
        """
        with fixable(self._folder):
            self._finish()
        step, found = self._first_readable(self._steps(until), jax.tree.map(_abstract, state))
        damaged = [newer for newer in self._steps(until) if newer > step]
        if damaged and self._checkpointer is not None:
            on_first_host(lambda: self._put_aside(damaged))
            self._checkpointer.reload()
        return found

    def restore_params(self, shapes: TrainState, *, step: int | None = None) -> tuple[TrainState, int]:
        """Parameters and averages alone, and the steps they took; the optimiser's state stays on disk.

        Those of ``step``, or the best, or the newest where none was validated. Then a damaged one is passed over for
        the newest that can be read, and that is said.
        """
        wanted = jax.tree.map(_abstract, shapes)
        wanted = dataclasses.replace(wanted, opt_state=jax.tree.map(lambda _: ocp.PLACEHOLDER, wanted.opt_state))
        best = self.best_step
        steps = sorted(self._steps(None), key=lambda each: each != best) if step is None else [step]
        read, found = self._first_readable(steps, wanted)
        return found, read

    def close(self) -> None:
        """Waits for what is being written; InputError where it could not be."""
        with fixable(self._folder):
            try:
                self._finish()
            finally:
                if self._checkpointer is not None:
                    self._checkpointer.close()

    def _finish(self) -> None:
        """Waits for the last save and raises what it failed with; unasked, its thread would stay for good."""
        saving, self._saving = self._saving, None
        if saving is not None:
            step, response = saving
            response.result()
            if jax.process_index() == 0:
                forget_place(self._folder / str(step))
                seal(self._folder / str(step))

    def _steps(self, until: int | None) -> list[int]:
        """From the newest on."""
        return [step for step in reversed(self.steps) if until is None or step <= until]

    def _losses(self) -> dict[int, float]:
        """``BEST_BY`` of each checkpoint that was validated, by its step; what cannot be read is said and left out."""
        if self._checkpointer is not None:
            return {each.step: each.metrics[BEST_BY] for each in self._checkpointer.checkpoints if each.metrics}
        found: dict[int, float] = {}
        for step in self.steps:
            try:
                check_index(self._folder / str(step))
                loss = read_loss(self._folder / str(step))
            except InputError as error:
                _say(step, str(error))
            else:
                if loss is not None:
                    found[step] = loss
        return found

    def _first_readable(self, steps: list[int], wanted: TrainState) -> tuple[int, TrainState]:
        reason, target = "there is none", {"state": to_stored(wanted)}
        for step in steps:
            found, damage = None, damage_in(self._folder / str(step)) if jax.process_index() == 0 else ""
            # All hosts load it or none: Orbax counts what each does, and the next save waits for hosts of other counts.
            if true_on_all_hosts(not damage):
                try:
                    with _waiting_for_nobody(), _quiet():
                        found = ocp.load_checkpointables(self._folder / str(step), target)["state"]
                except _UNREADABLE as error:
                    self._refuse_another_model(step, wanted.params)
                    reason = one_line(str(error).strip().partition("\n")[0])
            else:
                reason = damage or "the first host found it damaged"
            if found is None:
                _say(step, reason)
            is_whole = true_on_all_hosts(found is not None)
            if found is not None:
                if is_whole:
                    return step, from_stored(found)
                reason = "another host could not read it"
        raise none_readable(self._folder, reason)

    def _refuse_another_model(self, step: int, params: Any) -> None:
        """InputError where a checkpoint is whole and its parameters are not those that ``params`` has."""
        try:
            with _quiet():
                there = ocp.checkpointables_metadata(self._folder / str(step)).metadata["state"]["params"]
        except _UNREADABLE:
            return
        shapes, wanted = _shapes(there), _shapes(params)
        other = sorted(name for name in shapes.keys() | wanted.keys() if shapes.get(name) != wanted.get(name))
        if other:
            raise InputError(
                f"the checkpoint of step {step} is of another version of the model: {other[0]} is "
                f"{shapes.get(other[0], 'nothing')} there and {wanted.get(other[0], 'nothing')} here"
                + (f", and so for {len(other) - 1} more" if other[1:] else ""),
                where=self._folder,
                fix="take the ichformer whose commit and version the run's run.json names, or train anew",
            )

    def _put_unlisted_aside(self) -> None:
        steps, unlisted, reason = steps_in(self._folder), [], ""
        for step in steps:
            try:
                check_index(self._folder / str(step))
            except InputError as error:
                unlisted.append(step)
                reason = str(error)
                _say(step, reason)
        if unlisted and unlisted == steps:
            raise none_readable(self._folder, reason)
        if unlisted:
            self._put_aside(unlisted)

    def _put_aside(self, steps: list[int]) -> None:
        aside = self._folder.parent / "damaged"
        aside.mkdir(exist_ok=True)
        for step in steps:
            names = [str(step), *(f"{step}-{number}" for number in range(2, 1000))]
            place = next(aside / name for name in names if not (aside / name).exists())
            os.replace(self._folder / str(step), place)


def _to_write(folder: Path, *, keep: int) -> ocp.training.Checkpointer:
    """Orbax's own object, which keeps the newest checkpoints and the best one."""
    keeping = ocp.training.preservation_policies
    best = keeping.BestN(
        get_metric_fn=lambda metrics: metrics[BEST_BY], reverse=True, n=1, keep_checkpoints_without_metrics=False
    )
    policy = keeping.AnyPreservationPolicy([keeping.LatestN(keep), best])
    return ocp.training.Checkpointer(folder, preservation_policy=policy, cleanup_tmp_directories=True)


def _say(step: int, reason: str) -> None:
    print(f"the checkpoint of step {step} cannot be read: {reason}", file=sys.stderr)  # noqa: T201


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Inside, what Orbax prints of its threads when a file is damaged is left out: it raises it as well."""
    unraisable = sys.unraisablehook
    sys.unraisablehook = lambda _: None
    try:
        with silent_log("absl"), warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            try:
                yield
            except BaseException:
                gc.collect()  # coroutines that nobody waited for would say so later
                raise
    finally:
        sys.unraisablehook = unraisable


@contextlib.contextmanager
def _waiting_for_nobody() -> Iterator[None]:
    """Inside, this host reads by itself: Orbax would have it wait five minutes for one that cannot read its part."""
    context, host = ocp.Context(), jax.process_index()
    context.multiprocessing.primary_host = host
    context.multiprocessing.active_processes = {host}
    with context:
        yield


def _abstract(x: Any) -> jax.ShapeDtypeStruct:
    here = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=getattr(x, "sharding", None) or here)


def _shapes(params: Any) -> dict[str, str]:
    """Such as "64x6" for each array, by its name."""
    leaves = jax.tree_util.tree_leaves_with_path(params)
    return {"/".join(key.key for key in path): "x".join(map(str, leaf.shape)) for path, leaf in leaves}
