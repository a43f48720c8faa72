"""``ichformer check-explanations``."""

from pathlib import Path

from ichformer.cli.printing import print_result

COMMON = ("store", "split", "method", "label")


def check_explanations(
    run: Path,
    /,
    *,
    store: Path | None = None,
    split: str = "val",
    method: tuple[str, ...] = ("hires_cam", "layer_cam", "input_x_gradient"),
    label: str = "any",
    scans: int = 40,
    steps: int = 10,
    seed: int = 0,
    json: bool = False,
) -> None:
    """Compares a run's explanations with noise and with the edges of the picture, and keeps the result in its folder.

    In scans with a bleed that the model finds, voxels are replaced in the order of each map. A method is better than
    noise and edges where the score falls sooner. After that, reports draw the best method, and no heat map where none
    is better.

    Args:
      run: Folder of a run or of an ensemble.
      store: Store whose scans are explained. By default the one that the run was trained on.
      split: The split whose scans are explained.
      method: Methods, as for `ichformer explain`.
      label: Label whose score is explained.
      scans: At most how many scans are explained. Each takes 20 to 30 predictions for each method.
      steps: Steps in which the voxels are replaced.
      seed: Seed of everything random.
      json: Print one JSON object in place of text.
    """
    from ichformer.explanations.checked import checked_values
    from ichformer.inference.trained import training_store
    from ichformer.training.process import own_process
    from ichformer.workflows.explanations.check_explanations import check_explanations as check

    own_process()
    store = store or training_store(run)
    found = check(run, store, methods=method, label=label, split=split, scans=scans, steps=steps, seed=seed)
    scans_of = f"{found.n_scans} scans of {found.n_patients} patients of the split {found.split!r}"
    lines = [f"{scans_of} have {found.label!r} and are found by the model"]
    for one in found.methods:
        said = f"{'' if one.is_better else 'not '}better than noise and edges"
        lines.append(
            f"{one.method}, level {one.level}: {said}; gain {one.gain} logits, over noise {one.over_random}, "
            f"over edges {one.over_edges}"
            + ("" if one.in_lesion is None else f"; highest voxel in the lesion {one.in_lesion}")
        )
    print_result(checked_values(found), "\n".join(lines), as_json=json)
