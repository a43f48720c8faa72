"""Cohorts by name: the public data sets, any folder of scans, and those that others register."""

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol, TypeVar, overload, runtime_checkable

import pandas as pd

from ichformer.cohorts.adapters import bhsd, cq500, ctich, instance, phantom, rsna2019
from ichformer.cohorts.cohort import Cohort
from ichformer.cohorts.folder import adapter as folder
from ichformer.registry import Registry, register


@runtime_checkable
class Load(Protocol):
    """An adapter: it reads the files of a cohort into a Study index.

    ``source`` is only read, tables that it has to make are kept in ``cache``. ``labels`` names tables that lie
    elsewhere: a file, or the folder of several. Scans that cannot be used are left out, and ``<cohort>_left_out.csv``
    in ``cache`` says why. When the store is written, ``cache`` is deleted, except for published sets: names in it may
    be those of patients.

    An index alone has the six labels. A ``Cohort`` has a label set of its own, and notes. An adapter may take any of
    the further settings ``columns``, ``label_names``, ``targets`` and ``patient_from`` of ``ichformer prepare``.
    """

    def __call__(
        self, source: Path | str, *, cache: Path | str, labels: Path | str | None = None
    ) -> pd.DataFrame | Cohort:
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


@overload
def register_cohort(name: Adapter) -> Adapter: ...
@overload
def register_cohort(name: str | None = None) -> Callable[[Adapter], Adapter]: ...
def register_cohort(name: Adapter | str | None = None) -> Adapter | Callable[[Adapter], Adapter]:
    """Makes a cohort known by name, to ``ichformer.prepare`` and to ``ichformer prepare --dataset``.

    It decorates a function that obeys ``Load``: it returns a Study index, or a ``Cohort`` with labels of its own.

    Example:
      >>> from ichformer.cohorts.index import make_index
      >>> @register_cohort("our_hospital")
      ... def load(source, *, cache, labels=None):
      ...     row = {"cohort": "our_hospital", "patient": "1", "series": "1", "origin": "our_hospital"}
      ...     return make_index([{**row, "path": f"{source}/head.nii.gz", "any": 1.0}])
      >>> "our_hospital" in COHORTS
      True

    Args:
      name: what to call it: ``@register_cohort("mine")``. Bare, it takes the name of the function.

    Raises:
      InputError: another cohort has that name, it is no name, or it stands above something else.
    """
    return register(
        COHORTS,
        name,
        lambda load: load,
        wanted="a function load(source, *, cache, labels=None) that returns a Study index or an ichformer.Cohort",
        arguments=("source",),
        keywords=("cache", "labels"),
    )


def takes_setting(dataset: str, setting: str) -> bool:
    """Whether the adapter of a cohort takes a further setting, such as ``columns``."""
    return setting in inspect.signature(COHORTS[dataset]).parameters
