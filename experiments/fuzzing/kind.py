"""A kind of input: whole ones, ways to break them, and the code of ichformer that has to read them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

COHORT_SCANS = 4
"""Of the phantom cohort that whole inputs are made of."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """What whole inputs are made of.

    Attributes:
      cohort: folder of a phantom cohort.
      index: its Study index.
      real: folder of real files, as ``shared/data`` has them; None where there are none.
    """

    cohort: Path
    index: pd.DataFrame
    real: Path | None


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of input.

    Attributes:
      name: for reports.
      share: how many of a hundred cases are of this kind, as a fraction; the shares of all kinds sum to 1.
      write: writes whole inputs as folders below an empty folder.
      damage: breaks a copy of one of them in place and says how. The same generator breaks it in the same way.
      read: reads the input in a folder as users' commands do; InputError where it is refused.
    """

    name: str
    share: float
    write: Callable[[Path, Source], None]
    damage: Callable[[np.random.Generator, Path], str]
    read: Callable[[Path], None]
