"""Every kind of input that is broken, and how a case of one is made."""

import shutil
from collections.abc import Collection
from pathlib import Path

import numpy as np

from experiments.fuzzing import archive, dicom, nifti, picture, run, store, table, weights
from experiments.fuzzing.kind import COHORT_SCANS, Kind, Source
from ichformer.cohorts.index import read_index
from ichformer.testing import tiny_cohort

KINDS: dict[str, Kind] = {
    module.KIND.name: module.KIND for module in (dicom, nifti, store, archive, picture, weights, run, table)
}


def write_bases(folder: Path, real: Path | None, kinds: Collection[str] = tuple(KINDS)) -> None:
    """The whole inputs under ``folder``, as ``KIND/NAME/``.

    Args:
      folder: an empty one.
      real: real files to take too, as ``shared/data`` has them.
      kinds: names of those that are wanted.
    """
    cohort = tiny_cohort(folder / "cohort", scans=COHORT_SCANS, prevalence=1.0)
    source = Source(cohort=cohort, index=read_index(cohort / "studies.csv"), real=real)
    for name in kinds:
        (folder / name).mkdir()
        KINDS[name].write(folder / name, source)
    shutil.rmtree(cohort)


def make_case(
    bases: Path, out: Path, *, seed: int, number: int, kinds: Collection[str] = tuple(KINDS)
) -> tuple[str, str, str]:
    """Writes one broken input under ``out``: always the same for a seed and a number, among the same kinds.

    Returns:
      Kind, name of the base and name of the mutation.
    """
    rng = np.random.default_rng([seed, number])
    shares = np.array([KINDS[name].share for name in kinds])
    kind = str(rng.choice(list(kinds), p=shares / shares.sum()))
    whole = sorted((bases / kind).iterdir())
    base = whole[int(rng.integers(len(whole)))]
    shutil.copytree(base, out, copy_function=shutil.copyfile)
    return kind, base.name, KINDS[kind].damage(rng, out)
