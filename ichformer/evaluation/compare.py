"""Comparison of models on the same scans: differences with intervals and p values corrected for several labels."""

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ichformer.errors import InputError, one_line
from ichformer.evaluation.comparison.correction import corrected
from ichformer.evaluation.comparison.level import Frozen, LevelComparison, compare_level
from ichformer.evaluation.comparison.pairing import paired
from ichformer.evaluation.results import rounded
from ichformer.evaluation.tables.files import Source, open_table
from ichformer.evaluation.tables.not_scored import NotScored, not_scored
from ichformer.evaluation.tables.table import CheckedTable, LevelName, levels
from ichformer.evaluation.thresholds import Thresholds, as_thresholds
from ichformer.settings import as_names, fit
from ichformer.statistics.bootstrap import check_draws


@dataclass(frozen=True, kw_only=True, repr=False)
class Comparison:
    """The comparison of one candidate with the reference.

    Attributes:
      reference: name of the model that the other is compared with.
      candidate: name of the other.
      margin: of non-inferiority, as a difference of AUROCs; None where none was named.
      replicates: resamples of patients behind each bootstrap interval.
      seed: of the resamples.
      levels: those for which every model has scores.
      not_scored: rows for which one of the models has no score; they are in no figure of any model.
    """

    reference: str
    candidate: str
    margin: float | None
    replicates: int
    seed: int
    levels: tuple[LevelComparison, ...]
    not_scored: tuple[NotScored, ...]

    def __repr__(self) -> str:
        """Two lines: what was compared, and the differences of AUROCs at the last level, which is that of scans."""
        level = self.levels[-1]
        values = [(each.label, None if each.auroc is None else each.auroc.value) for each in level.labels]
        differences = [f"{one_line(label)} {rounded(value, '+.3f')}" for label, value in values]
        return (
            f"Comparison: {one_line(self.candidate)} minus {one_line(self.reference)}, "
            f"{level.n} {level.level}s of {level.n_patients} patients\n"
            f"            AUROC {', '.join(differences)}"
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON; None is "not estimable"."""
        return asdict(self)


def compare(
    reference: Source,
    *candidates: Source,
    names: Sequence[str] = (),
    split: str | None = None,
    thresholds: Sequence[Thresholds | str | os.PathLike[str]] = (),
    margin: float | None = None,
    replicates: int = 2000,
    seed: int = 0,
    labels: str | Sequence[str] | None = None,
) -> tuple[Comparison, ...]:
    """Compare the predictions of one or more models with those of a reference model, on the same scans.

    Differences are paired: a row that one model did not score is left out for all of them, label by label. P values are
    corrected by Holm within a level over the labels and, where there are several, over the models.

    Example:
      >>> import ichformer as ich
      >>> import pandas as pd
      >>> known = {"patient": ["a", "b", "c", "d"], "any": [0, 0, 1, 1]}
      >>> ours = pd.DataFrame({**known, "score_any": [0.1, 0.4, 0.3, 0.9]})
      >>> theirs = pd.DataFrame({**known, "score_any": [0.6, 0.2, 0.3, 0.4]})
      >>> (comparison,) = ich.compare(theirs, ours, names=["theirs", "ours"], replicates=10)
      >>> comparison.levels[0].labels[0].auroc.value
      0.25

    Args:
      reference: predictions of the model that the others are compared with: a DataFrame, or a CSV or Parquet file.
      candidates: predictions of the other models, for the same rows with the same labels.
      names: of the models; by default those of the files, and "model 1", "model 2" ... for DataFrames.
      split: the split to compare on; the only one of the tables by default.
      thresholds: frozen thresholds or their files, one for each table in their order, or none.
      margin: of non-inferiority, as a difference of AUROCs above 0.
      replicates: resamples of patients.
      seed: of the resamples.
      labels: the labels to compare; all that have scores by default.

    Returns:
      One comparison for each candidate.

    Raises:
      InputError: no candidate, a faulty table, other rows or other labels than the reference's, thresholds of other
        models or other rules, or a margin that is none.
    """
    sources = (reference, *candidates)
    if not candidates:
        raise InputError("needs two models", where="compare", fix="give the predictions of two or more")
    check_draws(replicates=replicates, seed=seed)
    fix = "give a difference of AUROCs above 0 and below 1"
    margin = fit(float | None, margin, where="margin", fix=fix)
    if margin is not None and not 0 < margin < 1:
        raise InputError(f"found {margin}", where="margin", fix=fix)
    if isinstance(names, str):
        raise InputError(f"found {one_line(repr(names))}", where="names", fix="give a list with a name for each table")
    names = _names(sources, as_names(names, where="names"))
    thresholds = fit(tuple[Any, ...], thresholds, where="thresholds", fix="give a list with thresholds for each table")
    if thresholds and len(thresholds) != len(sources):
        raise InputError(f"{len(thresholds)} for {len(sources)} tables", where="thresholds", fix="give one for each")
    tables = {
        name: open_table(source, labels=labels, split=split, where=name)
        for name, source in zip(names, sources, strict=True)
    }
    common = next(iter(tables.values())).labels
    frozen = [as_thresholds(one, labels=common) for one in thresholds]
    settings = {"margin": margin, "replicates": replicates, "seed": seed}
    return _compare(paired(tables), dict(zip(names, frozen, strict=False)), settings)


def _names(sources: Sequence[Source], names: Sequence[str]) -> tuple[str, ...]:
    """The names of the models: those that were given, or those of the files, or numbers."""
    if not names:
        paths = [Path(source) if isinstance(source, str | os.PathLike) else None for source in sources]
        names = [f"model {i}" if path is None else path.stem for i, path in enumerate(paths, start=1)]
        if len(set(names)) < len(names):
            names = [f"model {i}" if path is None else str(path) for i, path in enumerate(paths, start=1)]
    if len(names) != len(sources):
        raise InputError(f"{len(names)} for {len(sources)} tables", where="names", fix="give one for each")
    if len(set(names)) < len(names):
        raise InputError("stands there twice", where=max(names, key=names.count), fix="name every table once")
    return tuple(names)


def _compare(
    tables: dict[str, CheckedTable], thresholds: dict[str, Thresholds], settings: dict[str, Any]
) -> tuple[Comparison, ...]:
    found = {name: levels(table) for name, table in tables.items()}
    reference, *candidates = found
    labels = tables[reference].labels

    def frozen(model: str, level: LevelName) -> Frozen:
        return {label: thresholds[model].of(level, label) for label in labels} if thresholds else {}

    compared = [
        [
            compare_level(
                first, second, labels, (frozen(reference, first.name), frozen(candidate, first.name)), **settings
            )
            for first, second in zip(found[reference], found[candidate], strict=True)
        ]
        for candidate in candidates
    ]
    by_level = [corrected(of_level) for of_level in zip(*compared, strict=True)]
    missing = not_scored(tables[reference])
    return tuple(
        Comparison(reference=reference, candidate=candidate, levels=of_candidate, not_scored=missing, **settings)
        for candidate, of_candidate in zip(candidates, zip(*by_level, strict=True), strict=True)
    )
