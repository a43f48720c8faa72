"""What a copy of a folder would disclose: of a store, a run, or anything else that a command of ours wrote."""

import contextlib
import os
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ichformer.cohorts.csv_text import read_text_table
from ichformer.cohorts.index import GROUP_PREFIX, group_columns, tells_scans_apart
from ichformer.ct.known_words import without_free_text
from ichformer.errors import InputError, one_line
from ichformer.pipeline.store.header import RecordHeader, read_header
from ichformer.pipeline.store.index_file import INDEX_NAME, REJECTS_NAME, SHARD_FOLDER, read_store_index
from ichformer.pipeline.store.pseudonyms import KEY_NAME, PUBLISHED
from ichformer.pipeline.store.records import Store, read_shard

DISCLOSURE_CODES: Mapping[str, str] = {
    "date": "dates, of birth or of a study perhaps",
    "email": "addresses of electronic mail",
    "file_name": "names of files or folders of the sources, which may be names of patients",
    "free_text": "words of headers that are on no list of known words",
    "identity": "a report that shows who the patient is, as --with-identity asked, or a DICOM file, as --dicom asked",
    "key": "the key of the pseudonyms: whoever has it can find out who is who. Leave the file out",
    "machine": "the name of a machine",
    "name": "patients, studies or series by true names, or by hashes that can be undone, not by pseudonyms",
    "path": "paths of this machine, which may hold the name of its user",
    "subgroup": "a subgroup with nearly a value for each scan, which may name persons: prepare without its column",
    "uid": "DICOM UIDs of studies, series or slices, by which scans can be found in an archive",
    "unread": "what could not be read",
}
"""Stable code of everything that a copy may disclose -> what it means."""

_TEXT = (".css", ".csv", ".html", ".json", ".jsonl", ".log", ".md", ".txt", ".yaml", ".yml")
_PIECE, _OVERLAP, _MOST_INFLATED = 1 << 22, 1 << 10, 1 << 28
_UID = re.compile(rb"(?<![\w.])[0-2](?:\.(?:0|[1-9]\d*)){5,}(?![\w.])")
_STANDARD_UIDS = b"1.2.840.10008."
_EVERYWHERE = (("path", re.compile(rb"(?:/home|/Users|\\Users)[/\\]+[\w.@+-]+")), ("uid", _UID))
_IN_TEXT = (
    ("path", re.compile(rb"(?<![\w.:/<+=~])/(?:root|[\w.~-]+/[\w.~-]+)/[\w.~-]+|\b[A-Z]:\\[\w .~-]+\\[\w .~-]+")),
    ("email", re.compile(rb"(?<![\w.+-])[\w.+-]+@[\w-]+(?:\.[\w-]+)+")),
    (
        "date",
        re.compile(
            rb"(?<![\w.-])(?:19|20)\d\d(-?)(?:0[1-9]|1[0-2])\1(?:0[1-9]|[12]\d|3[01])(?![\w-]|\.\d)"
            rb"|(?<![\w.])(?:0?[1-9]|[12]\d|3[01])\.(?:0?[1-9]|1[0-2])\.(?:19|20)\d\d(?![\w.])"
        ),
    ),
    ("name", re.compile(rb"(?<!\w)P-[0-9a-f]{12}(?!\w)")),
    ("identity", re.compile(rb'class="card identity"')),
)
_BLOB = re.compile(rb"[A-Za-z0-9+/=]{100,}")
PSEUDONYM = re.compile(r"(?:P|ST|SE)-[0-9a-f]{16}")
ID_COLUMNS = ("patient", "study", "series")


@dataclass(frozen=True, kw_only=True)
class Disclosure:
    """What one file would disclose: a code of ``DISCLOSURE_CODES``, how often, and an example."""

    file: str
    code: str
    count: int
    example: str

    def __post_init__(self) -> None:
        if self.code not in DISCLOSURE_CODES:
            raise ValueError(f"{self.code!r} is not documented in DISCLOSURE_CODES")

    def to_json(self) -> dict[str, Any]:
        """The disclosure as plain values for JSON."""
        return asdict(self)


def find_disclosures(folder: Path | str) -> list[Disclosure]:
    """Find everything in a folder that tells who a patient is or whose machine it comes from.

    Names, UIDs and folders of published sets (``pseudonyms.PUBLISHED``) disclose nothing. Ages in years, sexes, labels,
    sites and subgroups are kept on purpose, as are the hashes of pixels, by which whoever has a scan knows it again.
    What is drawn in the pixels is not checked.

    Raises:
      InputError: the folder is not there, or is none.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError("is no folder", where=folder, fix="name the folder of a run or a store")
    found: dict[tuple[str, str], list[str]] = {}
    public = public_names(folder)
    for path in _files(folder):
        file = path.relative_to(folder).as_posix()
        for code, example in _in_file(path, public):
            found.setdefault((file, code), []).append(example)
    for code, file, example in _in_store(folder):
        found.setdefault((file, code), []).append(example)
    return [
        Disclosure(file=one_line(file), code=code, count=len(examples), example=one_line(examples[0], max_chars=80))
        for (file, code), examples in sorted(found.items())
    ]


def format_disclosures(found: list[Disclosure]) -> str:
    """A line for each file and kind, and what the kinds mean."""
    if not found:
        return (
            "Nothing was found that says who a patient is. Pixels, and the words of sites and subgroups, were not "
            "checked: see docs/privacy.md."
        )
    lines = []
    for one in found:
        example = f", such as {one.example}" if one.example else ""
        lines.append(f"{one.file}: {one.code}, {one.count} time{'s' * (one.count > 1)}{example}")
    codes = sorted({one.code for one in found})
    return "\n".join([*lines, "", *(f"{code}: {DISCLOSURE_CODES[code]}" for code in codes)])


def _files(folder: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):
        folders.sort()
        yield from (Path(place) / name for name in sorted(folders) if (Path(place) / name).is_symlink())
        paths = (Path(place) / name for name in sorted(files))
        yield from (path for path in paths if path.is_symlink() or path.is_file())  # no pipe, which would never end


def _in_file(path: Path, public: set[str]) -> Iterator[tuple[str, str]]:
    """(code, example) of all that a file discloses by itself."""
    if path.is_symlink():
        if os.path.isabs(target := os.readlink(path)):
            yield "path", target
        return
    if re.match(rf"\.?{re.escape(KEY_NAME)}", path.name):
        yield "key", ""
        return
    if path.name.startswith(".lease.") or path.name.endswith(".xplane.pb"):
        yield "machine", path.name
    if path.parent.name == SHARD_FOLDER and path.suffix == ".array_record":
        return  # ``_in_store`` reads its header; the rest is pixels
    if is_dicom(path):
        yield "identity", path.name
        return
    is_text = path.suffix.lower() in _TEXT
    patterns = (*_EVERYWHERE, *_IN_TEXT) if is_text else _EVERYWHERE
    try:
        for data in _pieces(path):
            looked_at = _BLOB.sub(b" ", data) if is_text else data
            for code, pattern in patterns:
                for match in pattern.finditer(looked_at):
                    example = match[0].decode("utf-8", errors="replace")
                    if code != "uid" or (example not in public and not match[0].startswith(_STANDARD_UIDS)):
                        yield code, example
        if path.suffix == ".csv":
            yield from _in_table(path)
    except (InputError, OSError, zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, ValueError) as error:
        yield "unread", type(error).__name__


def is_dicom(path: Path) -> bool:
    """Whether a file begins as DICOM files do (PS3.10, section 7.1)."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"
    return False


def _pieces(path: Path) -> Iterator[bytes]:
    """The bytes of a file in pieces that overlap, and of what is in it where it is an archive such as ``.npz``."""
    with path.open("rb") as file:
        yield from _overlapping(file)
    if path.suffix == ".npz" and zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if sum(member.file_size for member in archive.infolist()) > _MOST_INFLATED:
                raise ValueError("too large")
            for member in archive.infolist():
                with archive.open(member) as inner:
                    yield from _overlapping(inner)


def _overlapping(file: Any) -> Iterator[bytes]:
    end = b""
    while data := file.read(_PIECE):
        yield end + data
        end = data[-_OVERLAP:]


def table_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a table of ours, as text; InputError where it cannot be read."""
    table = read_text_table(path).rows
    return [dict(zip(table.columns, row, strict=True)) for row in table.itertuples(index=False, name=None)]


def _in_table(path: Path) -> Iterator[tuple[str, str]]:
    """Names in a table that are neither published nor pseudonyms."""
    for row in table_rows(path):
        origin, patient = patient_of(row)
        if patient and (origin not in PUBLISHED or PSEUDONYM.fullmatch(patient)):
            yield from (("name", name) for name in _true_names(row, patient))


def _true_names(row: Mapping[str, Any], patient: str) -> Iterator[str]:
    """The patient, study and series of a private scan that are no pseudonyms; UIDs are found by their shape."""
    for name in (patient, *(str(row.get(column) or "") for column in ID_COLUMNS[1:])):
        if name and not PSEUDONYM.fullmatch(name) and not _UID.fullmatch(name.encode(errors="replace")):
            yield name


def patient_of(row: Mapping[str, Any]) -> tuple[str, str]:
    """Origin and name of the patient of a row: two columns of ``seen.csv``, one of a table of predictions."""
    patient = str(row.get("patient") or "")
    if "origin" in row:
        return str(row["origin"]), patient
    origin, _, name = patient.rpartition("/")
    return origin, name


def public_names(folder: Path) -> set[str]:
    """Studies and series of published sets, as the tables and the index below a folder name them."""
    public: set[str] = set()
    for path in _files(folder):
        if path.is_symlink():
            continue
        try:
            rows: Any = ()
            if path.suffix == ".csv":
                rows = table_rows(path)
            elif path.name == INDEX_NAME:
                rows = read_store_index(path).entries or ()
            for row in rows:
                origin, patient = patient_of(row)
                if row.get("cohort", origin) in PUBLISHED and not PSEUDONYM.fullmatch(patient):
                    public |= {str(row.get(name)) for name in ID_COLUMNS}
        except (InputError, OSError, ValueError):
            continue
    return public


def _in_store(folder: Path) -> Iterator[tuple[str, str, str]]:
    """(code, file, example) of what index and records of a store disclose; nothing where the folder is no store."""
    if not (folder / INDEX_NAME).is_file():
        return
    try:
        store = Store.open(folder)
    except InputError as error:
        yield "unread", INDEX_NAME, error.what
        return
    own = store.index[~store.index["cohort"].isin(list(PUBLISHED))]
    for group in group_columns(own):
        if tells_scans_apart(own[group]):
            yield "subgroup", INDEX_NAME, group.removeprefix(GROUP_PREFIX)
    private = own.to_dict("records")
    with contextlib.suppress(InputError, OSError):  # said already, as of any table
        named = [row["path"] for row in table_rows(folder / REJECTS_NAME) if row.get("path")] if private else []
        yield from (("file_name", REJECTS_NAME, path) for path in named)
    for entry in private:
        yield from (("name", INDEX_NAME, name) for name in _true_names(entry, entry["patient"]))
        file = f"{SHARD_FOLDER}/{entry['shard']}"
        try:
            header = read_header(read_shard(folder / file), where=file)[0]
        except InputError as error:
            yield "unread", file, error.what
            continue
        yield from ((code, file, example) for code, example in in_header(header))


def in_header(header: RecordHeader) -> Iterator[tuple[str, str]]:
    """(code, example) of what the header of a private scan's record discloses."""
    names = [name for name in header.source if not re.fullmatch(r"\d{1,6}", name)]
    for name in names:
        yield ("uid" if _UID.fullmatch(name.encode()) else "file_name"), name
    if header.audit != (plain := without_free_text(header.audit)):
        texts = (header.audit.description, header.audit.kernel, header.audit.manufacturer, header.audit.modality)
        plains = (plain.description, plain.kernel, plain.manufacturer, plain.modality)
        differing = [text for text, known in zip(texts, plains, strict=True) if text != known]
        yield "free_text", differing[0] if differing else ""
