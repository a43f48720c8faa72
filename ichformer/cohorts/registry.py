"""Every cohort that can be loaded by name."""

from pathlib import Path
from typing import Protocol

import pandas as pd

from ichformer.cohorts import folder, phantom, rsna2019


class Load(Protocol):
    """A cohort's adapter: ``source`` is only read, tables that it has to make are kept in ``cache``."""

    def __call__(self, source: Path | str, *, cache: Path | str, labels: Path | str | None = None) -> pd.DataFrame:
        """The cohort's Study index; InputError where the source is not what it should be."""
        ...


COHORTS: dict[str, Load] = {"folder": folder.load, "phantom": phantom.load, "rsna2019": rsna2019.load}
