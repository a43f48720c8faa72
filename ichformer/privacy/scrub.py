"""Copying a store or a run without what tells who a patient is or whose machine it came from."""

import hashlib
import hmac
import json
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePath, PureWindowsPath
from typing import Any

from array_record.python.array_record_module import ArrayRecordWriter

from ichformer.ct.known_words import without_free_text
from ichformer.errors import InputError
from ichformer.files.csv_fields import csv_bytes
from ichformer.pipeline.preparation.facts import FACTS_NAME, complete_facts, read_facts
from ichformer.pipeline.preparation.rejects import hide_names
from ichformer.pipeline.store.card import CARD_NAME, write_card
from ichformer.pipeline.store.index_file import INDEX_NAME, REJECTS_NAME, SHARD_FOLDER, read_index_values
from ichformer.pipeline.store.pseudonyms import KEY_NAME, PUBLISHED, Naming, key_id, pseudonym, read_key
from ichformer.pipeline.store.records import Store, decode_record, encode_record, shard_path
from ichformer.privacy.disclosure import (
    ID_COLUMNS,
    PSEUDONYM,
    Disclosure,
    find_disclosures,
    in_header,
    is_dicom,
    patient_of,
    public_names,
    table_rows,
)

_LEFT_OUT = re.compile(rf"\.?{re.escape(KEY_NAME)}.*|\.lease\..*|.*\.xplane\.pb|cache|profile")
"""Files and folders that a copy does without."""

_PATH = re.compile(r"(?<![\w.:/<+=~])/(?:[\w.~@+-]+/)+[\w.~@+-]+|\b[A-Z]:(?:\\+[\w.~@+-]+)+")
_REPLACED = (
    (re.compile(r'(?<=")/(?:[^"/\n]+/)+[^"/\n]+(?=")'), lambda match: _last(match[0])),
    (re.compile(r'<section class="card identity">.*?</section>', re.DOTALL), ""),
    (_PATH, lambda match: _last(match[0])),
    (re.compile(r"(?<![\w.+-])[\w.+-]+@[\w-]+(?:\.[\w-]+)+"), "(address)"),
    (re.compile(r"(?<![\w.-])(?:19|20)\d\d(-?)(?:0[1-9]|1[0-2])\1(?:0[1-9]|[12]\d|3[01])(?![\w-]|\.\d)"), "(date)"),
    (re.compile(r"(?<![\w.])\d\d?\.\d\d?\.(?:19|20)\d\d(?![\w.])"), "(date)"),
)
_UID = re.compile(r"(?<![\w.])[0-2](?:\.(?:0|[1-9]\d*)){5,}(?![\w.])")
_BLOB = re.compile(r"([A-Za-z0-9+/=]{100,})")


def scrub(folder: Path | str, out: Path | str, *, patient_key: Path | str | None = None) -> list[Disclosure]:
    """Copy a folder without what ``find_disclosures`` finds in it, as far as that can be removed.

    The key, leases, traces and tables of the adapters stay away. Names that are no pseudonyms become pseudonyms, by the
    key of the store, ``patient_key`` or, where there is neither, one that is made and forgotten. Absolute paths keep
    their last part, dates and addresses go. The records of a store with UIDs are written anew. The copy of a store of
    one key and of a run on it go together if both are scrubbed with that key.

    Args:
      folder: of a store, of a run, or any other that ichformer wrote; it stays as it is.
      out: the copy; must not be there.
      patient_key: a file with the key.

    Returns:
      What the copy still discloses.

    Raises:
      InputError: no such folder, ``out`` is there or lies in it, a damaged record, or nowhere to write.
    """
    folder, out = Path(folder), Path(out)
    if not folder.is_dir():
        raise InputError("is no folder", where=folder, fix="name the folder of a run or a store")
    if out.exists() or out.is_symlink():
        raise InputError("is there already", where=out, fix="name a new folder for the copy")
    if out.resolve().is_relative_to(folder.resolve()):
        raise InputError("lies in the folder that is copied", where=out, fix="name a place outside of it")
    key = _key(folder, None if patient_key is None else Path(patient_key))
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=".scrub-") as temporary:
            copy = Path(temporary) / "copy"
            _copy(folder, copy, key)
            left = find_disclosures(copy)
            os.rename(copy, out)
    except OSError as error:
        raise InputError(f"cannot be written ({error.strerror})", where=out, fix="name a writable place") from None
    return left


def _key(folder: Path, given: Path | None) -> bytes:
    if given is not None:
        return read_key(given)
    return read_key(folder / KEY_NAME) if (folder / KEY_NAME).exists() else secrets.token_bytes(32)


def _copy(folder: Path, copy: Path, key: bytes) -> None:
    public = public_names(folder)
    store = Store.open(folder) if (folder / INDEX_NAME).is_file() else None
    of_store = {SHARD_FOLDER, INDEX_NAME, REJECTS_NAME, FACTS_NAME, CARD_NAME} if store is not None else set()
    copy.mkdir()
    for place, folders, files in os.walk(folder):
        below = Path(place).relative_to(folder)
        at_top = below == Path()
        folders[:] = [
            name
            for name in folders
            if not _LEFT_OUT.fullmatch(name)
            and not (at_top and name in of_store)
            and not os.path.isabs(_target(Path(place) / name))
        ]
        for name in folders:
            if (Path(place) / name).is_symlink():
                os.symlink(_target(Path(place) / name), copy / below / name, target_is_directory=True)
            else:
                (copy / below / name).mkdir()
        for name in files:
            path = Path(place) / name
            if _LEFT_OUT.fullmatch(name) or (at_top and name in of_store) or path.is_symlink() or not path.is_file():
                continue
            if is_dicom(path):  # results for an archive name the patient
                continue
            _copy_file(path, copy / below / name, key, public)
    if store is not None:
        _copy_store(store, copy, key)


def _target(path: Path) -> str:
    return os.readlink(path) if path.is_symlink() else ""


def _copy_file(path: Path, to: Path, key: bytes, public: set[str]) -> None:
    suffix = path.suffix.lower()
    if suffix not in (".csv", ".html", ".json", ".jsonl", ".md", ".txt", ".log"):
        shutil.copyfile(path, to)
        return
    text = path.read_text(encoding="utf-8", errors="replace")
    if suffix == ".csv" and (rows := list(table_rows(path))) and "patient" in rows[0]:
        text = _as_csv([_renamed_row(row, key) for row in rows])
    to.write_text(_plain(text, public), encoding="utf-8")


def _plain(text: str, public: set[str]) -> str:
    """A text without paths, dates, addresses and UIDs; long base64 stays as it is."""
    parts = _BLOB.split(text)
    for i in range(0, len(parts), 2):
        for pattern, by in _REPLACED:
            parts[i] = pattern.sub(by, parts[i])
        parts[i] = _UID.sub(lambda match: match[0] if match[0] in public else "(uid)", parts[i])
    return "".join(parts)


def _last(path: str) -> str:
    return (PureWindowsPath(path) if "\\" in path else PurePath(path)).name


def _as_csv(rows: list[dict[str, str]]) -> str:
    return csv_bytes({name: [row[name] for row in rows] for name in rows[0]}).decode()


def _renamed_row(row: Mapping[str, str], key: bytes) -> dict[str, str]:
    """A row of a table of ours in which a private scan has pseudonyms."""
    origin, patient = patient_of(row)
    if not patient or (origin in PUBLISHED and not row.get("patient_key") and not PSEUDONYM.fullmatch(patient)):
        return dict(row)
    before = "" if "origin" in row else row["patient"].removesuffix(patient)
    renamed = dict(row) | {name: _renamed(row[name], name, key) for name in ID_COLUMNS if row.get(name)}
    renamed["patient"] = before + _renamed(patient, "patient", key)
    if "patient_key" in row and not row["patient_key"]:
        renamed["patient_key"] = key_id(key)
    return renamed


def _renamed(name: str, kind: str, key: bytes) -> str:
    return name if PSEUDONYM.fullmatch(name) else pseudonym(name, kind, key)


def _copy_store(store: Store, copy: Path, key: bytes) -> None:
    values = read_index_values(store.path / INDEX_NAME)
    facts, known = read_facts(store.path / FACTS_NAME, store.index["sha256"], store.label_set), {}
    (copy / SHARD_FOLDER).mkdir()
    of_shard = {entry["shard"]: row for row, entry in store.index.iterrows()}
    for entry in values["series"]:
        row, sha256 = of_shard[entry["shard"]], entry["sha256"]
        if entry["cohort"] not in PUBLISHED:
            entry |= {name: _renamed(entry[name], name, key) for name in ID_COLUMNS}
        if entry["cohort"] in PUBLISHED or not any(in_header(store.header(row))):
            shutil.copyfile(shard_path(store.path, entry["shard"]), shard_path(copy, entry["shard"]))
        else:
            entry |= _write_record(store, row, entry["shard"], copy, key)
        if sha256 in facts:
            known[entry["sha256"]] = facts[sha256]
    values["series"] = sorted(values["series"], key=lambda entry: entry["series"])
    if any(entry["cohort"] not in PUBLISHED for entry in values["series"]):
        values["names"] = Naming(patient_key=store.naming.patient_key or key_id(key)).to_json()
    (copy / INDEX_NAME).write_text(json.dumps(values, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    if (store.path / REJECTS_NAME).is_file():
        _copy_rejects(store, copy, key)
    copied = Store.open(copy)
    complete_facts(copied, known)
    if (store.path / CARD_NAME).is_file():
        write_card(copied)


def _write_record(store: Store, row: int, shard: str, copy: Path, key: bytes) -> dict[str, Any]:
    """A scan's record with numbers for names of slices and without free text; what the index says of it."""
    scan = decode_record(store.record(row), where=shard)
    volume = replace(
        scan.volume,
        source=tuple(f"{s:04d}" for s in range(len(scan.volume.hu))),
        audit=without_free_text(scan.volume.audit),
    )
    record = encode_record(replace(scan, volume=volume))
    name = hmac.new(key, shard.encode(), hashlib.sha256).hexdigest()[:32] + ".array_record"
    writer = ArrayRecordWriter(os.fsencode(shard_path(copy, name)), "group_size:1,uncompressed")
    writer.write(record)
    writer.close()
    n_bytes = shard_path(copy, name).stat().st_size
    return {"shard": name, "bytes": n_bytes, "sha256": hashlib.sha256(record).hexdigest()}


def _copy_rejects(store: Store, copy: Path, key: bytes) -> None:
    rows = list(table_rows(store.path / REJECTS_NAME))
    private = (~store.index["cohort"].isin(PUBLISHED)).any()
    for row in rows if private else ():
        path, reason = row.get("path", ""), row.get("reason", "")
        if path:
            reason = f"the scan: {hide_names(reason.partition(': ')[2] or reason, Path(path))}"
        row |= {"series": _renamed(row.get("series", ""), "series", key), "path": "", "reason": reason}
    text = _as_csv(rows) if rows else (store.path / REJECTS_NAME).read_text(encoding="utf-8", errors="replace")
    (copy / REJECTS_NAME).write_text(text, encoding="utf-8")
