"""Cohorts by name: the public data sets, any folder of scans, and those that others register."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol, TypeVar, runtime_checkable

import pandas as pd

from ichformer.cohorts.adapters import bhsd, cq500, ctich, instance, phantom, rsna2019
from ichformer.cohorts.folder import adapter as folder
from ichformer.registry import Registry


@runtime_checkable
class Load(Protocol):
    """An adapter: it reads the files of a cohort into a Study index.

    ``source`` is only read, tables that it has to make are kept in ``cache``. ``labels`` names tables that lie
    elsewhere: a file, or the folder of several. Scans that cannot be used are left out, and ``<cohort>_left_out.csv``
    says why.
    """

    def __call__(self, source: Path | str, *, cache: Path | str, labels: Path | str | None = None) -> pd.DataFrame:
        """The cohort's Study index; InputError where the source is not what it should be."""
        ...


_OWN: Mapping[str, Load] = {
    "bhsd": bhsd.load,
    "cq500": cq500.load,
    "ctich": ctich.load,
    "folder": folder.load,
    "instance": instance.load,
    "phantom": phantom.load,
    "rsna2019": rsna2019.load,
}

COHORTS: Registry[Load] = Registry("cohort", lambda: _OWN)
"""Every cohort by the name that ``ichformer prepare --dataset`` takes."""

Adapter = TypeVar("Adapter", bound=Load)


def register_cohort(name: str) -> Callable[[Adapter], Adapter]:
    """Makes a cohort known by name, to ``ichformer.prepare`` and to ``ichformer prepare --dataset``.

    Example:
      >>> from ichformer.cohorts.index import make_index
      >>> @register_cohort("our_hospital")
      ... def load(source, *, cache, labels=None):
      ...     row = {"cohort": "our_hospital", "patient": "1", "series": "1", "origin": "our_hospital"}
      ...     return make_index([{**row, "path": f"{source}/head.nii.gz", "any": 1.0}])
      >>> "our_hospital" in COHORTS
      True

    Args:
      name: letters, digits, ".", "-" and "_".

    Returns:
      A decorator of a function that obeys ``Load``.

    Raises:
      InputError: another cohort has that name, or it is no name.
    """

    def register(load: Adapter) -> Adapter:
        COHORTS.add(name, load, maker=load)
        return load

    return register
