"""Several processes as one training: how they find each other, and what one of them does for all.

``jax.distributed`` does the work. Slurm, a GKE job and a TPU VM tell it who takes part; elsewhere the config does.
"""

import importlib.util
import os
import re
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import jax
import numpy as np

from ichformer.errors import InputError, one_line
from ichformer.training.config import ParallelConfig

HEARTBEAT_S = 30
"""After so many silent seconds a host counts as lost, and the others stop."""

_AGAIN = "start all hosts again with the same command: the run goes on from its newest checkpoint"


def join_hosts(config: ParallelConfig) -> None:
    """Waits for the other processes of this training, where there are any; call it before anything else of JAX.

    Raises:
      InputError: half of an address, or hosts that did not meet.
    """
    named = {
        "coordinator_address": config.coordinator,
        "num_processes": config.num_processes,
        "process_id": config.process_id,
    }
    missing = [name for name, value in named.items() if value is None]
    if 0 < len(missing) < len(named):
        raise InputError(
            "needs --parallel.coordinator, --parallel.num-processes and --parallel.process-id together",
            where="--parallel",
            fix="give all three, or none where Slurm, GKE or a TPU VM names them",
        )
    if config.coordinator is not None and not re.fullmatch(r".+:\d+", config.coordinator):
        raise InputError(
            f"found {config.coordinator!r}", where="--parallel.coordinator", fix="give HOST:PORT of the first host"
        )
    if jax.distributed.is_initialized() or (missing and not _launched_as_several()):
        return
    try:
        jax.distributed.initialize(
            config.coordinator,
            config.num_processes,
            config.process_id,
            cluster_detection_method=None if missing else "deactivate",
            heartbeat_timeout_seconds=HEARTBEAT_S,
            # Who is left behind by a lost host should not wait for it.
            shutdown_timeout_seconds=HEARTBEAT_S,
        )
    except (RuntimeError, ValueError) as error:
        raise InputError(
            f"the hosts did not meet: {error}",
            where=config.coordinator or "jax.distributed",
            fix="start every host with the same coordinator and number, and each with its own process id",
        ) from error


def on_first_host(action: Callable[[], None]) -> None:
    """``action()`` on host 0 while the others wait: what changes a shared folder happens once.

    Raises:
      InputError: on every other host, where it fails on the first.
    """
    if jax.process_count() == 1:
        return action()
    error: Exception | None = None
    if jax.process_index() == 0:
        try:
            action()
        except Exception as raised:  # whatever it is, the others must not wait for ever
            error = raised
    # Imported here: it is of no use to one process.
    from jax.experimental import multihost_utils

    failed = bool(multihost_utils.broadcast_one_to_all(np.asarray(error is not None)))
    if error is not None:
        raise error
    if failed:
        raise InputError("the first host refused", where=f"host {jax.process_index()}", fix="see what it says")
    return None


def true_on_all_hosts(here: bool) -> bool:
    """Whether ``here`` is true on every host; all of them have to ask."""
    if jax.process_count() == 1:
        return here
    from jax.experimental import multihost_utils

    return bool(np.all(multihost_utils.process_allgather(np.asarray(here))))


def leave(error: Exception, *, step: int) -> NoReturn:
    """Ends this process of several at once, with one line that says why.

    An orderly end would wait for the others: checkpoints that are being written, and JAX at exit. A host that fails in
    the middle of a step has left them waiting in it, or is left by them; gone, it is noticed by all.

    Exit code 2 for bad input, 1 for anything else: a launcher should start the hosts again.
    """
    host = f"host {jax.process_index()} of {jax.process_count()}"
    if isinstance(error, InputError):
        said, code = str(error), 2
    else:
        if not isinstance(error, jax.errors.JaxRuntimeError):
            traceback.print_exception(error)
        reason = one_line(str(error).strip().partition("\n")[0])
        said, code = f"{host}: step {step} failed, mostly because another host is gone: {reason}; {_AGAIN}", 1
    print(f"ichformer: error: {said}", file=sys.stderr, flush=True)  # noqa: T201
    os._exit(code)


def _launched_as_several() -> bool:
    """Whether this process was started by something that JAX can ask for the others.

    JAX would ask every launcher it knows; in a notebook or a Slurm job of one task that finds trouble only, as it has
    to be asked before the first computation.
    """
    several = any(
        int(os.environ.get(name) or 1) > 1 and rank in os.environ
        for name, rank in (("SLURM_NTASKS", "SLURM_PROCID"), ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"))
    )
    kubernetes_job = "KUBERNETES_SERVICE_HOST" in os.environ and "JOB_COMPLETION_INDEX" in os.environ
    return several or kubernetes_job or (_has_tpu() and _shares_its_tpu())


def _has_tpu() -> bool:
    return importlib.util.find_spec("libtpu") is not None and any(
        Path(device).exists() for device in ("/dev/accel0", "/dev/vfio/0")
    )


def _shares_its_tpu() -> bool:
    """Whether other hosts have chips of the same slice, or other slices take part, from where JAX reads it."""
    if int(os.environ.get("MEGASCALE_NUM_SLICES") or 1) > 1:
        return True
    for name in ("TPU_PROCESS_ADDRESSES", "TPU_WORKER_HOSTNAMES"):  # GKE, and notebooks
        if name in os.environ:
            return "," in os.environ[name]
    return "TPU_SKIP_MDS_QUERY" not in os.environ  # else a TPU VM, of which only Google's metadata know
