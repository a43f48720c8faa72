"""A model card and check-lists for a paper, filled with what is known from a run and its evaluation."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

from ichformer import __version__
from ichformer.errors import one_line
from ichformer.evaluation.results import LevelSummary, Summary
from ichformer.evaluation.summary import UNKNOWN, figure
from ichformer.reporting.evaluation.checklists import CLAIM, TRIPOD_AI, Item

TO_FILL = "to be filled by the authors"
"""The text of an entry that only people can fill in."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known about a model and its data, in words; "" where nothing is known.

    Attributes:
      name: of the model.
      model: its architecture and size.
      preprocessing: from a scan to the model's input.
      data: where the scans come from.
      partitions: how they were divided, with numbers.
      patients: how the patient of each scan is known.
      disjoint: how it was made sure that the partitions share nobody.
      training: how it was trained.
      initialisation: what it started from.
      selection: which of the parameters seen in training it has.
      ensemble: of what and how, or that there is none.
      missing: how missing slices were handled.
      imbalance: how rare labels were handled.
      software: versions.
      hardware: of the training.
      code: the commit.
    """

    name: str = ""
    model: str = ""
    preprocessing: str = ""
    data: str = ""
    partitions: str = ""
    patients: str = ""
    disjoint: str = ""
    training: str = ""
    initialisation: str = ""
    selection: str = ""
    ensemble: str = ""
    missing: str = ""
    imbalance: str = ""
    software: str = ""
    hardware: str = ""
    code: str = ""

    def named(self) -> dict[str, str]:
        """The facts that are known, by name."""
        return {f.name.capitalize(): getattr(self, f.name) for f in fields(self) if getattr(self, f.name)}


def model_card(facts: Facts, summary: Summary) -> str:
    """Write a model card in Markdown (after Mitchell et al., FAT* 2019) with the figures of an evaluation."""
    known = facts.named()
    lines = [
        f"# Model card: {cell(facts.name) or TO_FILL}",
        "",
        "Research use only. Not for diagnosis.",
        "",
        "## Model",
        "",
        *_list(
            {
                name: known.get(name, "")
                for name in ("Model", "Initialisation", "Training", "Imbalance", "Selection", "Ensemble")
            }
        ),
        *_list({name: known.get(name, "") for name in ("Software", "Hardware", "Code")}),
        "- Licence, contact: " + TO_FILL,
        "",
        "## Intended use",
        "",
        "- Users and purpose: " + TO_FILL,
        "- Out of scope: diagnosis, and any use on patients without a study that shows its benefit there",
        "",
        "## Data",
        "",
        *_list(
            {
                name: known.get(name, "")
                for name in ("Data", "Partitions", "Patients", "Disjoint", "Preprocessing", "Missing")
            }
        ),
        "- Reference standard: " + TO_FILL,
        "",
        "## Figures" + (f" on split {cell(summary.split)}" if summary.split else ""),
        "",
    ]
    for level in summary.levels:
        lines += [*_figures(level), ""]
    lines += ["95 % intervals over patients. All figures: metrics.json and evaluation.html.", ""]
    if summary.warnings:
        lines += ["## What limits these figures", "", *(f"- {cell(warning)}" for warning in summary.warnings), ""]
    lines += ["## Ethics, risks, recommendations", "", TO_FILL, "", f"Written by ichformer {__version__}."]
    return "\n".join(lines) + "\n"


def claim(facts: Facts, summary: Summary) -> str:
    """Write CLAIM 2024 and TRIPOD+AI as tables in Markdown, filled with what is known."""
    found = known(facts, summary)
    lines = [
        "# Check-lists for a paper",
        "",
        "The numbers are those of the check-lists. The titles are in our own words, so read what each item asks in the",
        "originals: CLAIM 2024 (Tejani et al., Radiology: Artificial Intelligence 2024;6(4):e240300,",
        "doi:10.1148/ryai.240300) and TRIPOD+AI (Collins et al., BMJ 2024;385:e078378, doi:10.1136/bmj-2023-078378).",
        "D marks items for a study that develops a model, E for a study that evaluates one, and no letter for both.",
        "What is filled in comes from the run and its evaluation. It may be less than an item asks, so check it.",
        "",
        "## CLAIM 2024",
        "",
        *_checklist(CLAIM, found),
        "",
        "## TRIPOD+AI",
        "",
        *_checklist(TRIPOD_AI, found),
    ]
    return "\n".join(lines) + "\n"


def known(facts: Facts, summary: Summary) -> dict[str, str]:
    """The texts that fill the items, by the name in ``Item.knows``. Names of unknown facts are missing."""
    scans = summary.levels[-1]
    labels = ", ".join(label.label for label in scans.labels)
    numbers = "; ".join(
        f"{level.n} {level.level}s of {level.n_patients} patients, positive: "
        + ", ".join(f"{label.label} {label.n_positive}/{label.n}" for label in level.labels)
        for level in summary.levels
    )
    split = summary.split or "unnamed"
    found = {
        "kind": f"Deep learning, {facts.model}" if facts.model else "",
        "data": facts.data,
        "preprocessing": facts.preprocessing,
        "missing": "; ".join(filter(None, ("Unknown labels are left out of a label's figures", facts.missing))),
        "partitions": "; ".join(filter(None, (facts.partitions, facts.patients))),
        "disjoint": facts.disjoint,
        "model": facts.model,
        "software": ". ".join(filter(None, (facts.software, facts.hardware))),
        "initialisation": facts.initialisation,
        "training": facts.training,
        "selection": facts.selection,
        "ensemble": facts.ensemble,
        "metrics": (
            "AUROC, partial AUROC, average precision, weighted log loss (RSNA 2019), Brier score, slope, intercept and "
            "expected error of calibration, risk-coverage and decision curves"
            + (
                ""
                if summary.thresholds_from is None
                else "; sensitivity, specificity, PPV, NPV at thresholds that were chosen before"
            )
        ),
        "uncertainty": (
            "95 % intervals over patients: DeLong clustered by patient (AUROC), Wilson with a design effect (shares), "
            "MOVER (likelihood ratios), sandwich (slope and intercept of the calibration), jackknife (losses), BCa "
            f"bootstrap of {summary.replicates} replicates (all else)"
        ),
        "strata": _strata(scans),
        "numbers": f"Split {split}: {numbers}",
        "performance": _performance(scans),
        "accuracy": _accuracy(scans),
        "sites": ", ".join(site.name for site in scans.sites if site.name),
        "outcome": f"Labels: {labels}; how they were assessed: {TO_FILL}",
        "predictors": "The pixels of the CT scan in HU; nothing else about the patient" if facts.model else "",
        "imbalance": facts.imbalance,
        "characteristics": _characteristics(summary),
        "output": _output(summary),
        "recalibration": _recalibration(summary),
        "heterogeneity": _heterogeneity(scans),
        "code": facts.code,
    }
    return {name: text for name, text in found.items() if text}


def _performance(level: LevelSummary) -> str:
    return f"AUROC by {level.level}: " + ", ".join(f"{label.label} {figure(label.auroc)}" for label in level.labels)


def _accuracy(level: LevelSummary) -> str:
    points = [(label.label, label.operating_points[0]) for label in level.labels if label.operating_points]
    said = [f"{name} {figure(point.sensitivity)} and {figure(point.specificity)}" for name, point in points]
    return f"Sensitivity and specificity at {points[0][1].rule}: {', '.join(said)}" if points else ""


def _strata(level: LevelSummary) -> str:
    parts = ["site"] * bool(level.sites) + list(level.subgroups)
    return f"Figures by {', '.join(parts)} are in evaluation.html" if parts else ""


def _characteristics(summary: Summary) -> str:
    """The number of scans of the evaluated split in each subgroup."""
    groups = summary.levels[-1].subgroups
    said = [
        f"{name}: {', '.join(f'{part.name or UNKNOWN} {part.n}' for part in parts)}" for name, parts in groups.items()
    ]
    return f"Split {summary.split or 'unnamed'}, {summary.levels[-1].level}s by {'; '.join(said)}" if said else ""


def _heterogeneity(level: LevelSummary) -> str:
    pooled = [p for p in level.pooled_sites if p.value is not None and p.i2 is not None]
    said = ", ".join(f"{p.label} {p.value:.3f} over {p.sites} sites, I² {100 * (p.i2 or 0):.0f} %" for p in pooled)
    return f"AUROC pooled with random effects: {said}" if said else ""


def _output(summary: Summary) -> str:
    output = "A probability for each label"
    if summary.thresholds_from is None:
        return output
    return f"{output}; thresholds were chosen on split {summary.thresholds_from or '(unnamed)'}"


def _recalibration(summary: Summary) -> str:
    names = sorted({name for label in summary.calibration for name in label.after})
    return f"Calibration was measured as given and after {', '.join(names)}, fitted on validation" if names else ""


def _figures(level: LevelSummary) -> list[str]:
    """The table of figures: those without a threshold, and sensitivity and specificity at the first rule."""
    header, rows = [level.level, "positive", "AUROC", "average precision"], []
    rules = [point.rule for point in level.labels[0].operating_points[:1]]
    header += [f"{rate} at {cell(rule)}" for rule in rules for rate in ("sensitivity", "specificity")]
    for label in level.labels:
        estimates = [label.auroc, label.average_precision]
        for point in label.operating_points[:1]:
            estimates += [point.sensitivity, point.specificity]
        rows.append([cell(label.label), f"{label.n_positive}/{label.n}", *map(figure, estimates)])
    return [f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *rows)]


def _list(facts: Mapping[str, str]) -> list[str]:
    return [f"- {name}: {cell(text) or TO_FILL}" for name, text in facts.items()]


def _checklist(items: Sequence[Item], found: Mapping[str, str]) -> list[str]:
    rows = []
    for item in items:
        number = f"{item.number} ({item.study})" if item.study else item.number
        rows.append(f"| {number} | {item.title} | {cell(found.get(item.knows, '')) or f'*{TO_FILL}*'} |")
    return ["| item | about | in this work |", "|---|---|---|", *rows]


def cell(text: str) -> str:
    """A text from outside, escaped so that it stays text in Markdown."""
    return re.sub(r"([\\`*_{}\[\]<>|#!~$&])", r"\\\1", one_line(text, max_chars=1500))
