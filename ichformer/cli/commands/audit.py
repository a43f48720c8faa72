"""``ichformer audit``."""

from pathlib import Path

from ichformer.cli.printing import print_result
from ichformer.files.writing import shown


def audit(
    run: Path,
    /,
    *,
    store: Path | None = None,
    split: str = "test",
    label: str = "any",
    out: Path | None = None,
    seed: int = 0,
    json: bool = False,
) -> None:
    """Says whether a run's scores come from something that is not blood: marks, table, tubes, skull or kernel.

    Each of these is exchanged between the scans of a split, and the scores are compared. At most 200 scans are taken.
    What the scans cannot tell is called "not audited" or "cannot tell".

    Args:
      run: Folder of a run or of an ensemble.
      store: Store whose scans are audited. By default the one that the run was trained on.
      split: The split to audit.
      label: Label whose score of the scan is audited.
      out: Folder for audit.json and audit.png. By default RUN/audit, or a folder beside a bundle.
      seed: Seed of everything random.
      json: Print one JSON object in place of text.
    """
    from ichformer.inference.trained import training_store
    from ichformer.reporting.explanation.audit import format_audit
    from ichformer.training.process import own_process
    from ichformer.training.runs.opening.run_folder import folder_beside
    from ichformer.workflows.explanations.audit_run import audit as audit_run

    own_process()
    store = store or training_store(run)
    out = out or folder_beside(run, "audit")
    found = audit_run(run, store, out, split=split, label=label, seed=seed)
    print_result(found.to_json(), f"{format_audit(found)}\n\npicture: {shown(out / 'audit.png')}", as_json=json)
