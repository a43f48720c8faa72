"""A Dask cluster as the executor of ``prepare``. Its workers see the same files at the same paths."""

import contextlib
from collections.abc import Iterator
from concurrent.futures import CancelledError, Executor

from ichformer.errors import InputError


@contextlib.contextmanager
def cluster_executor(address: str, *, timeout_s: float = 10.0) -> Iterator[Executor]:
    """The executor of a running Dask cluster, as long as the context lasts; the cluster itself is left as it is.

    Args:
      address: the scheduler's, such as ``tcp://10.0.0.1:8786``.
      timeout_s: how long to try to reach it.

    Raises:
      InputError: Dask distributed is not installed, nobody answers, there is no worker, a worker has several threads,
        or the scheduler is lost on the way.
    """
    try:
        from distributed import Client
    except ImportError:
        raise InputError(
            "needs Dask distributed, which is not installed", where="cluster", mend="pip install 'ichformer[cluster]'"
        ) from None
    try:
        client = Client(address, timeout=timeout_s, set_as_default=False)
    except (OSError, TypeError, ValueError) as error:  # its timeouts are OSErrors
        raise InputError(
            f"no Dask scheduler answers there within {timeout_s:g} s ({type(error).__name__})",
            where=address,
            mend="start one with `dask scheduler` and copy the address that it prints",
        ) from None
    with client:
        threads = client.nthreads().values()
        start = f"start them with `dask worker {address} --nthreads 1`, one for each core"
        if not threads:
            raise InputError("the scheduler has no workers", where=address, mend=start)
        if max(threads) > 1:
            raise InputError(
                f"a worker has {max(threads)} threads, but one process prepares one series at a time",
                where=address,
                mend=start,
            )
        try:
            yield client.get_executor()
        except CancelledError:
            raise InputError(
                "the scheduler was lost", where=address, mend="run prepare again: it does only what is missing"
            ) from None
