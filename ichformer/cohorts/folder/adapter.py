"""Makes a Study index of any folder of scans, with a CSV of labels or without."""

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

import pandas as pd

from ichformer.cohorts.cohort import Cohort
from ichformer.cohorts.folder.columns import parse_columns
from ichformer.cohorts.folder.labels import CsvLabels, read_labels
from ichformer.cohorts.folder.matching import Labelled
from ichformer.cohorts.folder.patients import Owner, find_owners, series_cut_by_spelling
from ichformer.cohorts.index import make_index
from ichformer.cohorts.spelling import one_spelling
from ichformer.cohorts.tables import write_table
from ichformer.ct.io.dicom.series import Series
from ichformer.ct.io.found import Found
from ichformer.ct.io.nifti import NiftiFile, slice_names
from ichformer.ct.io.scans import Scan, find_scans
from ichformer.errors import InputError, one_line
from ichformer.files.writing import path_text, text_path
from ichformer.labels import SIX, LabelSet


def load(
    source: Path | str,
    *,
    cache: Path | str,
    labels: Path | str | None = None,
    columns: Sequence[str] = (),
    label_names: Sequence[str] = (),
    targets: Sequence[str] = (),
    patient_from: str = "",
) -> Cohort:
    """``read_folder`` as the adapter of the cohort "folder": the columns of the CSV that are labels make the label set.

    Args:
      source: the folder.
      cache: where a table of slice labels is written.
      labels: the CSV of labels.
      columns: what columns of the CSV mean.
      label_names: the columns that are labels, in place of the six.
      targets: the columns that are numbers to predict.
      patient_from: where a scan's patient is known from.

    Raises:
      InputError: names that cannot be labels; see ``read_folder``.
    """
    label_set = LabelSet(names=tuple(label_names) or SIX.names, targets=tuple(targets))
    return read_folder(
        source, cache=cache, labels=labels, patient_from=patient_from, columns=columns, label_set=label_set
    )


def read_folder(
    source: Path | str,
    *,
    cache: Path | str,
    labels: Path | str | None = None,
    patient_from: str = "",
    columns: Sequence[str] = (),
    label_set: LabelSet = SIX,
) -> Cohort:
    """Finds all series below a folder and reads the CSV of their labels.

    A patient is what the column ``patient`` of the CSV says, else ``patient_from``, else the PatientID of the header;
    where there is none, each study, or else each scan, is taken for a patient's only one, and the index says that this
    was guessed. Names that differ in their spelling only are one patient's (``one_spelling``). Patients are called by a
    hash, which whoever has a list of IDs can undo: the index and the cache hold true names. ``prepare`` makes
    pseudonyms of them.

    Args:
      source: the folder.
      cache: where a table of slice labels is written.
      labels: the CSV (``folder_labels.read_labels``); all labels are unknown without it.
      patient_from: see ``folder_patients.find_owners``.
      columns: how columns of the CSV are to be read, such as ``("any=ICH", "path=file")``.
      label_set: which columns of the CSV are labels and which are targets.

    Raises:
      InputError: no series; a fault of the CSV; a patient in two splits of the CSV; ``patient_from`` does not tell the
        patient of every scan.
    """
    given = parse_columns(columns, label_set)
    asked = {"--columns": bool(given), "--label-names": label_set.names != SIX.names, "--targets": label_set.targets}
    if labels is None and (alone := [option for option, value in asked.items() if value]):
        raise InputError("goes with a CSV of labels", where=alone[0], fix="name it with --labels")
    source, found = Path(source), _found(Path(source))
    scans = named_series(found)
    owners = find_owners(scans, source, patient_from)
    taken = Counter(path for scan in scans.values() for path in (*_paths(scan, source), *set(_short(scan, source))))
    rows: dict[str, dict[str, object]] = {}
    keyed: list[Labelled] = []
    for name, scan in scans.items():
        owner, study = owners[name], scan.study_uid
        rows[name] = {"cohort": "folder", "origin": "folder", "study": study}
        rows[name] |= {"series": name, "path": path_text(scan.path.absolute())}
        keys = {
            "path": {*_paths(scan, source), *(short for short in _short(scan, source) if taken[short] == 1)},
            "series": {name, scan.uid},
            "study": {study},
            # A guess is nobody's name.
            "patient": set() if owner.source in ("guessed", "study") else {owner.name, _patient(owner.name)},
        }
        keyed.append(Labelled(series=name, keys=keys, slices=_slice_names(scan)))
    found_labels = CsvLabels(rows={}, lines={})
    if labels is not None:
        found_labels = read_labels(Path(labels), keyed, cache=Path(cache), columns=given, label_set=label_set)
        for name, said in found_labels.rows.items():
            rows[name] |= said
            if "patient" in said:
                # A CSV that was made from the headers knows no more than they do.
                as_shared = owners[name].source == "shared" and said["patient"] == owners[name].name
                owners[name] = Owner(name=str(said["patient"]), source="shared" if as_shared else "table")
    spelled = one_spelling(owner.name for owner in owners.values())
    for name, owner in owners.items():
        rows[name] |= {"patient": _patient(spelled[owner.name]), "patient_source": owner.source}
    if labels is not None:
        _refuse_torn(rows, found_labels, source, where=Path(labels))
    notes = [*_set_aside(found), *found_labels.notes]
    if n_other := sum(name != known for name, known in spelled.items()):
        notes.append(f"names of patients that differ in case, blanks or zeros only, taken for the same one: {n_other}")
    if n_cut := series_cut_by_spelling(scans.values()):
        notes.append(
            "series of which each part is read as a scan of its own, because their files spell one PatientID in "
            f"several ways (capitals, blanks or zeros): {n_cut}. Correct the PatientID in the files"
        )
    index = make_index(rows.values(), label_set=label_set)
    return Cohort(index=index, label_set=label_set, notes=tuple(notes), warnings=found_labels.warnings)


def write_example_labels(source: Path | str, out: Path | str, *, label_set: LabelSet = SIX) -> int:
    """Writes a CSV with a row for each scan below a folder, to be filled in; InputError where there is no scan.

    A scan is named by its path and, where two lie in one place, by its SeriesInstanceUID too.

    Returns:
      The number of scans.
    """
    source, out = Path(source), Path(out)
    scans = named_series(_found(source))
    paths = {name: next(_paths(scan, source)) for name, scan in scans.items()}
    repeats = Counter(path for scan in scans.values() for path in _paths(scan, source))
    table = pd.DataFrame({"path": list(paths.values())})
    if any(repeats[path] > 1 for path in paths.values()):
        table["series"] = list(paths)
    names = label_set.columns
    if label_set.has_subtypes:
        names = ("any", *(name for name in names if name != "any"))
    for name in ("patient", "site", "split", *names):
        table[name] = ""
    if out.exists():
        raise InputError("is there already", where=out, fix="name another file, so that no labels are lost")
    write_table(table.sort_values(list(table.columns[:2]), ignore_index=True), out)
    return len(table)


def named_series(found: Found[Scan]) -> dict[str, Scan]:
    """Gives each series a unique name: its UID, or a hash of its files' names.

    Where that repeats, a hash of the slices is added. It does not depend on what else was found, so that a series has
    the same name when its own folder is read again.
    """
    names = [series.uid or "S-" + _hash("/".join(file.name for file in series.files)) for series in found.series]
    repeats = Counter(names)
    named: dict[str, Scan] = {}
    for series, name in zip(found.series, names, strict=True):
        unique = name if repeats[name] == 1 else f"{name}#{_hash(_slices_of(series))}"
        while unique in named:
            unique += "+"
        named[unique] = series
    return named


def _slices_of(scan: Scan) -> str:
    slices = [h.sop_uid or h.path.name for h in scan.headers] if isinstance(scan, Series) else []
    return " ".join([scan.files[0].absolute().parent.name, *sorted(slices)])


def _found(source: Path) -> Found[Scan]:
    found = find_scans(source)
    if not found.series:
        reason = f", such as {found.set_aside[0]}" if found.set_aside else ""
        raise InputError(
            f"holds no series among {len(found.set_aside)} files{reason}",
            where=source,
            fix="name a folder of scans",
        )
    return found


def _set_aside(found: Found[Scan]) -> Iterator[str]:
    """How many files hold no scan that could be read, by the reason."""
    for code, count in sorted(Counter(aside.code for aside in found.set_aside).items()):
        yield f"files set aside ({code.replace('_', ' ')}): {count}; ichformer inspect names them"


def _paths(scan: Scan, source: Path) -> Iterator[str]:
    """What a row may call a scan: its folder or file below the source, first of all, and the folders that hold it."""
    below = PurePosixPath(scan.path.relative_to(source).as_posix())
    yield path_text(str(below))
    yield path_text(scan.path.absolute().as_posix())
    yield from (path_text(str(parent)) for parent in below.parents)


def _short(scan: Scan, source: Path) -> Iterator[str]:
    """The path of a NIfTI file without its suffix."""
    if isinstance(scan, NiftiFile):
        below = path_text(scan.path.relative_to(source).as_posix())
        yield re.sub(r"\.nii(\.gz)?$", "", below, flags=re.IGNORECASE)


def _refuse_torn(rows: Mapping[str, Mapping[str, object]], csv: CsvLabels, source: Path, *, where: Path) -> None:
    """Raises InputError where the CSV puts a patient into two splits, with the lines."""
    first: dict[object, tuple[str, int, str]] = {}
    torn = []
    for name, line in sorted(csv.lines.items(), key=lambda item: item[1]):
        row = rows[name]
        split, patient = str(row.get("split", "")), (row["origin"], row["patient"])
        path = one_line(text_path(str(row["path"])).relative_to(source.absolute()).as_posix(), max_chars=60)
        if not split:
            continue
        known, at, there = first.setdefault(patient, (split, line, path))
        if known != split:
            torn.append(f"{there} (line {at}) is in {known}, {path} (line {line}) in {split}")
    if torn:
        more = f"; and {len(torn) - 5} more" if len(torn) > 5 else ""
        raise InputError(
            f"puts scans of one patient into two splits: {'; '.join(torn[:5])}{more}",
            where=where,
            fix="put all scans of a patient into one split; names that differ in case, blanks or zeros only are one",
        )


def _slice_names(scan: Scan) -> dict[str, str]:
    """Whatever a row may call a slice -> its name in ``Volume.source``."""
    if isinstance(scan, Series):
        return {
            name: header.sop_uid or path_text(header.path.name)
            for header in scan.headers
            for name in (path_text(header.path.name), header.sop_uid)
            if name
        }
    try:
        names = slice_names(scan.path) if isinstance(scan, NiftiFile) else [path_text(file.name) for file in scan.files]
    except InputError:  # a broken file: it is left out, with this reason, when it is prepared
        names = []
    return dict(zip(names, names, strict=True))


def _patient(name: str) -> str:
    """Returns the name of a patient in the index, a hash; a name that is such a hash already stays."""
    return name if re.fullmatch(r"P-[0-9a-f]{12}", name) else "P-" + _hash(name)


def _hash(text: str) -> str:
    return hashlib.sha256(os.fsencode(text)).hexdigest()[:12]
