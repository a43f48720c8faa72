"""A whole cohort of phantoms on disk, with labels, masks and the Study index."""

import itertools
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from ichformer import LABELS, SUBTYPES
from ichformer.ct.phantom.acquisition.sites import DEFAULT_SITES, SITES, Site
from ichformer.ct.phantom.findings.confounders import CONFOUNDERS, LASTING
from ichformer.ct.phantom.make import Phantom, make_phantom
from ichformer.ct.phantom.rsna import rsna_name, write_rsna_series
from ichformer.ct.phantom.write import uid, write_mask, write_series
from ichformer.errors import InputError
from ichformer.files.csv_fields import write_csv
from ichformer.files.json_files import read_json
from ichformer.files.lease import hold
from ichformer.files.writing import write_text
from ichformer.process.workers import map_processes

VERSION = 2
"""Of what the same seed gives: raised whenever the voxels change."""

_STUDY_COLUMNS = (
    *("cohort", "site", "patient", "study", "series", "path", "split"),
    *LABELS,
    *("slice_labels", "mask", "boxes", "origin"),
)
_SLICE_COLUMNS = ("series", "slice", "file", *LABELS)
_CONTENT_COLUMNS = ("series", *(f"{name}_ml" for name in SUBTYPES), *CONFOUNDERS)


@dataclass(frozen=True, kw_only=True)
class Order:
    """What scan ``number`` of a cohort is; the cohort's size plays no part in it."""

    number: int
    first_of_patient: int
    site: Site
    subtypes: tuple[str, ...]
    small: tuple[str, ...] = ()
    confounders: tuple[str, ...] = ()


def plan_scan(
    number: int,
    *,
    seed: int,
    sites: Sequence[Site],
    prevalence: float,
    confounders: float = 0.0,
    small: float = 0.0,
) -> Order:
    """Site in turn; every sixth round of the sites scans the patients of the round before again; the rest by chance."""
    rng = np.random.default_rng([seed, number, 2])
    is_second = number // len(sites) % 6 == 5
    subtypes: tuple[str, ...] = ()
    if rng.random() < prevalence:
        count = rng.choice([1, 2, 3], p=[0.6, 0.28, 0.12])
        chosen = rng.choice(len(SUBTYPES), size=count, replace=False, p=[0.2, 0.22, 0.18, 0.2, 0.2])
        subtypes = tuple(SUBTYPES[k] for k in sorted(chosen))
    first = number - len(sites) if is_second else number
    # From generators of their own: with confounders or without, the bleeds stay as they are.
    of_patient, of_scan, of_size = (
        np.random.default_rng([seed, of, stream]) for of, stream in ((first, 6), (number, 7), (number, 8))
    )
    lasting, passing = of_patient.random(len(CONFOUNDERS)), of_scan.random(len(CONFOUNDERS))
    drawn = zip(CONFOUNDERS, lasting, passing, strict=True)
    return Order(
        number=number,
        first_of_patient=first,
        site=sites[number % len(sites)],
        subtypes=subtypes,
        small=tuple(name for name, u in zip(SUBTYPES, of_size.random(len(SUBTYPES)), strict=True) if u < small),
        confounders=tuple(name for name, a, b in drawn if (a if name in LASTING else b) < confounders),
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
    the mask, and which of ``CONFOUNDERS`` it shows. The folder appears when all is written.

    Args:
      out: a folder that is not there yet, or empty. The very same cohort that is there already is left as it is.
      scans: how many.
      seed: of everything.
      sites: names of ``SITES``; ``DEFAULT_SITES`` where None.
      prevalence: share of scans with a bleed; four in ten of them have two or three subtypes.
      confounders: chance of each of ``CONFOUNDERS`` in each scan (in each patient where it lasts).
      small: share of the bleeds that are small, 1 to 4 ml.
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
        raise InputError(f"no site {unknown[0]!r}", where="sites", mend=f"choose from {', '.join(SITES)}")
    if not names:
        raise InputError("is empty", where="sites", mend=f"choose from {', '.join(SITES)}")
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
    """``write_phantom_cohort`` for sites of one's own."""
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
        raise InputError(f"cannot be made ({error.strerror})", where=out, mend="name a folder of your own") from None
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
    for where, is_wrong, found, mend in (
        ("scans", scans < 1, scans, "ask for at least one scan"),
        ("seed", seed < 0, seed, "use 0 or a positive number"),
        ("workers", workers is not None and workers < 1, workers, "use at least one process"),
        *((name, not 0 <= share <= 1, share, "use a share from 0 to 1") for name, share in shares.items()),
    ):
        if is_wrong:
            raise InputError(f"is {found}", where=where, mend=mend)


def _is_there(out: Path, about: dict[str, object]) -> bool:
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return False
    try:
        found = read_json(out / "phantom.json", dict, mend="choose another folder")
    except InputError:
        raise InputError(
            "is not empty and holds no phantom cohort", where=out, mend="choose a folder that is not there yet"
        ) from None
    if found != about:
        raise InputError("holds another phantom cohort", where=out, mend="remove it or choose another folder")
    return True


Row = dict[str, object]


class Written(NamedTuple):
    """The rows of one scan in the cohort's tables."""

    study: Row
    slices: list[Row]
    content: Row


def write_scan(out: Path, seed: int, order: Order) -> Written:
    """Write one scan below ``out``."""
    # One thread: the workers share the cores, and sums in another order would round otherwise.
    with threadpool_limits(1):
        phantom = make_phantom(
            _stream(seed, order.number),
            head_seed=_stream(seed, order.first_of_patient),
            subtypes=order.subtypes,
            site=order.site,
            confounders=order.confounders,
            small=order.small,
        )
    write = _write_rsna if order.site.header == "rsna2019" else _write_full
    patient, study, series, place, instances, files = write(phantom, out, seed, order)
    mask = Path("masks") / f"{series}.nii.gz"
    write_mask(phantom.mask, phantom.volume.affine, out / mask)
    row: Row = {
        "cohort": "phantom", "site": order.site.name, "patient": patient, "study": study, "series": series,
        "path": place.as_posix(), "split": "", **_as_labels(phantom.scan_labels), "slice_labels": "slice_labels.csv",
        "mask": mask.as_posix(), "boxes": "", "origin": "phantom",
    }  # fmt: skip
    slices: list[Row] = [
        {"series": series, "slice": instance, "file": file, **_as_labels(labels)}
        for instance, file, labels in zip(instances, files, phantom.slice_labels, strict=True)
    ]
    volumes_ml = phantom.blood_ml.sum(axis=0)
    content: Row = {
        "series": series,
        **{f"{name}_ml": f"{ml:.2f}" for name, ml in zip(SUBTYPES, volumes_ml, strict=True)},
        **{name: int(name in order.confounders) for name in CONFOUNDERS},
    }
    return Written(row, slices, content)


class _Place(NamedTuple):
    """What a series is called and where it lies; ``files`` are "" where they are all of the folder."""

    patient: str
    study: str
    series: str
    path: Path
    instances: tuple[str, ...]
    files: tuple[str, ...]


def _write_full(phantom: Phantom, out: Path, seed: int, order: Order) -> _Place:
    patient = f"phantom-{seed}-{order.first_of_patient:05d}"
    study, series = uid(seed, order.number, "study"), uid(seed, order.number, "series")
    visit = 1 + (order.number != order.first_of_patient)
    path = Path("dicom") / patient / f"study-{visit}" / "series-1"
    name = f"PHANTOM^{order.first_of_patient}"
    instances = write_series(phantom, out / path, patient=patient, name=name, study=study, series=series)
    return _Place(patient, study, series, path, instances, ("",) * len(instances))


def _write_rsna(phantom: Phantom, out: Path, seed: int, order: Order) -> _Place:
    """All slices of all patients lie in one folder, as in RSNA 2019."""
    patient = rsna_name(seed, order.first_of_patient, "patient", digits=8)
    study, series = (rsna_name(seed, order.number, level, digits=10) for level in ("study", "series"))
    path = Path("dicom") / order.site.name
    instances = write_rsna_series(phantom, out / path, patient=patient, study=study, series=series)
    return _Place(patient, study, series, path, instances, tuple(f"{instance}.dcm" for instance in instances))


def _stream(seed: int, number: int) -> int:
    return int(np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)[0])


def _as_labels(labels: np.ndarray) -> dict[str, object]:
    return {name: int(value) for name, value in zip(LABELS, labels, strict=True)}


def _write_table(path: Path, names: Sequence[str], rows: Iterable[Row]) -> None:
    rows = list(rows)
    write_csv({name: [row[name] for row in rows] for name in names}, path)
