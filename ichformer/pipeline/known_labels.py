"""Counts the known labels of a split, as the loader gives them, and finds the scans that are read whole."""

import functools
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from ichformer.errors import one_line
from ichformer.pipeline.preparation.facts import FACTS_NAME, ScanFacts, SliceCounts, count_slices, read_facts
from ichformer.pipeline.store.mixture import folders_of
from ichformer.pipeline.store.records import Store


@dataclass(frozen=True, kw_only=True)
class LabelCounts:
    """How often a label is known in a split."""

    positive_scans: int
    negative_scans: int
    positive_slices: int
    negative_slices: int

    @property
    def is_known(self) -> bool:
        """Whether anything is known of any scan or slice."""
        return any(asdict(self).values())

    @property
    def has_both_scans(self) -> bool:
        """Whether positive and negative scans are known."""
        return self.positive_scans > 0 and self.negative_scans > 0

    @property
    def has_both_slices(self) -> bool:
        """Whether positive and negative slices are known."""
        return self.positive_slices > 0 and self.negative_slices > 0


@dataclass(frozen=True, kw_only=True)
class TargetCounts:
    """How often a target is known in a split, and which values it has.

    Attributes:
      known_scans, known_slices: how many.
      scan_mean, slice_mean: mean of the values; 0 where nothing is known.
      scan_spread, slice_spread: their standard deviation; 0 where there are no two different values.
      lowest, median, highest: of the values of scans, or of slices where no scan's is known; None where nothing is.
    """

    known_scans: int
    known_slices: int
    scan_mean: float
    slice_mean: float
    scan_spread: float
    slice_spread: float
    lowest: float | None
    median: float | None
    highest: float | None

    @property
    def is_known(self) -> bool:
        """Whether anything is known of any scan or slice."""
        return self.known_scans > 0 or self.known_slices > 0


@dataclass(frozen=True, kw_only=True)
class KnownLabels:
    """What is known of the labels of a split that a training uses.

    Attributes:
      split: its name.
      n_scans: of the split.
      counts: by label, in the order of ``LabelSet.names``.
      targets: by target, in the order of ``LabelSet.targets``.
      whole_scans: how many scans are seen whole or evenly thinned (``whole_rows``).
      thinned_scans: how many of those are longer than a training scan.
      most_slices: slices of the longest of them.
    """

    split: str
    n_scans: int
    counts: dict[str, LabelCounts]
    targets: dict[str, TargetCounts]
    whole_scans: int
    thinned_scans: int
    most_slices: int

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def whole_rows(store: Store, split: str) -> frozenset[int]:
    """Returns the rows of scans that have to be read whole (``slabs.plan_whole``) so that their labels stay true.

    A positive scan needs it where no slice is known to show the bleed and some slices are unknown: of a run of its
    slices nobody could say whether it bleeds. All scans of the same origin are then read alike. Otherwise the
    distance of slices would show which scans are positive, as slices of negative scans are all known to be negative.

    A scan whose target is known needs it too: a volume is that of the whole scan.
    """
    labels, positive, negative, _ = _labels_and_slices(store, split)
    rows = store.rows(split)
    n_slices = np.asarray(store.n_slices)[rows]
    needs = ((labels == 1) & (positive == 0) & (negative < n_slices[:, None])).any(1)
    needs |= _scan_targets(store, rows).notna().to_numpy().any(1)
    origins = store.index["origin"].to_numpy()[rows]
    return frozenset(rows[np.isin(origins, origins[needs])].tolist())


def known_labels(store: Store, split: str, *, num_slices: int) -> KnownLabels:
    """Counts the scans and slices of a split that are known positive and negative, as the loader gives them.

    A scan counts as positive where a training example of it can be: where it is seen whole, or a slice is known to be.
    A slice counts once, however many slices an example takes. Dropped slices and other random changes are left out.

    Args:
      store: prepared scans.
      split: which of them.
      num_slices: slices of a training example.
    """
    labels, positive, negative, slice_targets = _labels_and_slices(store, split)
    rows, whole = store.rows(split), whole_rows(store, split)
    n_slices = np.asarray(store.n_slices)[rows]
    is_whole = np.array([row in whole for row in rows.tolist()])
    of_slices = np.where(positive > 0, 1.0, np.where(negative == n_slices[:, None], 0.0, np.nan))
    of_slices = np.where(labels == 0, 0.0, of_slices)
    scans = np.where((is_whole | (n_slices <= num_slices))[:, None], labels, of_slices)
    counts = {
        name: LabelCounts(
            positive_scans=int((scans[:, i] == 1).sum()),
            negative_scans=int((scans[:, i] == 0).sum()),
            positive_slices=int(positive[:, i].sum()),
            negative_slices=int(negative[:, i].sum()),
        )
        for i, name in enumerate(store.label_set.names)
    }
    targets = {
        name: _count_target(values.dropna().to_numpy(), slice_targets[i])
        for i, (name, values) in enumerate(_scan_targets(store, rows).items())
    }
    return KnownLabels(
        split=split,
        n_scans=len(rows),
        counts=counts,
        targets=targets,
        whole_scans=len(whole),
        thinned_scans=int((n_slices[is_whole] > num_slices).sum()),
        most_slices=int(n_slices[is_whole].max(initial=0)),
    )


def format_known_labels(known: KnownLabels) -> str:
    """Formats the counts as a table for the terminal, and says how scans without labels of slices are read."""
    lines = [f"labels known in the split {one_line(known.split)!r}, {known.n_scans} scans:"]
    lines.append(_row("", "scans with", "without", "slices with", "without"))
    for name, count in known.counts.items():
        values = (count.positive_scans, count.negative_scans, count.positive_slices, count.negative_slices)
        lines.append(_row(name, *(f"{value:,}" for value in values)))
    if known.targets:
        lines.append(_row("", "scans", "slices", "lowest", "median", "highest"))
    for name, target in known.targets.items():
        numbers = ("" if v is None else f"{v:.4g}" for v in (target.lowest, target.median, target.highest))
        lines.append(_row(name, f"{target.known_scans:,}", f"{target.known_slices:,}", *numbers))
    if known.whole_scans:
        scans = f"{known.whole_scans} of {known.n_scans} scans" if known.whole_scans < known.n_scans else "all scans"
        lines.append(
            f"The labels of {scans} are known of the whole scan only. They are seen whole; none of their slices are "
            "dropped or cut out."
        )
    if known.thinned_scans:
        lines.append(
            f"{known.thinned_scans} of them have more than --data.num-slices slices, up to {known.most_slices}, and "
            "give that many, evenly spaced. A bleed between two of these is missed: a larger number misses less and "
            "takes more memory."
        )
    return "\n".join(lines)


def _row(name: str, *cells: str) -> str:
    return f"  {name:<18}" + "".join(f"{cell:>12}" for cell in cells)


def _scan_targets(store: Store, rows: Int[np.ndarray, "n"]) -> pd.DataFrame:
    return store.index[list(store.label_set.targets)].iloc[rows]


def _count_target(of_scans: Float[np.ndarray, "n"], of_slices: Float[np.ndarray, "m"]) -> TargetCounts:
    values = of_scans if len(of_scans) else of_slices
    lowest, median, highest = np.quantile(values, (0, 0.5, 1)).tolist() if len(values) else [None] * 3
    (scan_mean, scan_spread), (slice_mean, slice_spread) = map(_mean_and_spread, (of_scans, of_slices))
    return TargetCounts(
        known_scans=len(of_scans),
        known_slices=len(of_slices),
        scan_mean=scan_mean,
        slice_mean=slice_mean,
        scan_spread=scan_spread,
        slice_spread=slice_spread,
        lowest=lowest,
        median=median,
        highest=highest,
    )


def _mean_and_spread(values: Float[np.ndarray, "n"]) -> tuple[float, float]:
    if not len(values):
        return 0.0, 0.0
    # Of equal values rounding would leave a spread.
    return float(values.mean()), float(values.std()) if values.min() < values.max() else 0.0


@functools.lru_cache(maxsize=4)
def _labels_and_slices(
    store: Store, split: str
) -> tuple[
    Float[np.ndarray, "n labels"],
    Int[np.ndarray, "n labels"],
    Int[np.ndarray, "n labels"],
    list[Float[np.ndarray, "m"]],
]:
    """Collects what is known of the scans and slices of a split.

    The labels of each scan; how many of its slices are known positive and negative for each label; for each target its
    known values of slices. From what preparation noted of each scan; a record is opened only where nothing was noted.
    """
    rows, label_set = store.rows(split), store.label_set
    n_names = len(label_set.names)
    hashes = store.index["sha256"].tolist()
    noted: dict[str, ScanFacts] = {}
    for folder in folders_of(store):
        noted |= read_facts(folder / FACTS_NAME, hashes, label_set)
    positive, negative = np.zeros((2, len(rows), n_names), np.int64)
    targets: list[list[float]] = [[] for _ in label_set.targets]
    for i, row in enumerate(rows.tolist()):
        if (facts := noted.get(hashes[row])) is not None:
            counts = SliceCounts(facts.positive_slices, facts.negative_slices, facts.slice_targets)
        else:
            counts = count_slices(store.header(row).slice_labels, label_set)
        positive[i], negative[i] = counts.positive, counts.negative
        for known, values in zip(targets, counts.targets, strict=True):
            known += values
    labels = store.index[list(label_set.names)].to_numpy(np.float64)[rows]
    return labels, positive, negative, [np.array(known, np.float64) for known in targets]
