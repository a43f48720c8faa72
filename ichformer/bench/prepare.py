"""How fast series are prepared as shards, and where the time goes."""

import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom

from ichformer import LABELS
from ichformer.cohorts.folder import adapter as folder
from ichformer.ct.io.archives import file_size, open_file
from ichformer.ct.io.dicom.dicom_file import quiet_pydicom
from ichformer.ct.io.dicom.reader import read_series
from ichformer.ct.io.dicom.series import Series, group_files
from ichformer.ct.io.pixels.stored import read_stored
from ichformer.ct.io.scans import find_scans
from ichformer.errors import InputError
from ichformer.pipeline.preparation.config import PrepareConfig
from ichformer.pipeline.preparation.prepare import prepare_index
from ichformer.pipeline.preparation.recipe import prepare_volume
from ichformer.pipeline.preparation.workers import worker_pool
from ichformer.pipeline.store.records import PreparedScan, encode_record

_SAMPLED = 8
"""Series whose steps are timed apart."""


def bench_prepare(source: Path | str, *, workers: int | None = None) -> dict[str, Any]:
    """Time the preparation of all DICOM series below a folder into a store that is thrown away.

    Args:
      source: folder of DICOM series; only read.
      workers: processes; one a core by default.

    Returns:
      "series_per_s" and "mb_per_s" (of DICOM files read, 10**6 bytes) by the clock once the workers have started, and
      "start_s", the time that their start takes, once for a cohort of any size; "times_bare", a worker's time for all
      series over what pydicom alone takes to read and decode their files; "headers_share", "decode_share",
      "volume_share", "frame_share" and "encode_share" of the time for a series in one process with the files in memory;
      "series", "slices", "seconds" and "workers".

    Raises:
      InputError: no series that can be prepared, or less than one worker.
    """
    if workers is not None and workers < 1:
        raise InputError(f"found {workers}", where="workers", fix="give 1 or more")
    workers = workers or os.cpu_count() or 1
    named = folder.named_series(find_scans(source))
    series = {name: scan for name, scan in named.items() if isinstance(scan, Series)}
    if not series:
        raise InputError("holds no DICOM series", where=source, fix="name a folder of them")
    with tempfile.TemporaryDirectory() as name:
        index = folder.load(source, cache=Path(name) / "cache").index
        index = index[index["series"].isin(series)]
        begun = time.perf_counter()
        with worker_pool(workers) as executor:
            list(executor.map(_started, range(workers)))
            started = time.perf_counter()
            # With UIDs, by which the series are found again: the store is deleted in a moment.
            store = prepare_index(index, Path(name) / "store", executor=executor, with_uids=True)
            seconds = time.perf_counter() - started
    prepared = [series[name] for name in store.index["series"]]
    files = [file for one in prepared for file in one.files]
    n_bytes = sum(map(file_size, files))
    return {
        "series_per_s": len(prepared) / seconds,
        "mb_per_s": n_bytes / seconds / 1e6,
        **_shares(prepared[:_SAMPLED]),
        "series": len(prepared),
        "slices": int(store.index["n_slices"].sum()),
        "seconds": seconds,
        "start_s": started - begun,
        "times_bare": seconds * min(workers, len(prepared)) / _bare(files),
        "workers": workers,
    }


def _started(_: int) -> None:
    """Nothing: a process that comes here has imported what preparation needs."""


def _bare(files: Sequence[Path]) -> float:
    """Seconds that pydicom takes to read and decode the files."""
    begun = time.perf_counter()
    with quiet_pydicom():
        for file in files:
            with open_file(file) as opened:
                pydicom.dcmread(opened, force=True).pixel_array  # noqa: B018, decoding is what takes time
    return time.perf_counter() - begun


def _shares(sample: list[Series]) -> dict[str, float]:
    spent: dict[str, float] = defaultdict(float)
    read_series(sample[0])  # what is loaded late is no part of a series' time
    for series in sample:
        begun = time.perf_counter()
        (again,) = group_files(series.files, path=series.path).series
        headers_read = time.perf_counter()
        for header in again.headers:
            read_stored(header)
        decoded = time.perf_counter()
        volume = read_series(again)
        read = time.perf_counter()
        framed = prepare_volume(volume, PrepareConfig())
        prepared = time.perf_counter()
        unknown = np.full((len(framed.hu) + 1, len(LABELS)), np.nan, np.float32)
        encode_record(PreparedScan(volume=framed, slice_labels=unknown[1:], scan_labels=unknown[0]))
        spent["headers"] += headers_read - begun
        spent["decode"] += decoded - headers_read
        spent["volume"] += max(0.0, (read - decoded) - (decoded - headers_read))  # it decodes, too
        spent["frame"] += prepared - read
        spent["encode"] += time.perf_counter() - prepared
    return {f"{step}_share": seconds / sum(spent.values()) for step, seconds in spent.items()}


def format_prepare(found: dict[str, Any]) -> str:
    """Two lines for people."""
    steps = ("headers", "decode", "volume", "frame", "encode")
    shares = ", ".join(f"{step} {found[f'{step}_share']:.0%}" for step in steps)
    return (
        f"{found['series_per_s']:.2f} series/s, {found['mb_per_s']:.0f} MB/s of DICOM, {found['workers']} workers, "
        f"{found['series']} series of {found['slices']} slices in {found['seconds']:.1f} s, "
        f"after {found['start_s']:.1f} s for the workers' start; {found['times_bare']:.1f} times pydicom's decoding\n"
        f"time for a series: {shares}"
    )
