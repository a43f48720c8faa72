"""A run over a store's masks: the frozen thresholds of its lesion map, and the table of lesions."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float32, UInt8

from ichformer.cohorts.mask_labels import label_mask, lesion_of
from ichformer.evaluation.lesions.fixing import SeenLabel, fix_label, see_label
from ichformer.evaluation.lesions.rows import COLUMNS, lesion_rows, row_without_figures
from ichformer.evaluation.thresholds import json_bytes
from ichformer.files.lease import Held
from ichformer.files.sets import write_set
from ichformer.inference.lesions import lesion_map
from ichformer.inference.trained import Trained
from ichformer.lesions.frozen import LESIONS_NAME, FrozenLesions, frozen_values, read_frozen_lesions
from ichformer.lesions.grid import Grid
from ichformer.pipeline.store.records import Store
from ichformer.workflows.parts.frozen import is_trained_now
from ichformer.workflows.parts.over_store import scan_ids

NO_MASK = "the scan has no mask"
"""Why a scan has no figures of lesions."""

NO_SUBTYPES = "the mask does not tell labels apart"
"""Why a scan has no figures of a subtype's lesions."""


def frozen_lesions(run: Trained, store: Store, split: str = "val") -> FrozenLesions | None:
    """The thresholds of a run's lesion map: those kept in its folder, or fixed on a split now and kept there.

    Nothing is kept while the run is being trained.

    Returns:
      None where the run has no lesion map, or the split no scan with a mask.
    """
    labels, file = _labels(run), run.path / LESIONS_NAME
    if not labels:
        return None
    if file.exists() and not is_trained_now(run):
        return read_frozen_lesions(file, model=run.fingerprint)
    if split not in set(store.index["split"]):
        return None
    seen: dict[str, list[SeenLabel]] = {label: [] for label in labels}
    for scan in _scans(run, store, split):
        for label in labels:
            if (truth := scan.truth(label)) is not None:
                seen[label].append(see_label(scan.ids["patient"], truth, scan.probability(label), scan.grid))
    fixed = [one for label, scans in seen.items() if scans and (one := fix_label(label, scans)) is not None]
    if not fixed:
        return None
    patients = {one.patient for scans in seen.values() for one in scans}
    frozen = FrozenLesions(split=split, n_patients=len(patients), labels=tuple(fixed), model=run.fingerprint)
    if not is_trained_now(run):
        with contextlib.suppress(Held):
            write_set({LESIONS_NAME: json_bytes(frozen_values(frozen))}, run.path, what="evaluation")
    return frozen


def lesion_table(
    run: Trained, store: Store, split: str, frozen: FrozenLesions, *, unscored: Mapping[str, str]
) -> pd.DataFrame:
    """The table of lesions of a split (``evaluation.lesions.rows``).

    Args:
      run: with a lesion map.
      store: prepared scans, some of them with masks.
      split: which of them.
      frozen: the thresholds.
      unscored: the scans that are not scored, and why, by series.
    """
    rows: list[dict[str, object]] = []
    for row in store.rows(split):
        ids = scan_ids(store, int(row))
        if reason := unscored.get(ids["series"], "" if store.index.iloc[row]["has_mask"] else NO_MASK):
            rows += [row_without_figures(ids, one.label, reason) for one in frozen.labels]
            continue
        scan = _scan(run, store, int(row))
        for one in frozen.labels:
            truth = scan.truth(one.label)
            if truth is None:
                rows.append(row_without_figures(ids, one.label, NO_SUBTYPES))
            else:
                rows += lesion_rows(ids, truth, scan.probability(one.label), scan.grid, one)
    return pd.DataFrame(rows, columns=list(COLUMNS))


@dataclass(frozen=True, kw_only=True, eq=False)
class _Scan:
    """One prepared scan with its lesion map and the labels of its mask."""

    ids: Mapping[str, str]
    names: Sequence[str]
    grid: Grid
    mask: UInt8[np.ndarray, "s h w"]
    maps: Float32[np.ndarray, "s h w labels"]

    def truth(self, label: str) -> Bool[np.ndarray, "s h w"] | None:
        """The voxels with a lesion of a label; None where the mask does not say."""
        return lesion_of(label, self.mask, self.names)

    def probability(self, label: str) -> Float32[np.ndarray, "s h w"]:
        """The lesion map of a label."""
        return self.maps[..., self.names.index(label)]


def _scans(run: Trained, store: Store, split: str) -> Iterator[_Scan]:
    for row in store.rows(split):
        if store.index.iloc[row]["has_mask"]:
            yield _scan(run, store, int(row))


def _scan(run: Trained, store: Store, row: int) -> _Scan:
    prepared = store.read(row)
    assert prepared.mask is not None
    return _Scan(
        ids=scan_ids(store, row),
        names=run.objective.label_set.names,
        grid=Grid.of(prepared.volume),
        mask=label_mask(prepared.mask, str(store.index.iloc[row]["cohort"])),
        maps=lesion_map(run.objective, run.variables, prepared.volume, prepared.volume),
    )


def _labels(run: Trained) -> tuple[str, ...]:
    return () if run.trained_outputs is None else run.trained_outputs.lesion
