"""CQ500: 491 head CT studies from New Delhi with the reads of three radiologists, and the boxes of BHX where they are.

Chilamkurthy et al., Lancet 392 (2018), http://headctstudy.qure.ai/dataset; CC BY-NC-SA 4.0. Studies were taken in two
batches: B1 is consecutive, B2 was enriched with bleeds, so they are two sites and should be reported separately.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float64

from ichformer import LABELS
from ichformer.cohorts.adapters.bhx import find_boxes, read_boxes
from ichformer.cohorts.csv_text import line_of
from ichformer.cohorts.index import make_index
from ichformer.cohorts.tables import (
    BOX_COLUMNS,
    SLICE_COLUMNS,
    find_below,
    read_table,
    write_left_out,
    write_table,
)
from ichformer.ct.io.dicom.series import find_series
from ichformer.ct.selection import select_series
from ichformer.errors import InputError, one_line
from ichformer.process.workers import map_processes

_READERS = ("R1", "R2", "R3")
_FINDINGS = ("EDH", "IPH", "IVH", "SAH", "SDH", "ICH")  # in the order of LABELS
_SITES = ("B1", "B2")
_STUDY = re.compile(r"CQ500[ _-]?CT[ _-]?(\d+)(?!\d)", re.IGNORECASE)


def load(source: Path | str, *, cache: Path | str, labels: Path | str | None = None) -> pd.DataFrame:
    """Returns the Study index: one non-contrast soft-kernel axial series a study (``ct.selection.select_series``).

    A scan's labels are what two of three readers say. A slice is negative for what the scan is negative for, and
    positive where BHX has an acute box; where the two contradict each other, and elsewhere, it is unknown.

    Each study is taken for a patient's only one, which is a guess: the set names studies and says nothing of patients.

    In ``cache`` are written ``cq500_slices.csv``; ``cq500_series.csv``, what was chosen in each study and why, and
    what speaks against the others; ``cq500_left_out.csv``, studies without such a series; and ``cq500_boxes.csv``.

    Args:
      source: the folder of the archives, ``CQ500-CT-7.zip`` and so on, or of what was unpacked from them,
        ``CQ500CT7 CQ500CT7``; anywhere below it.
      cache: where tables are written.
      labels: ``reads.csv``, or a folder that holds it and may hold BHX, both at most one folder deep; the source by
        default.

    Raises:
      InputError: no studies, no ``reads.csv``, reads that are not 0 or 1, a study there twice, or none that has a
        series to choose.
    """
    source, cache = Path(source), Path(cache)
    tables = Path(labels) if labels is not None else source
    reads_path = tables if tables.is_file() else find_below(tables, ("reads.csv",))
    if reads_path is None:
        raise InputError("holds no reads.csv", where=tables, fix="download it from the page of CQ500, or name it")
    reads = _read_reads(reads_path)
    boxes_path = find_boxes(tables) if tables.is_dir() else None
    boxes = read_boxes(boxes_path) if boxes_path else pd.DataFrame(columns=["study", *BOX_COLUMNS])

    studies = _studies(source)
    found = map_processes(_choose, list(studies.values()), desc="studies", unit="study", serial=4)
    choices = dict(zip(studies, found, strict=True))
    chosen = {name: choice for name, choice in choices.items() if isinstance(choice, _Choice)}
    left_out = {name: choice for name, choice in choices.items() if isinstance(choice, str)}
    if not chosen:
        name, reason = next(iter(left_out.items()))
        raise InputError(
            f"{len(left_out)} studies, none with a series to choose; {name}: {reason}", where=source, fix="check it"
        )
    write_left_out(left_out, cache / "cq500_left_out.csv")
    considered = [{"name": name, **said} for name, choice in chosen.items() for said in choice.considered]
    write_table(pd.DataFrame(considered), cache / "cq500_series.csv")

    slice_path, box_path = (cache / f"cq500_{what}.csv" for what in ("slices", "boxes"))
    boxes_of = dict(list(boxes.groupby(["study", "series"])))
    rows, slice_tables, box_tables = [], [], []
    for name, choice in chosen.items():
        read = reads.get(name, _Read(site="", labels=np.full(len(LABELS), np.nan)))
        own = boxes_of.get((choice.study, choice.series), boxes.iloc[:0])
        own = own[own["slice"].isin(choice.slices)]
        series = choice.series or name
        row = {"cohort": "cq500", "origin": "cq500", "site": read.site, "patient": name, "patient_source": "study"}
        row |= {
            "study": name,
            "series": series,
            "path": choice.path,
            "slice_labels": str(slice_path.absolute()),
        }
        row |= {"boxes": str(box_path.absolute()) if len(own) else ""}
        rows.append(row | dict(zip(LABELS, read.labels.tolist(), strict=True)))
        by_slice = pd.DataFrame(_slice_labels(choice.slices, read.labels, own), columns=list(LABELS))
        slice_tables.append(by_slice.assign(series=series, slice=choice.slices, file=choice.files))
        box_tables.append(own)
    write_table(pd.concat(slice_tables)[list(SLICE_COLUMNS)], slice_path)
    if boxes_path:
        write_table(pd.concat(box_tables)[list(BOX_COLUMNS)], box_path)
    return make_index(rows)


@dataclass(frozen=True, kw_only=True)
class _Read:
    """What the readers say of a study: its batch and [6] labels."""

    site: str
    labels: Float64[np.ndarray, "labels"]


def _read_reads(path: Path) -> dict[str, _Read]:
    """The majority of three readers by study, ``CQ500-CT-7``. Who names a subtype has found a bleed."""
    names = [f"{reader}:{finding}" for reader in _READERS for finding in _FINDINGS]
    table = read_table(path, columns=("name", "Category", *names))
    said = np.char.strip(table[names].to_numpy(str))
    wrong = ~np.isin(said, ("0", "1"))
    if wrong.any():
        row, column = (int(i) for i in np.argwhere(wrong)[0])
        raise InputError(
            f"{names[column]} is {one_line(said[row, column])!r}",
            where=f"{path}{line_of(table, row)}",
            fix="a read is 0 or 1: download it again",
        )
    votes = (said == "1").reshape(len(table), len(_READERS), len(_FINDINGS))
    votes[:, :, -1] |= votes[:, :, :-1].any(2)
    labels = (votes.sum(1) >= 2).astype(np.float64)
    reads: dict[str, _Read] = {}
    for row, (called, site) in enumerate(zip(table["name"], table["Category"].str.strip(), strict=True)):
        match = _STUDY.fullmatch(called.strip())
        name = f"CQ500-CT-{int(match[1])}" if match else ""
        if not match or name in reads or site not in _SITES:
            raise InputError(
                f"found {one_line(called)!r}, Category {one_line(site)!r}",
                where=f"{path}{line_of(table, row)}",
                fix="each study stands there once, CQ500-CT-0 and so on, as B1 or B2: download it again",
            )
        reads[name] = _Read(site=site, labels=labels[row])
    return reads


def _studies(source: Path) -> dict[str, str]:
    """Folder or archive of each study, by ``CQ500-CT-7``, in the order of their numbers; a folder before an archive."""
    folders: dict[int, str] = {}
    archives: dict[int, str] = {}
    for folder, below, files in os.walk(source):
        for name in [*sorted(below), *sorted(files)]:
            match = _STUDY.match(name)
            if not match or (name in files and not name.lower().endswith(".zip")):
                continue
            found = archives if name in files else folders
            if (number := int(match[1])) in found:
                where = os.path.join(folder, name)
                raise InputError(f"study {number} lies there twice", where=where, fix=f"take away one: {found[number]}")
            found[number] = os.path.join(folder, name)
        below[:] = [name for name in below if not _STUDY.match(name)]  # what lies deeper belongs to the study
    if not folders and not archives:
        raise InputError(
            "holds no CQ500CT0, CQ500-CT-0.zip or the like", where=source, fix="name the folder into which CQ500 came"
        )
    both = archives | folders
    return {f"CQ500-CT-{number}": both[number] for number in sorted(both)}


@dataclass(frozen=True, kw_only=True)
class _Choice:
    """The series of one study: its UIDs, folder, files below that, and a row about each series there is."""

    study: str
    series: str
    path: str
    slices: tuple[str, ...]
    files: tuple[str, ...]
    considered: tuple[dict[str, str], ...]


def _choose(study: str) -> _Choice | str:
    """The study's series, or the reason why there is none."""
    try:
        selection = select_series(find_series(study))
    except InputError as error:
        return one_line(error.what, max_chars=1000)
    chosen = selection.series
    said = [(chosen, "chosen", selection.why), *((series, "", reason) for series, reason in selection.others)]
    path = Path(os.path.commonpath([file.parent for file in chosen.files]))
    return _Choice(
        study=chosen.headers[0].study_uid,
        series=chosen.uid,
        path=str(path.absolute()),
        slices=tuple(header.sop_uid or header.path.name for header in chosen.headers),
        files=tuple(file.relative_to(path).as_posix() for file in chosen.files),
        considered=tuple(
            {"series": series.uid, "description": series.description, "chosen": is_chosen, "why": reason}
            for series, is_chosen, reason in said
        ),
    )


def _slice_labels(
    slices: tuple[str, ...], known: Float64[np.ndarray, "labels"], boxes: pd.DataFrame
) -> Float64[np.ndarray, "s labels"]:
    """What scan labels and boxes tell of each slice; NaN where nothing does, or where they contradict each other."""
    boxed = np.zeros((len(slices), len(LABELS)), bool)
    row_of = {name: row for row, name in enumerate(slices)}
    for name, label in zip(boxes["slice"], boxes["label"], strict=True):
        if label in LABELS:
            boxed[row_of[name], [LABELS.index(label), -1]] = True
    return np.where(boxed, np.where(known == 0, np.nan, 1.0), np.where(known == 0, 0.0, np.nan))
