"""Leave one site out: a training for each site that never sees it, and what the sites say together."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from ichformer.cohorts.index import MAX_SITES
from ichformer.cohorts.splits import leave_one_site_out as hold_out_each
from ichformer.errors import InputError, one_line
from ichformer.evaluation.results import LevelSummary, PooledAuroc, Stratum, StratumLabel, Summary
from ichformer.evaluation.subgroups import pool_sites
from ichformer.evaluation.summary import aligned, figure
from ichformer.evaluation.tables.checked import check_table
from ichformer.evaluation.tables.files import read_predictions
from ichformer.evaluation.tables.table import LevelName, levels
from ichformer.evaluation.thresholds import json_bytes
from ichformer.files.sets import write_set
from ichformer.pipeline.store.records import Store
from ichformer.pipeline.store.resplit import resplit
from ichformer.reporting.evaluation.page import render_sites_page
from ichformer.statistics.intervals import NOTHING, Estimate
from ichformer.training.config import TrainConfig
from ichformer.workflows.evaluate_run import evaluate
from ichformer.workflows.train_run import train_and_freeze


@dataclass(frozen=True, kw_only=True)
class LevelAcrossSites:
    """Each site evaluated by the run that never saw it, and the AUROCs pooled with random effects."""

    level: LevelName
    sites: tuple[Stratum, ...]
    pooled: tuple[PooledAuroc, ...]


@dataclass(frozen=True, kw_only=True)
class AcrossSites:
    """What ``leave_one_site_out`` found; ``folders`` of the sites' runs, by site."""

    folders: dict[str, str]
    levels: tuple[LevelAcrossSites, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON; None is "not estimable"."""
        return asdict(self)


def leave_one_site_out(
    config: TrainConfig, out: Path | str, *, split_seed: int = 0, replicates: int = 2000, progress: bool = True
) -> AcrossSites:
    """Train and evaluate a run for each site of a store, each in a folder of its own; run again, it goes on.

    The other sites are divided into training and validation by patient, and who was seen at the site as well is left
    out. A figure of a site is that of a model which never saw it; scores of several models are not ranked together.
    Writes ``sites.json`` and ``sites.html`` beside ``site-00``, ``site-01``, ..., which hold store, run and evaluation.

    Args:
      config: what each run is told; its store is prepared once and needs at least two sites.
      out: the folder.
      split_seed: of training and validation.
      replicates: resamples of each evaluation.
      progress: bars on standard error.

    Raises:
      InputError: further stores (``data.more``), fewer than two sites or more than ``MAX_SITES``, or a training or an
        evaluation objects.
    """
    out = Path(out)
    if config.data.more:
        raise InputError(
            "may hold scans of the site that is left out", where="--data.more", fix="prepare all scans as one store"
        )
    store = Store.open(config.data.store)
    n_sites = len(set(store.index["site"]) - {""})
    if not 2 <= n_sites <= MAX_SITES:
        raise InputError(
            f"has {n_sites} sites, and each needs a training",
            where=store.path,
            fix=f"prepare a cohort of 2 to {MAX_SITES} sites",
        )
    labels = store.label_set.names
    summaries: dict[str, Summary] = {}
    tables, folders = [], {}
    for number, (site, index) in enumerate(hold_out_each(store.index, seed=split_seed, label_set=store.label_set)):
        # A site's name is foreign text and no name for a folder.
        folder = out / f"site-{number:02d}"
        part = resplit(store, index["split"], folder / "store")
        own = replace(config, data=replace(config.data, store=str(part.path)))
        train_and_freeze(own, folder / "run", progress=progress)
        summaries[site] = evaluate(folder / "run", part.path, folder / "evaluation", replicates=replicates)
        tables.append(read_predictions(folder / "evaluation" / "predictions.csv", labels=labels).rows)
        folders[site] = folder.name
    together = levels(check_table(pd.concat(tables, ignore_index=True), labels=labels))
    found = AcrossSites(
        folders=folders,
        levels=tuple(
            LevelAcrossSites(
                level=level.name,
                sites=tuple(
                    _stratum(site, own)
                    for site, summary in summaries.items()
                    for own in summary.levels
                    if own.level == level.name  # a site may have no score of that level
                ),
                pooled=pool_sites(level, labels),
            )
            for level in together
        ),
    )
    parts = [(level.level, level.sites, level.pooled) for level in found.levels]
    page = render_sites_page(parts, title=f"{config.model.name}: one site left out")
    write_set({"sites.html": page.encode(), "sites.json": json_bytes(found.to_json())}, out, what="evaluation")
    return found


def _stratum(site: str, level: LevelSummary) -> Stratum:
    return Stratum(
        name=site,
        n=level.n,
        n_patients=level.n_patients,
        labels=tuple(
            StratumLabel(
                label=label.label,
                n=label.n,
                n_positive=label.n_positive,
                n_positive_patients=label.n_positive_patients,
                auroc=label.auroc,
                sensitivity=label.operating_points[0].sensitivity if label.operating_points else NOTHING,
                specificity=label.operating_points[0].specificity if label.operating_points else NOTHING,
            )
            for label in level.labels
        ),
    )


def format_across_sites(found: AcrossSites) -> str:
    """A table a level: the AUROC of each label at each site that was left out, and pooled."""
    return "\n\n".join(_format_level(level) for level in found.levels)


def _format_level(level: LevelAcrossSites) -> str:
    header = ["label", "pooled", *(one_line(site.name, max_chars=24) for site in level.sites)]
    rows: list[Sequence[str]] = [header]
    for i, pooled in enumerate(level.pooled):
        mean = figure(Estimate(value=pooled.value, interval=pooled.interval))
        rows.append([one_line(pooled.label), mean, *(figure(site.labels[i].auroc) for site in level.sites)])
    title = f"{level.level} level: AUROC of runs that never saw the site"
    return "\n".join(
        [
            title,
            *aligned([*rows, ["scans" if level.level == "scan" else "slices", "", *(str(s.n) for s in level.sites)]]),
        ]
    )
