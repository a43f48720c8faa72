"""Robustness: the AUROC that a model loses on corrupted scans."""

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Integer

from ichformer.ct.corruptions import CORRUPTIONS, SEVERITIES, Severity, corrupt
from ichformer.ct.geometry.spacing import labels_of_slabs
from ichformer.errors import one_line
from ichformer.evaluation.subgroups import auroc_estimate
from ichformer.evaluation.summary import bootstrap_note
from ichformer.evaluation.tables.not_scored import NotScored, not_scored, said_of
from ichformer.evaluation.tables.table import CheckedTable, Level, LevelName, levels, only_split
from ichformer.pipeline.store.records import PreparedScan, Store
from ichformer.statistics.bootstrap import auroc_statistic, bootstrap
from ichformer.statistics.estimates import estimate_of
from ichformer.statistics.intervals import Estimate
from ichformer.statistics.metrics import Vector

Key = tuple[str, Severity]
"""A corruption and its severity."""


@dataclass(frozen=True, kw_only=True)
class CorruptedStore(Store):
    """A store whose scans are corrupted as they are read. Its index stays that of the clean scans.

    The scans are corrupted after preparation: framed, straightened and on the store's grid, as the model sees them. So
    ``tilt`` stands for a tilt that was not removed, and ``field_of_view`` for a head that was not found. Noise and
    sharpness change only as far as the store's pixels can hold it.

    Attributes:
      corruption: a name of ``ct.corruptions.CORRUPTIONS``.
      severity: 1 to 5.
      seed: every scan draws its own numbers from it and from its series' name.
    """

    corruption: str
    severity: Severity
    seed: int

    def read(self, row: int, *, slices: Any = None) -> PreparedScan:
        """Read a whole scan and corrupt it. It may have fewer slices than the index says, never more."""
        if slices is not None:
            raise ValueError("a corrupted scan is read whole")
        scan = super().read(row)
        seed = (self.seed, zlib.crc32(self.index["series"].iloc[row].encode()))
        worse = corrupt(scan.volume, self.corruption, self.severity, seed=seed, mask=scan.mask)
        return replace(
            scan,
            volume=worse.volume,
            mask=worse.mask,
            slice_labels=labels_of_slabs(scan.slice_labels, worse.weights, num_targets=len(self.label_set.targets)),
        )


def corrupted(store: Store, key: Key, *, seed: int = 0) -> CorruptedStore:
    """The store with a corruption that is applied as scans are read."""
    return CorruptedStore(
        path=store.path,
        config=store.config,
        index=store.index,
        label_set=store.label_set,
        recipe=store.recipe,
        corruption=key[0],
        severity=key[1],
        seed=seed,
    )


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One corruption at one severity: the AUROC, and how much lower it is than on the clean scans."""

    corruption: str
    severity: int
    value: float
    unit: str
    auroc: Estimate
    loss: Estimate


@dataclass(frozen=True, kw_only=True)
class LevelRobustness:
    """The figures of one level.

    Attributes:
      level: "slice" or "scan".
      n: clean rows with a known label; thicker or missing slices leave fewer of them.
      n_positive: of those.
      n_positive_patients: patients with a positive row.
      clean: the AUROC without corruption.
      cells: every corruption at every severity.
      by_corruption: mean loss over the severities.
      mean_loss: over all cells: the lower, the more robust.
    """

    level: LevelName
    n: int
    n_positive: int
    n_positive_patients: int
    clean: Estimate
    cells: tuple[Cell, ...]
    by_corruption: dict[str, Estimate]
    mean_loss: Estimate


@dataclass(frozen=True, kw_only=True)
class Unfamiliar:
    """The out-of-distribution score of one corruption.

    Attributes:
      corruption: its name, "" for the clean scans.
      severity: 1 to 5, 0 for the clean scans.
      median_percentile: median over the scans of the percentile of their distance among those of validation.
      auroc: how well the distance separates these scans from the same scans clean; None for the clean ones.
    """

    corruption: str
    severity: int
    median_percentile: float
    auroc: float | None


@dataclass(frozen=True, kw_only=True)
class Robustness:
    """Every figure of a corruption benchmark.

    Attributes:
      label: whose AUROC it is.
      split: the split that was evaluated.
      replicates: resamples of patients behind each interval of a loss.
      seed: of resamples and corruptions.
      levels: slices, where their labels are known, and scans.
      not_scored: rows that have no score and are in no figure, with the reasons.
      ood: the out-of-distribution scores; empty where the run has none.
    """

    label: str
    split: str
    replicates: int
    seed: int
    levels: tuple[LevelRobustness, ...]
    not_scored: tuple[NotScored, ...] = ()
    ood: tuple[Unfamiliar, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON; None is "not estimable"."""
        return asdict(self)


def summarise_robustness(
    clean: CheckedTable, worse: Mapping[Key, CheckedTable], *, replicates: int = 1000, seed: int = 0
) -> Robustness:
    """Compare the predictions for corrupted scans with those for the same scans clean.

    The AUROC is that of the label "any" where there is one, or else of the first label.

    The loss of AUROC stands for the corruption error of Hendrycks and Dietterich (Benchmarking Neural Network
    Robustness to Common Corruptions and Perturbations, ICLR 2019), whose mean over corruptions and severities is theirs
    without a second model to divide by. Intervals of AUROCs are DeLong's, those of losses are of a BCa bootstrap that
    draws patients, clean and corrupted scans together.

    Args:
      clean: predictions of one split.
      worse: predictions for the same scans corrupted, by corruption and severity.
      replicates: resamples.
      seed: of the resamples.

    Raises:
      InputError: the table holds several splits.
    """
    split, found = only_split(clean), []
    column = clean.labels.index("any") if "any" in clean.labels else 0
    for level in levels(clean):
        others = {key: next(one for one in levels(table) if one.name == level.name) for key, table in worse.items()}
        found.append(_summarise_level(level, others, column, replicates=replicates, seed=seed))
    return Robustness(
        label=clean.labels[column],
        split=split,
        replicates=replicates,
        seed=seed,
        levels=tuple(found),
        not_scored=not_scored(clean),
    )


def _summarise_level(
    level: Level, worse: Mapping[Key, Level], column: int, *, replicates: int, seed: int
) -> LevelRobustness:
    n_patients = int(level.patients.max()) + 1
    columns = [_column(one, column) for one in (level, *worse.values())]
    resampled = bootstrap(
        [auroc_statistic(*rows) for rows in columns],
        n_patients=n_patients,
        replicates=replicates,
        seed=seed,
        jackknife=True,
    )

    def loss(keys: list[Key]) -> Estimate:
        """The clean AUROC minus the mean of some others."""
        at = np.array([1 + list(worse).index(key) for key in keys])
        return estimate_of(resampled, lambda v: v[..., 0] - v[..., at].mean(-1), n_patients=n_patients)

    truth, _, patients, _ = columns[0]
    names = list(dict.fromkeys(name for name, _ in worse))
    return LevelRobustness(
        level=level.name,
        n=int(np.sum(~np.isnan(truth))),
        n_positive=int(np.sum(truth == 1)),
        n_positive_patients=np.unique(patients[truth == 1]).size,
        clean=auroc_estimate(*columns[0]),
        cells=tuple(
            Cell(
                corruption=name,
                severity=severity,
                value=CORRUPTIONS[name].levels[severity - 1],
                unit=CORRUPTIONS[name].unit,
                auroc=auroc_estimate(*rows),
                loss=loss([(name, severity)]),
            )
            for (name, severity), rows in zip(worse, columns[1:], strict=True)
        ),
        by_corruption={name: loss([key for key in worse if key[0] == name]) for name in names},
        mean_loss=loss(list(worse)),
    )


def _column(level: Level, i: int) -> tuple[Vector, Vector, Integer[np.ndarray, " n"], Vector]:
    return level.labels[:, i], level.scores[:, i], level.patients, level.weights


def format_robustness(found: Robustness) -> str:
    """Format the loss of AUROC by corruption and severity, and its mean with an interval, as a table for each level."""
    blocks = [_format_level(level, found) for level in found.levels]
    notes = [bootstrap_note(found.replicates, found.seed)]
    if found.ood:
        notes += [
            "Out-of-distribution score: the median percentile among validation scans at each severity, and the AUROC",
            "of scans at severity 5 against clean scans:",
            *_format_ood(found.ood),
        ]
    notes += [f"! {said}" for said in said_of(found.not_scored)]
    return "\n\n".join([*blocks, "\n".join(f"  {note}" for note in notes)])


def _format_level(level: LevelRobustness, found: Robustness) -> str:
    title = f"{level.level} level on split {one_line(found.split)}, {found.label}: AUROC {_figure(level.clean)}"
    head = f"  {'AUROC lost at severity':<24}{''.join(f'{s:>8}' for s in SEVERITIES)}    mean"
    lines = [f"{title}, {level.n_positive} of {level.n} positive", head]
    losses = {(cell.corruption, cell.severity): cell.loss for cell in level.cells}
    for name, mean in level.by_corruption.items():
        cells = (losses.get((name, severity)) for severity in SEVERITIES)
        lines.append(f"  {name:<24}{''.join(f'{_short(cell):>8}' for cell in cells)}    {_figure(mean)}")
    return "\n".join([*lines, f"  {'mean':<64}    {_figure(level.mean_loss)}"])


def _format_ood(ood: tuple[Unfamiliar, ...]) -> Iterator[str]:
    medians = {(one.corruption, one.severity): one.median_percentile for one in ood}
    aurocs = {(one.corruption, one.severity): one.auroc for one in ood}
    yield f"  {'clean':<22}{medians[('', 0)]:>8.0f}"
    for name in dict.fromkeys(one.corruption for one in ood if one.corruption):
        worst = aurocs[(name, max(SEVERITIES))]
        said = "" if worst is None else f"    {worst:.2f}"
        yield f"  {name:<22}{''.join(f'{medians[(name, severity)]:>8.0f}' for severity in SEVERITIES)}{said}"


def _short(estimate: Estimate | None) -> str:
    return "-" if estimate is None or estimate.value is None else f"{estimate.value:+.3f}"


def _figure(estimate: Estimate) -> str:
    if estimate.value is None:
        return "not estimable"
    if estimate.interval is None:
        return f"{estimate.value:.3f} (no interval)"
    return f"{estimate.value:.3f} ({estimate.interval.low:.3f} to {estimate.interval.high:.3f})"
