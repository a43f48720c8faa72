"""A whole cohort of phantoms on disk, with labels, masks and the Study index."""

import csv
import itertools
import json
import multiprocessing
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]
from tqdm import tqdm

from ichformer import LABELS, SUBTYPES
from ichformer.ct.phantom.make import make_phantom
from ichformer.ct.phantom.sites import SITES, Site
from ichformer.ct.phantom.write import uid, write_mask, write_series
from ichformer.errors import InputError

VERSION = 1
"""Of what the same seed gives: raised whenever the voxels change."""

_STUDY_COLUMNS = (
    *("cohort", "site", "patient", "study", "series", "path", "split"),
    *LABELS,
    *("slice_labels", "mask", "boxes", "origin"),
)
_SLICE_COLUMNS = ("series", "slice", "file", *LABELS)


@dataclass(frozen=True, kw_only=True)
class Order:
    """What scan ``number`` of a cohort is; the cohort's size plays no part in it."""

    number: int
    first_of_patient: int
    site: Site
    subtypes: tuple[str, ...]


def plan_scan(number: int, *, seed: int, sites: Sequence[Site], prevalence: float) -> Order:
    """Site in turn; every sixth round of the sites scans the patients of the round before again; bleeds by chance."""
    rng = np.random.default_rng([seed, number, 2])
    is_second = number // len(sites) % 6 == 5
    subtypes: tuple[str, ...] = ()
    if rng.random() < prevalence:
        count = rng.choice([1, 2, 3], p=[0.6, 0.28, 0.12])
        chosen = rng.choice(len(SUBTYPES), size=count, replace=False, p=[0.2, 0.22, 0.18, 0.2, 0.2])
        subtypes = tuple(SUBTYPES[k] for k in sorted(chosen))
    return Order(
        number=number,
        first_of_patient=number - len(sites) if is_second else number,
        site=sites[number % len(sites)],
        subtypes=subtypes,
    )


def write_phantom_cohort(
    out: Path,
    *,
    scans: int,
    seed: int,
    sites: tuple[str, ...] | None = None,
    prevalence: float = 0.5,
    workers: int | None = None,
    progress: bool = True,
) -> Path:
    """Write ``scans`` phantoms as DICOM series with masks, slice labels and the Study index.

    Scan ``i`` depends on ``seed``, ``i``, ``sites`` and ``prevalence`` alone, to the byte. The folder appears when all
    is written.

    Args:
      out: a folder that is not there yet, or empty. The very same cohort that is there already is left as it is.
      scans: how many.
      seed: of everything.
      sites: names of ``SITES``; all of them where None.
      prevalence: share of scans with a bleed.
      workers: processes; as many as there are cores where None. With more than one, a script needs the guard
        ``if __name__ == "__main__"``, as for every process pool.
      progress: show a bar on standard error.

    Returns:
      ``out``.

    Raises:
      InputError: an unknown site, a number out of range, or something else lies in ``out``.
    """
    names = tuple(SITES) if sites is None else sites
    if unknown := [name for name in names if name not in SITES]:
        raise InputError(f"no site {unknown[0]!r}", where="sites", mend=f"choose from {', '.join(SITES)}")
    if not names:
        raise InputError("is empty", where="sites", mend=f"choose from {', '.join(SITES)}")
    chosen = tuple(SITES[name] for name in names)
    return write_cohort(
        out, scans=scans, seed=seed, sites=chosen, prevalence=prevalence, workers=workers, progress=progress
    )


def write_cohort(
    out: Path,
    *,
    scans: int,
    seed: int,
    sites: tuple[Site, ...],
    prevalence: float,
    workers: int | None,
    progress: bool,
) -> Path:
    """``write_phantom_cohort`` for sites of one's own."""
    _check(scans=scans, seed=seed, prevalence=prevalence, workers=workers)
    out = Path(out)
    about = {
        "version": VERSION,
        "scans": scans,
        "seed": seed,
        "prevalence": prevalence,
        "sites": [site.name for site in sites],
    }
    if _is_there(out, about):
        return out
    out.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        orders = [plan_scan(i, seed=seed, sites=sites, prevalence=prevalence) for i in range(scans)]
        rows = _write_scans(building, orders, seed=seed, workers=workers, progress=progress)
        _write_table(building / "studies.csv", _STUDY_COLUMNS, [study for study, _ in rows])
        _write_table(building / "slice_labels.csv", _SLICE_COLUMNS, itertools.chain(*(slices for _, slices in rows)))
        (building / "phantom.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
        building.chmod(0o755)
        os.replace(building, out)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise
    return out


def _check(*, scans: int, seed: int, prevalence: float, workers: int | None) -> None:
    for where, is_wrong, found, mend in (
        ("scans", scans < 1, scans, "ask for at least one scan"),
        ("seed", seed < 0, seed, "use 0 or a positive number"),
        ("prevalence", not 0 <= prevalence <= 1, prevalence, "use a share from 0 to 1"),
        ("workers", workers is not None and workers < 1, workers, "use at least one process"),
    ):
        if is_wrong:
            raise InputError(f"is {found}", where=where, mend=mend)


def _is_there(out: Path, about: dict[str, object]) -> bool:
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return False
    try:
        found = json.loads((out / "phantom.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise InputError(
            "is not empty and holds no phantom cohort", where=out, mend="choose a folder that is not there yet"
        ) from None
    if found != about:
        raise InputError("holds another phantom cohort", where=out, mend="remove it or choose another folder")
    return True


StudyRow = dict[str, object]


def _write_scans(
    out: Path, orders: list[Order], *, seed: int, workers: int | None, progress: bool
) -> list[tuple[StudyRow, list[StudyRow]]]:
    workers = min(workers or os.cpu_count() or 1, len(orders))
    write = partial(write_scan, out, seed)
    if workers == 1:
        return list(_shown(map(write, orders), len(orders), progress))
    # Spawned, not forked: the parent may run the threads of JAX.
    pool: Executor
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        return list(_shown(pool.map(write, orders), len(orders), progress))


def _shown(rows: Iterator, total: int, progress: bool) -> Iterator:
    return iter(tqdm(rows, total=total, desc="phantoms", unit="scan", disable=not progress))


def write_scan(out: Path, seed: int, order: Order) -> tuple[StudyRow, list[StudyRow]]:
    """Write one scan below ``out``: its row of the Study index, and the rows of its slices."""
    patient = f"phantom-{seed}-{order.first_of_patient:05d}"
    study, series = uid(seed, order.number, "study"), uid(seed, order.number, "series")
    visit = 1 + (order.number != order.first_of_patient)
    place = Path("dicom") / patient / f"study-{visit}" / "series-1"
    mask = Path("masks") / f"{series}.nii.gz"
    # One thread: the workers share the cores, and sums in another order would round otherwise.
    with threadpool_limits(1):
        phantom = make_phantom(
            _stream(seed, order.number),
            head_seed=_stream(seed, order.first_of_patient),
            subtypes=order.subtypes,
            site=order.site,
        )
    instances = write_series(
        phantom, out / place, patient=patient, name=f"PHANTOM^{order.first_of_patient}", study=study, series=series
    )
    write_mask(phantom.mask, phantom.volume.affine, out / mask)
    row: StudyRow = {
        "cohort": "phantom", "site": order.site.name, "patient": patient, "study": study, "series": series,
        "path": place.as_posix(), "split": "", **_as_labels(phantom.scan_labels), "slice_labels": "slice_labels.csv",
        "mask": mask.as_posix(), "boxes": "", "origin": "phantom",
    }  # fmt: skip
    slices: list[StudyRow] = [
        {"series": series, "slice": instance, "file": "", **_as_labels(labels)}
        for instance, labels in zip(instances, phantom.slice_labels, strict=True)
    ]
    return row, slices


def _stream(seed: int, number: int) -> int:
    return int(np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)[0])


def _as_labels(labels: np.ndarray) -> dict[str, object]:
    return {name: int(value) for name, value in zip(LABELS, labels, strict=True)}


def _write_table(path: Path, columns: Sequence[str], rows: object) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, columns, lineterminator="\n")
        table.writeheader()
        table.writerows(rows)  # type: ignore[arg-type]
