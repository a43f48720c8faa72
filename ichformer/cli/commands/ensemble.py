"""``ichformer ensemble``."""

from pathlib import Path
from typing import Literal

from ichformer.cli.printing import print_result
from ichformer.errors import InputError
from ichformer.files.writing import path_text, shown


def ensemble(
    runs: tuple[Path, ...],
    /,
    *,
    out: Path,
    store: Path | None = None,
    split: str = "val",
    weights: Literal["fitted", "equal"] = "fitted",
    snapshots: Literal["one", "average", "members"] = "one",
    flip: bool = False,
    reverse: bool = False,
    json: bool = False,
) -> None:
    """Combines several runs into an ensemble, which is used like a run.

    The ensemble averages the logits of its members with weights that are fitted on the validation split.

    Args:
      runs: Folders of the runs. They have to be classifiers whose scans were prepared in the same way.
      out: Folder of the ensemble. It does not need the folders of the runs afterwards.
      store: Store with the scans that fit the weights. By default the one that the first run was trained on.
      split: Split of the store that fits the weights and on which thresholds are chosen.
      weights: Weights of the members: fitted makes the log loss on the split as small as possible, equal gives all the
        same. Take equal where the split has few scans.
      snapshots: Checkpoints of each run that are used: one, as evaluate takes it; the average of all that were kept; or
        all of them as members.
      flip: Also score each scan with left and right exchanged, and average. It takes twice the time.
      reverse: Also score each scan from top to bottom, and average. Use it for runs that were trained with
        --data.augmentation.reverse-slices.
      json: Print one JSON object in place of text.
    """
    from ichformer.inference.trained import training_store
    from ichformer.training.process import own_process
    from ichformer.workflows.make_ensemble import format_ensemble, make_ensemble

    own_process()
    if not runs:
        raise InputError("names no run", where="ensemble", fix="name the folders of two or more")
    made = make_ensemble(
        runs,
        store or training_store(runs[0]),
        out,
        split=split,
        weighting=weights,
        snapshots=snapshots,
        views=("plain", *(("flip",) if flip else ()), *(("reverse",) if reverse else ())),
    )
    print_result(
        {"ensemble": path_text(out), **made.to_json()},
        f"{format_ensemble(made)}\nnext: ichformer evaluate {shown(out)}",
        as_json=json,
    )
