"""``ichformer bench loader``."""

from pathlib import Path

from ichformer.cli.printing import print_result


def loader(
    store: Path,
    /,
    *,
    split: str = "train",
    batches: int = 20,
    workers: int = 0,
    batch_size: int = 8,
    num_slices: int = 24,
    json: bool = False,
) -> None:
    """Measures how fast training batches come out of a store, and what the time goes into.

    Args:
      store: Folder of the store.
      split: The split to draw from.
      batches: Number of batches that are timed.
      workers: Number of processes that read and augment. 0 reads in this process.
      batch_size: Scans in a batch.
      num_slices: Slices that are taken of a scan.
      json: Print one JSON object in place of text.
    """
    from ichformer.bench.loader import bench_loader, format_loader

    found = bench_loader(
        store, split=split, batches=batches, workers=workers, batch_size=batch_size, num_slices=num_slices
    )
    print_result(found, format_loader(found), as_json=json)
