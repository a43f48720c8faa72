"""Cross-validation: a training for each fold of the patients and each seed, and how far their figures spread."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from ichformer.cohorts.splits import folds_by_patient
from ichformer.errors import InputError, one_line
from ichformer.evaluation.results import LevelSummary, Summary, TargetSummary
from ichformer.evaluation.summary import aligned
from ichformer.evaluation.tables.table import LevelName
from ichformer.evaluation.thresholds import write_json
from ichformer.pipeline.store.records import Store
from ichformer.pipeline.store.resplit import resplit
from ichformer.training.config import TrainConfig
from ichformer.workflows.evaluate_run import evaluate
from ichformer.workflows.train_run import train_and_freeze


@dataclass(frozen=True, kw_only=True)
class Spread:
    """One figure of one label over the runs.

    Attributes:
      level: slice or scan.
      label: a label, "macro" for the mean of the labels, or a target.
      figure: "auroc", "average_precision" or "log_loss"; of a target "mean_absolute_error" or "concordance".
      values: of each run in the order of ``CrossValidation.folders``; None where a run's is not estimable.
      mean: of those that are; None where none is.
      standard_deviation: of the same (n - 1); None with fewer than two. Runs share training scans, so it tells how far
        runs differ and is no standard error (Bengio & Grandvalet 2004).
    """

    level: LevelName
    label: str
    figure: str
    values: tuple[float | None, ...]
    mean: float | None
    standard_deviation: float | None


@dataclass(frozen=True, kw_only=True)
class CrossValidation:
    """What ``cross_validate`` found: the folder of each run, and the spread of each figure."""

    folds: int
    seeds: tuple[int, ...]
    folders: tuple[str, ...]
    spreads: tuple[Spread, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON; None is "not estimable"."""
        return asdict(self)


def cross_validate(
    config: TrainConfig,
    out: Path | str,
    *,
    folds: int = 5,
    seeds: int = 1,
    split_seed: int = 0,
    replicates: int = 2000,
    progress: bool = True,
) -> CrossValidation:
    """Train and evaluate a run for each fold and seed, each in a folder of its own; run again, it goes on.

    Every patient is evaluated by runs that never saw them: the folds divide the patients, and thresholds are frozen on
    a part of the others. Writes ``folds.json`` beside ``fold-00/seed-0``, ..., which hold run and evaluation.

    Args:
      config: what each run is told; its seed is the first of the seeds.
      out: the folder.
      folds: parts of the patients, at least 2.
      seeds: runs of each fold.
      split_seed: of the folds.
      replicates: resamples of each evaluation.
      progress: bars on standard error.

    Raises:
      InputError: fewer than two folds or one seed, or a training or an evaluation objects.
    """
    out = Path(out)
    if seeds < 1:
        raise InputError(f"{seeds} runs of each fold", where="--seeds", fix="take at least 1")
    store = Store.open(config.data.store)
    numbers = tuple(range(config.seed, config.seed + seeds))
    summaries: dict[str, Summary] = {}
    for fold, index in enumerate(
        folds_by_patient(store.index, folds=folds, seed=split_seed, label_set=store.label_set)
    ):
        part = resplit(store, index["split"], out / f"fold-{fold:02d}" / "store")
        for seed in numbers:
            name = f"fold-{fold:02d}/seed-{seed}"
            own = replace(config, seed=seed, data=replace(config.data, store=str(part.path)))
            train_and_freeze(own, out / name / "run", progress=progress)
            summaries[name] = evaluate(out / name / "run", part.path, out / name / "evaluation", replicates=replicates)
    found = CrossValidation(
        folds=folds, seeds=numbers, folders=tuple(summaries), spreads=tuple(_spreads(list(summaries.values())))
    )
    write_json(found.to_json(), out / "folds.json")
    return found


def spread(level: LevelName, label: str, figure: str, values: Sequence[float | None]) -> Spread:
    """The mean and the standard deviation of what is estimable among ``values``."""
    known = [value for value in values if value is not None]
    return Spread(
        level=level,
        label=label,
        figure=figure,
        values=tuple(values),
        mean=fmean(known) if known else None,
        standard_deviation=stdev(known) if len(known) > 1 else None,
    )


def _spreads(summaries: list[Summary]) -> Iterator[Spread]:
    by_name: dict[LevelName, list[LevelSummary]] = {}
    for level in (level for summary in summaries for level in summary.levels):
        by_name.setdefault(level.level, []).append(level)  # a run may have no score of a level
    for name, levels in by_name.items():
        for labels in zip(*(level.labels for level in levels), strict=True):
            for figure in ("auroc", "average_precision", "log_loss"):
                yield spread(name, labels[0].label, figure, [getattr(label, figure).value for label in labels])
        yield spread(name, "macro", "auroc", [level.macro_auroc.value for level in levels])
        yield spread(name, "macro", "average_precision", [level.macro_average_precision.value for level in levels])
        yield spread(name, "macro", "log_loss", [level.macro_log_loss.value for level in levels])
    of_target: dict[tuple[LevelName, str], list[TargetSummary]] = {}
    for target in (target for summary in summaries for target in summary.targets):
        of_target.setdefault((target.level, target.target), []).append(target)
    for (name, label), targets in of_target.items():
        for figure in ("mean_absolute_error", "concordance"):
            yield spread(name, label, figure, [getattr(target, figure).value for target in targets])


def format_cross_validation(found: CrossValidation) -> str:
    """A table a level: the mean of each figure over the runs, its standard deviation, and of how many runs."""
    tables = []
    for level in dict.fromkeys(one.level for one in found.spreads):
        by_label: dict[str, dict[str, Spread]] = {}
        for one in found.spreads:
            if one.level == level:
                by_label.setdefault(one.label, {})[one.figure] = one
        title = (
            f"{level} level: mean and standard deviation over {len(found.folders)} runs "
            f"({found.folds} folds, {len(found.seeds)} seed{'s' * (len(found.seeds) > 1)})"
        )
        tables.append(title)
        for figures in dict.fromkeys(map(tuple, by_label.values())):  # targets have figures of their own
            rows: list[Sequence[str]] = [["label", *(figure.replace("_", " ") for figure in figures)]]
            rows += [
                [one_line(label), *map(_figure, of_label.values())]
                for label, of_label in by_label.items()
                if (*of_label,) == figures
            ]
            tables[-1] = "\n".join([tables[-1], *aligned(rows)])
    return "\n\n".join(tables)


def _figure(one: Spread) -> str:
    if one.mean is None:
        return "not estimable"
    known = sum(value is not None for value in one.values)
    of_some = "" if known == len(one.values) else f" ({known} runs)"
    deviation = "" if one.standard_deviation is None else f" ± {one.standard_deviation:.3f}"
    return f"{one.mean:.3f}{deviation}{of_some}"
