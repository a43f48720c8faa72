"""``ichformer robustness``."""

from pathlib import Path

from ichformer.cli.printing import print_result
from ichformer.files.writing import shown


def robustness(
    run: Path,
    /,
    *,
    store: Path | None = None,
    split: str = "test",
    corruption: tuple[str, ...] = (),
    out: Path | None = None,
    seed: int = 0,
    json: bool = False,
) -> None:
    """Evaluates a run on scans made worse by corruptions of five severities, and says how much AUROC each costs.

    Args:
      run: Folder of a run or of an ensemble.
      store: Store whose scans are scored. By default the one that the run was trained on.
      split: The split to evaluate.
      corruption: Names of the corruptions to take: dose_noise, kernel, thickness, tilt, motion, metal, hu_shift,
        field_of_view, missing_slices, window_error, and those of plugins. By default all.
      out: Folder for robustness.json and robustness.png. By default RUN/robustness, or a folder beside a bundle.
      seed: Seed of everything random.
      json: Print one JSON object in place of text.
    """
    from ichformer.evaluation.robustness import format_robustness
    from ichformer.inference.trained import training_store
    from ichformer.training.process import own_process
    from ichformer.training.runs.opening.run_folder import folder_beside
    from ichformer.workflows.measure_robustness import corruption_benchmark

    own_process()
    store = store or training_store(run)
    out = out or folder_beside(run, "robustness")
    found = corruption_benchmark(run, store, out, split=split, corruptions=corruption, seed=seed)
    text = f"{format_robustness(found)}\n\npicture: {shown(out / 'robustness.png')}"
    print_result(found.to_json(), text, as_json=json)
