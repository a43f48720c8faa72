"""``ichformer bench prepare``."""

from pathlib import Path

from ichformer.cli.printing import print_result


def prepare(source: Path, /, *, workers: int | None = None, json: bool = False) -> None:
    """Measures how fast DICOM series become a store, and what the time goes into.

    Args:
      source: Folder of DICOM series. It is only read.
      workers: Number of processes. By default one for each core.
      json: Print one JSON object in place of text.
    """
    from ichformer.bench.prepare import bench_prepare, format_prepare

    found = bench_prepare(source, workers=workers)
    print_result(found, format_prepare(found), as_json=json)
