"""Every cohort that can be loaded by name."""

from pathlib import Path
from typing import Protocol

import pandas as pd

from ichformer.cohorts.adapters import bhsd, cq500, ctich, instance, phantom, rsna2019
from ichformer.cohorts.folder import adapter as folder


class Load(Protocol):
    """A cohort's adapter.

    ``source`` is only read, tables that it has to make are kept in ``cache``. ``labels`` names tables that lie
    elsewhere: a file, or the folder of several. Scans that cannot be used are left out, and ``<cohort>_left_out.csv``
    says why.
    """

    def __call__(self, source: Path | str, *, cache: Path | str, labels: Path | str | None = None) -> pd.DataFrame:
        """The cohort's Study index; InputError where the source is not what it should be."""
        ...


COHORTS: dict[str, Load] = {
    "bhsd": bhsd.load,
    "cq500": cq500.load,
    "ctich": ctich.load,
    "folder": folder.load,
    "instance": instance.load,
    "phantom": phantom.load,
    "rsna2019": rsna2019.load,
}
