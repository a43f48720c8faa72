"""``ichformer evaluate``."""

from pathlib import Path

from ichformer.cli.printing import print_result
from ichformer.errors import InputError
from ichformer.files.writing import shown


def evaluate(
    run: Path | None = None,
    /,
    *,
    predictions: Path | None = None,
    store: Path | None = None,
    split: str | None = None,
    thresholds: Path | None = None,
    calibrate_on: Path | None = None,
    labels: tuple[str, ...] = (),
    prevalence: float | None = None,
    out: Path | None = None,
    json: bool = False,
) -> None:
    """Evaluates a run, or a table of predictions of any model, by slice and by scan, with intervals over patients.

    Args:
      run: Folder of a run or of an ensemble.
      predictions: In place of a run, a table (CSV or Parquet) with the columns patient, LABEL and score_LABEL. It may
        also have the columns study, series, slice (empty for a scan), site, split and group_NAME.
      store: With a run, the store whose scans are scored. By default the one that it was trained on.
      split: The split to evaluate. By default the test split of a run, or the only split of the predictions.
      thresholds: With predictions, the file thresholds.json that was frozen on other patients. Without it there is no
        sensitivity or specificity, unless --calibrate-on is given.
      calibrate_on: With predictions, a table of other patients. The scores are recalibrated on it and, without
        --thresholds, the thresholds are chosen on it.
      labels: With predictions, the labels to evaluate. By default all that have a column of scores.
      prevalence: Also state PPV and NPV for this share of positive patients, from 0 to 1. Set it to the share where the
        model is to be used.
      out: Folder for evaluation.html, metrics.json, predictions.csv, model_card.md and claim.md, and lesions.csv where
        a run has a lesion map and the scans have masks. By default RUN/evaluation, or a folder beside a bundle or the
        predictions.
      json: Print one JSON object in place of text.
    """
    from ichformer.evaluation.summary import format_summary
    from ichformer.workflows.evaluate_table import evaluate as evaluate_table

    if (run is None) == (predictions is None):
        raise InputError("needs a run or --predictions, not both", where="evaluate", fix="name one of them")
    if run is not None:
        given = {"--thresholds": thresholds, "--calibrate-on": calibrate_on}
        if wrong := [name for name, value in given.items() if value is not None] + ["--labels"] * bool(labels):
            raise InputError("goes with --predictions only", where=wrong[0], fix="leave it out: a run has its own")
        from ichformer.inference.trained import training_store
        from ichformer.training.process import own_process
        from ichformer.training.runs.opening.run_folder import folder_beside
        from ichformer.workflows.evaluate_run import evaluate as evaluate_run

        own_process()
        store = store or training_store(run)
        out = out or folder_beside(run, "evaluation")
        summary = evaluate_run(run, store, out, split=split or "test", prevalence=prevalence)
    else:
        assert predictions is not None
        if store is not None:
            raise InputError("goes with a run only", where="--store", fix="leave it out")
        out = out or predictions.parent / f"{predictions.stem}-evaluation"
        summary = evaluate_table(
            predictions,
            out=out,
            split=split,
            thresholds=thresholds,
            calibrate_on=calibrate_on,
            labels=labels or None,
            prevalence=prevalence,
        )
    text = f"{format_summary(summary)}\n\npage: {shown(out / 'evaluation.html')}"
    print_result(summary.to_json(), text, as_json=json)
