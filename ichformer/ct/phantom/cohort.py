"""A whole cohort of phantoms on disk, with labels, masks and the Study index."""

import itertools
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from ichformer import LABELS, SUBTYPES
from ichformer.ct.phantom.acquisition.sites import DEFAULT_SITES, SITES, Site
from ichformer.ct.phantom.findings.confounders import CONFOUNDERS
from ichformer.ct.phantom.plan import plan_scan
from ichformer.ct.phantom.scan import Row, write_scan
from ichformer.errors import InputError
from ichformer.files.csv_fields import write_csv
from ichformer.files.json_files import read_json
from ichformer.files.lease import hold
from ichformer.files.writing import write_text
from ichformer.process.workers import map_processes

VERSION = 4
"""Of what the same seed gives: raised whenever the voxels change."""

_STUDY_COLUMNS = (
    *("cohort", "site", "patient", "study", "series", "path", "split"),
    *LABELS,
    *("slice_labels", "mask", "boxes", "origin"),
)
_SLICE_COLUMNS = ("series", "slice", "file", *LABELS)
_CONTENT_COLUMNS = (
    "series",
    *(f"{name}_{of}" for of in ("ml", "side", "lesions") for name in SUBTYPES),
    *("midline_shift_mm", "mechanism"),
    *CONFOUNDERS,
)


def write_phantom_cohort(
    out: Path | str,
    *,
    scans: int,
    seed: int,
    sites: tuple[str, ...] | None = None,
    prevalence: float = 0.5,
    confounders: float = 0.0,
    small: float = 0.0,
    workers: int | None = None,
    progress: bool = True,
) -> Path:
    """Write ``scans`` phantoms as DICOM series with masks, slice labels, the Study index and a table of contents.

    Scan ``i`` depends on ``seed``, ``i``, ``sites``, ``prevalence``, ``confounders`` and ``small`` alone, to the byte;
    with other confounders it has the same bleeds. ``contents.csv`` says by series how many ml of each subtype lie in
    the mask, on which side and in how many pieces, how far the midline is shifted (mm, to the patient's left), why
    the head bleeds, and which of ``CONFOUNDERS`` the scan shows. The folder appears when all is written.

    Args:
      out: a folder that is not there yet, or empty. The very same cohort that is there already is left as it is.
      scans: how many.
      seed: of everything.
      sites: names of ``SITES``; ``DEFAULT_SITES`` where None.
      prevalence: share of scans with a bleed; four in ten of them have two or three subtypes, as injuries have.
      confounders: chance of each of ``CONFOUNDERS`` in each scan (in each patient where it lasts).
      small: share of the bleeds that are small, 0.1 to 4 ml.
      workers: processes; as many as there are cores where None. With more than one, a script needs the guard
        ``if __name__ == "__main__"``, as for every process pool.
      progress: show a bar on standard error.

    Returns:
      ``out``.

    Raises:
      InputError: an unknown site, a number out of range, something else lies in ``out``, or another process is writing
        it.
    """
    names = DEFAULT_SITES if sites is None else sites
    if unknown := [name for name in names if name not in SITES]:
        raise InputError(f"no site {unknown[0]!r}", where="sites", fix=f"choose from {', '.join(SITES)}")
    if not names:
        raise InputError("is empty", where="sites", fix=f"choose from {', '.join(SITES)}")
    chosen = tuple(SITES[name] for name in names)
    return write_cohort(
        out, scans=scans, seed=seed, sites=chosen, prevalence=prevalence, confounders=confounders, small=small,
        workers=workers, progress=progress,
    )  # fmt: skip


def write_cohort(
    out: Path | str,
    *,
    scans: int,
    seed: int,
    sites: tuple[Site, ...],
    prevalence: float,
    workers: int | None,
    progress: bool,
    confounders: float = 0.0,
    small: float = 0.0,
) -> Path:
    """``write_phantom_cohort`` for your own sites."""
    _check(scans=scans, seed=seed, workers=workers, prevalence=prevalence, confounders=confounders, small=small)
    out = Path(out)
    about = {
        "version": VERSION,
        "scans": scans,
        "seed": seed,
        "prevalence": prevalence,
        "confounders": confounders,
        "small": small,
        "sites": [site.name for site in sites],
    }
    if _is_there(out, about):
        return out
    orders = [
        plan_scan(i, seed=seed, sites=sites, prevalence=prevalence, confounders=confounders, small=small)
        for i in range(scans)
    ]
    with _workspace(out) as building:
        write = partial(write_scan, building, seed)
        rows = list(map_processes(write, orders, desc="phantoms", unit="scan", workers=workers, progress=progress))
        _write_table(building / "studies.csv", _STUDY_COLUMNS, [row.study for row in rows])
        _write_table(building / "slice_labels.csv", _SLICE_COLUMNS, itertools.chain(*(row.slices for row in rows)))
        _write_table(building / "contents.csv", _CONTENT_COLUMNS, [row.content for row in rows])
        write_text(json.dumps(about, indent=2) + "\n", building / "phantom.json")
        os.replace(building, out)
    return out


@contextmanager
def _workspace(out: Path) -> Iterator[Path]:
    """A folder beside ``out`` to build in, for one process at a time; it starts empty and is gone at the end.

    Its name follows from that of ``out``, so that what a killed process left is cleared up by the next.
    """
    folder = out.parent / f".{out.name}.unfinished"
    building = folder / "cohort"
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot be made ({error.strerror})", where=out, fix="name a folder of your own") from None
    try:
        with hold(folder, what="writing of phantoms"):
            shutil.rmtree(building, ignore_errors=True)
            building.mkdir()
            try:
                yield building
            finally:
                shutil.rmtree(building, ignore_errors=True)
    finally:
        with suppress(OSError):
            folder.rmdir()


def _check(*, scans: int, seed: int, workers: int | None, **shares: float) -> None:
    for where, is_wrong, found, fix in (
        ("scans", scans < 1, scans, "ask for at least one scan"),
        ("seed", seed < 0, seed, "use 0 or a positive number"),
        ("workers", workers is not None and workers < 1, workers, "use at least one process"),
        *((name, not 0 <= share <= 1, share, "use a share from 0 to 1") for name, share in shares.items()),
    ):
        if is_wrong:
            raise InputError(f"is {found}", where=where, fix=fix)


def _is_there(out: Path, about: dict[str, object]) -> bool:
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return False
    try:
        found = read_json(out / "phantom.json", dict, fix="choose another folder")
    except InputError:
        raise InputError(
            "is not empty and holds no phantom cohort", where=out, fix="choose a folder that is not there yet"
        ) from None
    if found != about:
        raise InputError("holds another phantom cohort", where=out, fix="remove it or choose another folder")
    return True


def _write_table(path: Path, names: Sequence[str], rows: Iterable[Row]) -> None:
    rows = list(rows)
    write_csv({name: [row[name] for row in rows] for name in names}, path)
