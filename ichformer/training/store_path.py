"""Where the prepared scans of a run lie: written so that the run can be opened from any folder, and after a move."""

import os
from pathlib import Path

from ichformer.errors import InputError
from ichformer.pipeline.records import INDEX_NAME

STORE_FACT = "store_from_run"
"""The field of ``run.json`` with the way from the run's folder to the store; "" where there is none."""


def way_to_store(store: str | os.PathLike[str], run: Path) -> str:
    """The store's path relative to the folder of a run, for ``STORE_FACT``."""
    try:
        return Path(os.path.relpath(store, run)).as_posix()
    except ValueError:  # on another drive
        return ""


def find_store(told: str, run: Path, way: str) -> Path:
    """The store of a run; the first of these places that holds one.

    The path that the config tells, the way from the run's folder (both were moved together), and what a relative path
    means in a folder above the run: runs used to keep it as it was given.

    Args:
      told: ``config.data.store``.
      run: the run's folder.
      way: from there to the store, as ``way_to_store`` gave it; "" where unknown.

    Raises:
      InputError: it is at none of them.
    """
    places = [Path(told), *([run / way] if way else []), *(parent / told for parent in run.absolute().parents)]
    for place in places:
        if os.path.isfile(place / INDEX_NAME):  # False too for a path that no system takes
            return place
    raise InputError(
        "the store that the run was trained on is not there", where=told, mend="name the folder it is in now (--store)"
    )
