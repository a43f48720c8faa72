"""``ichformer probe``."""

from pathlib import Path
from typing import Literal

from ichformer.cli.printing import print_result
from ichformer.files.writing import shown


def probe(
    run: Path,
    /,
    *,
    store: Path | None = None,
    label: str = "any",
    method: Literal["ridge", "knn", "attentive"] = "ridge",
    fractions: tuple[float, ...] = (0.01, 0.05, 0.1, 1.0),
    draws: int = 5,
    seed: int = 0,
    out: Path | None = None,
    json: bool = False,
) -> None:
    """Fits a simple classifier on frozen features of a run, also with few labelled patients, and evaluates it.

    The classifier is fitted on the split train of a store and evaluated on its split test. The run itself stays as it
    is. Compare two runs with `ichformer compare` on the files predictions.csv of their probes.

    Args:
      run: Folder of a run, of an ensemble or of a pretraining.
      store: Store with the scans. By default the one that the run was trained on.
      label: Label of the store that the classifier is fitted for.
      method: The classifier: ridge is a linear one by ridge regression on the mean of a scan's slices, knn takes the
        votes of the 20 training scans with the most similar features, and attentive is a linear one on what a learned
        query reads of the slices.
      fractions: Shares of the labelled training patients to fit on, above 0 and up to 1. All of them are always taken
        too.
      draws: Number of draws of patients for each share below 1. More of them make the mean more exact.
      seed: Seed of the draws.
      out: Folder for probe.csv, probe.json and predictions.csv. By default nothing is written.
      json: Print one JSON object in place of text.
    """
    from ichformer.evaluation.probes.text import format_probe
    from ichformer.inference.trained import training_store
    from ichformer.training.process import own_process
    from ichformer.workflows.features.probe_run import probe as probe_run

    own_process()
    found = probe_run(
        run,
        store or training_store(run),
        label=label,
        method=method,
        fractions=fractions,
        draws=draws,
        seed=seed,
        out=out,
    )
    text = format_probe(found) + ("" if out is None else f"\n\nfolder: {shown(out)}")
    print_result(found.to_json(), text, as_json=json)
