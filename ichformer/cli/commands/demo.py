"""``ichformer demo``."""

from pathlib import Path

from ichformer.cli.printing import print_result
from ichformer.files.writing import path_text, shown


def demo(*, out: Path = Path("runs/demo"), fast: bool = False, seed: int = 0, json: bool = False) -> None:
    """Runs all steps on synthetic scans: makes them, trains, evaluates on an unseen site and writes a report.

    The weights that come with ichformer report on the same scan, for comparison.

    Args:
      out: Folder of the run. The synthetic scans and their store lie beside it, in the folder OUT-data.
      fast: Take fewer scans and steps. This shows the way in about two minutes, but its figures mean nothing.
      seed: Seed of everything random.
      json: Print one JSON object in place of text.
    """
    from ichformer.evaluation.summary import format_summary
    from ichformer.training.process import own_process
    from ichformer.workflows.demo import demo as run_demo

    own_process()
    result = run_demo(out, fast=fast, seed=seed)
    of_fast = "\n\nThese figures mean nothing: --fast makes too few scans and trains too few steps." if fast else ""
    text = (
        f"{format_summary(result.summary)}{of_fast}\n\n"
        f"page:   {shown(result.run / 'evaluation' / 'evaluation.html')}\n"
        f"report: {shown(result.report)}\n"
        f"        {shown(result.shipped_report)}, of the weights that come with ichformer\n"
        f"next:   ichformer predict FOLDER_OF_DICOM --run {shown(result.run)} --out out"
    )
    values = {
        "run": path_text(result.run),
        "report": path_text(result.report),
        "shipped_report": path_text(result.shipped_report),
        "metrics": result.summary.to_json(),
    }
    print_result(values, text, as_json=json)
