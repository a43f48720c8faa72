"""One phantom scan of a cohort: its files on disk and its rows in the cohort's tables."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from ichformer import LABELS, SUBTYPES
from ichformer.ct.phantom.findings.confounders import CONFOUNDERS
from ichformer.ct.phantom.make import Phantom, make_phantom
from ichformer.ct.phantom.plan import Order
from ichformer.ct.phantom.rsna import rsna_name, write_rsna_series
from ichformer.ct.phantom.write import uid, write_mask, write_series

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
            mechanism=order.mechanism,
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
        **{f"{name}_side": phantom.sides[name] for name in SUBTYPES},
        **{f"{name}_lesions": int(count) for name, count in zip(SUBTYPES, phantom.lesions, strict=True)},
        "midline_shift_mm": f"{phantom.midline_shift_mm:.2f}",
        "mechanism": order.mechanism or "",
        **{name: int(name in order.confounders) for name in CONFOUNDERS},
    }
    return Written(row, slices, content)


class _Place(NamedTuple):
    """Names and place of a written series; ``files`` are "" where they are all files of the folder."""

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
    """Write a scan as RSNA 2019 holds it: the slices of all patients lie in one folder."""
    patient = rsna_name(seed, order.first_of_patient, "patient", digits=8)
    study, series = (rsna_name(seed, order.number, level, digits=10) for level in ("study", "series"))
    path = Path("dicom") / order.site.name
    instances = write_rsna_series(phantom, out / path, patient=patient, study=study, series=series)
    return _Place(patient, study, series, path, instances, tuple(f"{instance}.dcm" for instance in instances))


def _stream(seed: int, number: int) -> int:
    return int(np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)[0])


def _as_labels(labels: np.ndarray) -> dict[str, object]:
    return {name: int(value) for name, value in zip(LABELS, labels, strict=True)}
