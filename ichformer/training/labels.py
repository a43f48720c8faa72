"""Which labels a classifier is trained for, decided before the first step from what is known of its training scans."""

import dataclasses
import json
from collections.abc import Collection
from pathlib import Path
from typing import get_args

from ichformer.errors import InputError, one_line
from ichformer.files.json_files import read_json
from ichformer.files.writing import write_text
from ichformer.objectives.base import Objective
from ichformer.objectives.classification import Classification, Level
from ichformer.pipeline.known_labels import KnownLabels, LabelCounts, TargetCounts, format_known_labels, known_labels
from ichformer.pipeline.label_statistics import scan_statistics, slice_statistics
from ichformer.pipeline.lesions import labels_with_lesions
from ichformer.pipeline.store.records import Store
from ichformer.training.config import TrainConfig
from ichformer.training.runs.outputs import RecordedOutputs

LABELS_NAME = "labels.json"
"""The file in the folder of a run with what is known of the labels of its training scans, and which were trained."""


def for_known_labels(objective: Objective, config: TrainConfig, store: Store) -> tuple[Objective, KnownLabels | None]:
    """The objective without the losses that nothing can be learnt from, and what is known of the labels.

    A label has a loss in slices where positive and negative slices are known of it, and a target where two different
    values are; in scans likewise. What the losses need to know of the split is measured. An objective that needs no
    labels comes back as it is, with None.

    Raises:
      InputError: the store has no such label, nothing is known of any label, none can be trained, or one that
        ``config.objective.labels`` names cannot.
    """
    if not isinstance(objective, Classification):
        return objective, None
    known = known_labels(store, config.data.split, num_slices=config.data.num_slices)
    asked = config.objective.labels or store.label_set.columns
    if unknown := [name for name in asked if name not in store.label_set.columns]:
        raise InputError(
            f"there is no label {one_line(unknown[0])!r} in {store.path}",
            where="--objective.labels",
            fix=f"choose of {', '.join(store.label_set.columns)}",
        )
    in_slices = {name for name, count in known.counts.items() if count.has_both_slices}
    in_slices |= {name for name, count in known.targets.items() if count.slice_spread > 0}
    in_scans = {name for name, count in known.counts.items() if count.has_both_scans}
    in_scans |= {name for name, count in known.targets.items() if count.scan_spread > 0}
    slice_labels = tuple(name for name in asked if name in in_slices)
    scan_labels = tuple(name for name in asked if name in in_scans and objective.scan_weight)
    trained = {*slice_labels, *scan_labels}
    lacking = [name for name in asked if name not in trained]
    counts = known.counts | known.targets
    if not any(count.is_known for count in counts.values()):
        raise InputError(
            f"no label of any scan or slice is known in the split {known.split!r}",
            where=store.path,
            fix="prepare the scans with their labels (prepare --labels), or pretrain without: --objective.name mae",
        )
    if lacking and (config.objective.labels or not trained):
        others = [name for name in asked if name in trained]
        leave = f"leave it out (--objective.labels {' '.join(others)}), or add" if others else "add"
        raise InputError(
            f"{_said(lacking[-1], counts[lacking[-1]])} in the split {known.split!r}",
            where="--objective.labels" if config.objective.labels else store.path,
            fix=f"{leave} labelled scans: training needs positives and negatives"
            + ", and different values of each target" * bool(known.targets),
        )
    objective = dataclasses.replace(objective, slice_labels=slice_labels, scan_labels=scan_labels)
    if objective.lesion_weight:
        objective = dataclasses.replace(objective, lesion_labels=_lesion_labels(store, config.data.split, asked))
    if store.label_set.targets or objective.loss_name == "logit_adjusted":
        objective = dataclasses.replace(
            objective, slice_statistics=slice_statistics(known), scan_statistics=scan_statistics(known)
        )
    return objective, known


def _lesion_labels(store: Store, split: str, asked: Collection[str]) -> tuple[str, ...]:
    """Those of the labels that masks or boxes of the split show; InputError where there are none."""
    shown = tuple(name for name in labels_with_lesions(store, split) if name in asked)
    if not shown:
        raise InputError(
            f"no mask and no box shows a lesion in the split {split!r}",
            where="--objective.lesion-weight",
            fix="leave it and --model.lesions out, or prepare scans with masks or boxes",
        )
    return shown


def format_labels(known: KnownLabels, objective: Objective) -> str:
    """What is known of each label, and which are not trained, for the terminal."""
    assert isinstance(objective, Classification)
    trained = {*objective.labels_with_loss("slice"), *objective.labels_with_loss("scan")}
    left_out = [_said(name, count) for name, count in (known.counts | known.targets).items() if name not in trained]
    lines = [format_known_labels(known)]
    if left_out:
        lines.append(f"Not trained: {'; '.join(left_out)}.")
    if objective.labels_with_loss("scan") and not objective.labels_with_loss("slice"):
        lines.append(
            "No label has a loss in slices: positive and negative slices are known of none. Slices have scores only if "
            "those of the scan are made of them (--model.scan-pool max)."
        )
    return "\n".join(lines)


def write_labels(known: KnownLabels, objective: Objective, run: Path) -> None:
    """Writes ``LABELS_NAME`` into the folder of a run."""
    assert isinstance(objective, Classification)
    trained = {level: objective.labels_with_loss(level) for level in get_args(Level)}
    if objective.lesion_weight:
        trained["lesion"] = objective.labels_with_lesion_loss
    values = known.to_json() | {"trained": trained}
    write_text(json.dumps(values, indent=2) + "\n", run / LABELS_NAME)


def as_trained(objective: Classification, run: Path) -> Classification:
    """The objective with the losses that a run was trained with; as it is for a run that keeps no such record."""
    file = run / LABELS_NAME
    if not file.exists():
        return objective
    fix = "the file is damaged: restore it, or train again"
    trained = read_json(file, _Labels, fix=fix).trained
    try:
        lesion_labels = trained.lesion if objective.lesion_weight else None
        return dataclasses.replace(
            objective, slice_labels=trained.slice, scan_labels=trained.scan, lesion_labels=lesion_labels
        )
    except InputError as error:
        raise InputError(error.what, where=f"{file}, {error.where}", fix=fix) from None


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Labels:
    """What is read of ``LABELS_NAME``."""

    trained: RecordedOutputs


def _said(name: str, count: LabelCounts | TargetCounts) -> str:
    if not count.is_known:
        return f"{name} (nothing is known of it)"
    if isinstance(count, TargetCounts):
        return f"{name} (known of {count.known_scans} scans and {count.known_slices} slices, all the same value)"
    return (
        f"{name} (known of {count.positive_scans} positive and {count.negative_scans} negative scans, "
        f"{count.positive_slices} positive and {count.negative_slices} negative slices)"
    )
