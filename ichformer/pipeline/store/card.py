"""Writes the data card of a store: its contents in numbers and pictures, without naming a patient."""

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from ichformer.cohorts.index import SPLITS, group_columns, shown_sites
from ichformer.cohorts.patients import count_patients
from ichformer.cohorts.splits import split_warnings
from ichformer.cohorts.tables import read_table
from ichformer.ct.audit import AUDIT_CODES
from ichformer.errors import one_line
from ichformer.files.writing import write_bytes, write_text
from ichformer.pipeline.preparation.facts import ScanFacts, complete_facts
from ichformer.pipeline.store.card_pictures import draw_geometry, draw_hu
from ichformer.pipeline.store.index_file import INDEX_NAME, REJECTS_NAME
from ichformer.pipeline.store.pseudonyms import KEY_NAME, is_private
from ichformer.pipeline.store.records import Store

CARD_NAME, CARD_FOLDER = "card.md", "card"
_QUANTILES = (0.0, 0.05, 0.5, 0.95, 1.0)
_MAX_REASONS = 20


def write_card(store: Store) -> Path:
    """Writes ``card.md`` and its pictures (``card/``) into a store; the same store gives the same bytes.

    Returns:
      The card.

    Raises:
      InputError: a shard has to be read, since ``scans.jsonl`` does not know it, and cannot be.
    """
    index, scans = store.index, complete_facts(store)
    folder = store.path / CARD_FOLDER
    folder.mkdir(exist_ok=True)
    sites = shown_sites([_site(row) for row in index[["cohort", "site"]].to_dict("records")])
    write_bytes(draw_geometry(scans, index["n_slices"].tolist()), folder / "geometry.png")
    write_bytes(draw_hu(scans, sites), folder / "hu.png")
    write_text("\n".join(_lines(store, scans, sites)) + "\n", store.path / CARD_NAME)
    return store.path / CARD_NAME


def _lines(store: Store, scans: Sequence[ScanFacts], sites: Sequence[str]) -> Iterator[str]:
    index, patients = store.index, count_patients(store.index)
    digest = hashlib.sha256((store.path / INDEX_NAME).read_bytes()).hexdigest()
    settings = ", ".join(f"{name} {value}" for name, value in sorted(store.config.items()))
    yield "# Data card"
    yield ""
    yield (
        f"{len(index)} scans of {patients.n_patients} patients, {index['n_slices'].sum()} slices. "
        f"Prepared by recipe {store.recipe or 'unknown'} with {_cell(settings)}. "
        f"Made from `{INDEX_NAME}` with SHA-256 `{digest[:16]}...`."
    )
    splits = [split for split in (*SPLITS, "") if (index["split"] == split).any()]
    yield from _section("Scans", "Scans by split; patients and slices over all splits.")
    rows = []
    for site in sorted(set(sites)):
        part = index[np.array(sites) == site]
        counts = [int((part["split"] == split).sum()) for split in splits]
        rows.append([site, " ".join(sorted(set(part["origin"]))), *counts, len(part), part["patient"].nunique()])
        rows[-1].append(part["n_slices"].sum())
    yield from _table(["cohort / site", "origin", *map(_split, splits), "scans", "patients", "slices"], rows)
    yield from _section("Patients", f"{patients.n_patients} in all; {patients.known_from()}.")
    yield from (f"- {warning}." for warning in (*patients.warnings(), *split_warnings(index, store.label_set)))
    if groups := sorted(group_columns(index)):
        yield from _section("Subgroups", "Scans by value; none where it is unknown.")
        rows = [[name, value or "unknown", count] for name in groups for value, count in _counts(index[name])]
        yield from _table(["column", "value", "scans"], rows)
    yield from _section("Labels", "Positive / negative / unknown.")
    names = store.label_set.names
    yield from _table(["scans", *map(_split, splits)], _scan_labels(index, names, splits))
    yield ""
    yield from _table(["slices", *map(_split, splits)], _slice_labels(index, scans, names, splits))
    if targets := store.label_set.targets:
        yield from _section("Targets", "Over scans and slices of which they are known.")
        head = ["target", "split", "of", "known", "lowest", "5 %", "median", "95 %", "highest"]
        yield from _table(head, _targets(index, scans, targets, splits))
    yield from _section("Geometry", "As prepared, over scans. Thickness is the nominal one.")
    yield from _table(["", "scans", "lowest", "5 %", "median", "95 %", "highest"], _geometry(index, scans))
    yield ""
    yield f"![Histograms of the geometry]({CARD_FOLDER}/geometry.png)"
    voxels = sum(sum(scan.hu_counts) for scan in scans)
    yield from _section("HU", f"Every voxel of every scan as prepared, {voxels} in all; one line a site.")
    yield f"![Histograms of HU]({CARD_FOLDER}/hu.png)"
    yield from _section("Audit", "What was found in the scans, and what was done about it.")
    codes = Counter(code for scan in scans for code in scan.codes)
    yield from _table(["code", "scans", "meaning"], [[code, codes[code], AUDIT_CODES[code]] for code in sorted(codes)])
    yield from _section("Privacy", _naming(store))
    yield _KEPT
    reasons = _reasons(store.path / REJECTS_NAME)
    left_out = f"{reasons.total()} series; `{REJECTS_NAME}` lists them." if reasons else "Nothing."
    yield from _section("Left out", left_out)
    shown = sorted(reasons.items(), key=lambda reason: (-reason[1], reason[0]))
    rows = [[count, reason] for reason, count in shown[:_MAX_REASONS]]
    if more := shown[_MAX_REASONS:]:
        rows.append([sum(count for _, count in more), "other reasons"])
    yield from _table(["series", "reason"], rows)


_KEPT = (
    "Of each scan the store keeps pixels, geometry and hashes of pixels, the age in years (90 for all who are older), "
    "the sex, known words of scanner, kernel and series description, and what the table of labels says. It keeps no "
    "name, birth date, date of the study, accession number, institution or physician. Pixels may show a face, unless "
    "keep is brain, and text that was burned into pictures. `ichformer scrub STORE --check` says what a copy would "
    "disclose."
)


def _naming(store: Store) -> str:
    """How the scans are called."""
    private = is_private(store.index["cohort"])
    if not private.any():
        return "Patients, studies and series are called as the publisher of the set calls them."
    if not store.naming.patient_key:
        return (
            "Patients are called by a hash of their names that everyone can compute, and studies, series and slices by "
            "their UIDs and file names, as an earlier ichformer did it: do not share this store."
        )
    of_scans = (
        "Studies, series and slices have the UIDs and file names of the sources, as --with-uids asked"
        if store.naming.with_uids
        else "So are studies and series; slices have numbers"
    )
    return (
        f"Patients are called by pseudonyms of the key {store.naming.patient_key}, which lies in `{KEY_NAME}`: leave "
        f"that file out of every copy. {of_scans}."
    )


def _counts(column: pd.Series) -> list[tuple[str, int]]:
    return sorted(Counter(column.tolist()).items())


def _section(title: str, text: str) -> list[str]:
    return ["", f"## {title}", "", text, ""]


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(_cell(value) for value in line)} |" for line in lines] if rows else []


def _cell(value: object) -> str:
    """Foreign text as part of a table: neither its end nor a link nor markup."""
    return re.sub(r"([\\|`*<>\[\]!])", r"\\\1", one_line(value))


def _site(row: Mapping[str, str]) -> str:
    return f"{row['cohort']} / {row['site']}" if row["site"] else row["cohort"]


def _split(name: str) -> str:
    return name or "no split"


def _scan_labels(index: pd.DataFrame, names: Sequence[str], splits: Sequence[str]) -> list[list[str]]:
    rows = []
    for label in names:
        values = [index[label][index["split"] == split] for split in splits]
        rows.append([label, *(f"{(v == 1).sum()} / {(v == 0).sum()} / {v.isna().sum()}" for v in values)])
    return rows


def _slice_labels(
    index: pd.DataFrame, scans: Sequence[ScanFacts], names: Sequence[str], splits: Sequence[str]
) -> list[list[str]]:
    known = np.array([(scan.positive_slices, scan.negative_slices) for scan in scans])
    unknown = index["n_slices"].to_numpy()[:, None] - known.sum(1)
    counts = np.stack([known[:, 0], known[:, 1], unknown])
    of_split = [counts[:, index["split"] == split].sum(1) for split in splits]
    return [[label, *(" / ".join(map(str, own[:, k])) for own in of_split)] for k, label in enumerate(names)]


def _targets(
    index: pd.DataFrame, scans: Sequence[ScanFacts], targets: Sequence[str], splits: Sequence[str]
) -> list[list[str]]:
    rows = []
    for k, name in enumerate(targets):
        for split in splits:
            is_own = (index["split"] == split).to_numpy()
            of_scans = index[name][is_own].dropna().tolist()
            of_slices = [
                value for scan, own in zip(scans, is_own, strict=True) if own for value in scan.slice_targets[k]
            ]
            for kind, values in (("scans", of_scans), ("slices", of_slices)):
                rows.append([name, _split(split), kind, *_distribution(values)])
    return rows


def _distribution(values: Sequence[float]) -> list[str]:
    """How many values there are, and their quantiles."""
    found = np.quantile(values, _QUANTILES, method="nearest").tolist() if len(values) else [float("nan")] * 5
    return [str(len(values)), *(f"{value:.4g}" for value in found)]


def _geometry(index: pd.DataFrame, scans: Sequence[ScanFacts]) -> list[list[str]]:
    thickness_mm = [scan.thickness_mm for scan in scans if scan.thickness_mm is not None]
    rows = []
    for name, values in (
        ("slices", index["n_slices"].tolist()),
        ("rows", index["height"].tolist()),
        ("columns", index["width"].tolist()),
        ("between slices (mm)", [scan.spacing_mm[0] for scan in scans]),
        ("between rows (mm)", [scan.spacing_mm[1] for scan in scans]),
        ("between columns (mm)", [scan.spacing_mm[2] for scan in scans]),
        ("thickness (mm)", thickness_mm),
        ("slices against the patient's axis (degrees)", [scan.lean_deg for scan in scans]),
    ):
        rows.append([name, *_distribution(values)])
    return rows


def _reasons(path: Path) -> Counter[str]:
    """Reasons without their files and numbers, so that like goes with like; paths may hold names of patients."""
    if not path.is_file():
        return Counter()
    texts = read_table(path, columns=("series", "path", "reason"))["reason"]
    return Counter(_general(text) for text in texts)


def _general(reason: str) -> str:
    """The part of "where: what; fix" in the middle, where there is one."""
    what = reason.partition(": ")[2] or reason
    what = what.rpartition("; ")[0] or what
    what = re.sub(r"\S*/\S*", "...", what)
    return re.sub(r"(?<![\w(,.])-?\d+(\.\d+)?(?![\w,)])", "N", what)
