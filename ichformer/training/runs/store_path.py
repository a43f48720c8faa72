"""The path from a run to its prepared scans, kept so that both can be moved together."""

import os
from collections.abc import Iterable
from pathlib import Path

from ichformer.errors import InputError
from ichformer.pipeline.store.index_file import INDEX_NAME

STORE_FACT = "store_from_run"
"""The field of ``run.json`` with the way from the run's folder to the store; "" where there is none."""


def way_to_store(store: str | os.PathLike[str], run: Path) -> str:
    """The store's path relative to the folder of a run, for ``config.data.store`` and ``STORE_FACT``.

    Links on the way are followed, as ".." goes up from where they lead; the store's own name stays.
    """
    store = Path(os.path.abspath(store))
    try:
        return Path(os.path.relpath(store.parent.resolve() / store.name, run.resolve())).as_posix()
    except ValueError:  # on another drive
        return ""


def ways_to_stores(stores: Iterable[str], run: Path) -> tuple[str, ...]:
    """``way_to_store`` of further stores. A path where there is no way; what is not there stays as it is told."""
    return tuple(
        way_to_store(store, run) or os.path.abspath(store) if os.path.isdir(store) else store for store in stores
    )


def find_store(told: str, run: Path, way: str) -> Path:
    """The store of a run; the first of these places that holds one.

    Where the config tells an absolute path, as it used to: that, then the way from the run's folder (both were moved
    together). Where it tells a relative one: the way from the run's folder, or, of a run that keeps none, what the path
    means here or in a folder above the run.

    Args:
      told: ``config.data.store``.
      run: the run's folder.
      way: from there to the store, as ``way_to_store`` gave it; "" where unknown.

    Raises:
      InputError: it is at none of them.
    """
    by_way = [run / way] if way else []
    if os.path.isabs(told):
        places = [Path(told), *by_way]
    else:
        places = by_way or [Path(told), *(parent / told for parent in run.absolute().parents)]
    for place in places:
        if os.path.isfile(place / INDEX_NAME):  # False too for a path that no system takes
            return place
    if not told:
        fix = "name one that its scans were prepared into (--store)"
        raise InputError("does not say which store it was trained on, as a bundle never does", where=run, fix=fix)
    raise InputError(
        "the store that the run was trained on is not there", where=told, fix="name the folder it is in now (--store)"
    )
