"""``ichformer compare``."""

from pathlib import Path

from ichformer.cli.printing import print_result
from ichformer.errors import InputError


def compare(
    tables: tuple[Path, ...],
    /,
    *,
    split: str | None = None,
    thresholds: tuple[Path, ...] = (),
    labels: tuple[str, ...] = (),
    margin: float | None = None,
    replicates: int = 2000,
    seed: int = 0,
    json: bool = False,
) -> None:
    """Compares predictions of several models for the same scans: DeLong, McNemar, bootstrap, Holm.

    Every table is compared with the first one.

    Args:
      tables: Tables of predictions (CSV or Parquet, as for ``evaluate --predictions``): the reference, then one or more
        candidates.
      split: The split to compare on. By default the only split of the tables.
      thresholds: A file thresholds.json for each table, in the order of the tables. With them sensitivity and
        specificity are compared too.
      labels: The labels to compare. By default all that have a column of scores.
      margin: Margin of a test of non-inferiority: the largest loss of AUROC that is acceptable, such as 0.02. By
        default there is no such test.
      replicates: Number of bootstrap resamples of patients. More of them make the intervals more exact and take longer.
      seed: Seed of the resamples.
      json: Print one JSON object in place of text.
    """
    from ichformer.evaluation.compare import compare as compare_tables
    from ichformer.evaluation.comparison.text import format_comparison

    if len(tables) < 2:
        raise InputError("needs two models", where="compare", fix="give the tables of at least two")
    found = compare_tables(
        *tables,
        thresholds=thresholds,
        split=split,
        labels=labels or None,
        margin=margin,
        replicates=replicates,
        seed=seed,
    )
    text = "\n\n\n".join(map(format_comparison, found))
    print_result({"comparisons": [c.to_json() for c in found]}, text, as_json=json)
