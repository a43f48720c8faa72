"""``ichformer embed``."""

from pathlib import Path
from typing import Literal

from ichformer.cli.printing import print_result
from ichformer.files.writing import path_text, shown


def embed(
    run: Path,
    /,
    *,
    out: Path,
    store: Path | None = None,
    split: tuple[str, ...] = (),
    level: Literal["scan", "slice"] = "scan",
    json: bool = False,
) -> None:
    """Writes the features that a run computes of the scans of a store into a table.

    Args:
      run: Folder of a run, of an ensemble or of a pretraining.
      out: File for the table: Parquet if its name ends in .parquet (which needs the extra parquet), or CSV.
      store: Store with the scans. By default the one that the run was trained on.
      split: Splits whose scans are taken, such as train val. By default all scans.
      level: What a row of the table is: a scan, with the mean over its slices, or a slice.
      json: Print one JSON object in place of text.
    """
    from ichformer.evaluation.probes.table import FEATURE_PREFIX
    from ichformer.inference.trained import training_store
    from ichformer.training.process import own_process
    from ichformer.workflows.features.embed_store import embed as embed_store

    own_process()
    table = embed_store(run, store or training_store(run), split=split, level=level, out=out)
    count = sum(str(name).startswith(FEATURE_PREFIX) for name in table)
    print_result(
        {"table": path_text(out), "level": level, "rows": len(table), "features": count},
        f"{count} features of {len(table)} {level}s\ntable: {shown(out)}",
        as_json=json,
    )
