"""``ichformer worklist``."""

from pathlib import Path

from ichformer.cli.printing import print_result


def worklist(out: Path, /, *, csv: Path | None = None, json: bool = False) -> None:
    """Lists all predicted scans, the most urgent first, as worklist.html and worklist.csv. Research use only.

    Scans with a score at or above its threshold come first, then those that were not scored, then all others. Example,
    after `ichformer predict FOLDER_OF_STUDIES --out out --csv out/scores.csv`:

    ichformer worklist out

    Args:
      out: Folder of the predictions, as `ichformer predict --out` wrote it. The list is written into it.
      csv: Table of the predictions, as `ichformer predict --csv` wrote it. By default scores.csv in the folder.
      json: Print one JSON object in place of text.
    """
    from ichformer.workflows.write_worklist import format_worklist, write_worklist

    written = write_worklist(out, csv=csv)
    print_result(written.to_json(), format_worklist(written), as_json=json)
