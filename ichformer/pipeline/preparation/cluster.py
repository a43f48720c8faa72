"""Runs ``prepare`` on a Dask cluster, whose workers see the same files at the same paths.

This process only connects to the scheduler: it opens no port. Dask trusts its peers (see docs/cluster.md), so the
address is always one that the user names, and encryption is what Dask's own configuration says
(``distributed.comm.tls``).
"""

import contextlib
from collections.abc import Iterator
from concurrent.futures import CancelledError, Executor
from typing import Any

from ichformer import __version__
from ichformer.errors import InputError, one_line
from ichformer.pipeline.preparation.config import RECIPE_VERSION
from ichformer.pipeline.store.header import RECORD_VERSION


@contextlib.contextmanager
def cluster_executor(address: str, *, timeout_s: float = 10.0) -> Iterator[Executor]:
    """Opens an executor on a running Dask cluster for the time of the context; the cluster is left as it is.

    Args:
      address: the scheduler's, such as ``tcp://10.0.0.1:8786``; ``tls://`` needs the certificates that are named in
        Dask's configuration.
      timeout_s: how long to try to reach it.

    Raises:
      InputError: Dask distributed is not installed, nobody answers, an address with TLS without certificates, there is
        no worker, a worker has several threads or another ichformer, or the scheduler is lost on the way.
    """
    try:
        from distributed import Client
    except ImportError:
        raise InputError(
            "needs Dask distributed, which is not installed", where="cluster", fix="pip install 'ichformer[cluster]'"
        ) from None
    try:
        client = Client(address, timeout=timeout_s, set_as_default=False)
    except OSError as error:  # its timeouts too, and certificates that do not fit
        raise InputError(
            f"no Dask scheduler answers there within {timeout_s:g} s ({type(error).__name__}: {one_line(error)})",
            where=address,
            fix="start one with `dask scheduler` and copy the address that it prints",
        ) from None
    except (RuntimeError, TypeError, ValueError) as error:
        raise InputError(
            f"Dask cannot connect to such an address ({one_line(error)})",
            where=address,
            fix="name one such as tcp://HOST:8786; for tls:// set distributed.comm.tls in Dask's configuration",
        ) from None
    with client:
        _check_workers(client, address)
        try:
            yield client.get_executor()
        except CancelledError:
            raise InputError(
                "the scheduler was lost", where=address, fix="run prepare again: it does only what is missing"
            ) from None


def installed() -> tuple[str, int, int]:
    """Returns the versions of ichformer, its records and its recipe on the worker that is asked."""
    return __version__, RECORD_VERSION, RECIPE_VERSION


def _check_workers(client: Any, address: str) -> None:
    threads = client.nthreads().values()
    start = f"start them with `dask worker {address} --nthreads 1`, one for each core"
    if not threads:
        raise InputError("the scheduler has no workers", where=address, fix=start)
    if max(threads) > 1:
        raise InputError(
            f"a worker has {max(threads)} threads, but one process prepares one series at a time",
            where=address,
            fix=start,
        )
    for worker, answer in client.run(installed, on_error="return").items():
        if answer != installed():
            said = one_line(f"{type(answer).__name__}: {answer}" if isinstance(answer, Exception) else answer)
            raise InputError(
                f"this worker has another ichformer ({said}, and {installed()} here)",
                where=one_line(worker),
                fix=f"install ichformer {__version__} for the Python of every worker, and start the workers again",
            )
