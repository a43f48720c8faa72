"""Gives patients, studies and series pseudonyms that only the store's own key can make.

A pseudonym is a keyed hash (HMAC-SHA-256, RFC 2104). A plain hash of a patient's number can be undone by hashing all
numbers there are; without the key this one cannot. The key lies in the store's folder and nowhere else.
"""

import hashlib
import hmac
import os
import re
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec
import pandas as pd

from ichformer.errors import InputError

KEY_NAME = "patient.key"
"""The file in a store's folder with the key, 64 hexadecimal digits: never part of what is shared."""

PUBLISHED = ("bhsd", "cq500", "ctich", "instance", "phantom", "rsna2019")
"""Cohorts that keep the names that their publishers gave: others join them with published tables."""

_PREFIXES = {"patient": "P-", "study": "ST-", "series": "SE-"}
_DIGITS = 16
_MOST_BYTES = 1000


@dataclass(frozen=True, kw_only=True)
class Naming:
    """How the scans of a store are called.

    Attributes:
      patient_key: a short hash of the key, by which stores of one key know each other; "" where there is none, as the
        names are published or an earlier ichformer made them.
      with_uids: studies, series and slices keep their UIDs and file names.
    """

    patient_key: Annotated[str, msgspec.Meta(pattern=r"^(?:[0-9a-f]{8})?\Z")] = ""
    with_uids: bool = False

    def to_json(self) -> dict[str, Any]:
        """Plain values for ``index.json``."""
        return asdict(self)


def is_private(cohorts: pd.Series) -> pd.Series:
    """Returns which scans are not published, so that their names may identify a person."""
    return ~cohorts.isin(PUBLISHED)


def with_pseudonyms(index: pd.DataFrame, key: bytes, *, with_uids: bool) -> pd.DataFrame:
    """Returns a copy of a Study index in which private scans have pseudonyms for patient, study and series.

    Args:
      index: Study index with true names.
      key: of the store.
      with_uids: only patients get pseudonyms.
    """
    private, named = is_private(index["cohort"]), index.copy()
    for column in ("patient",) if with_uids else tuple(_PREFIXES):
        named.loc[private, column] = [pseudonym(name, column, key) for name in index.loc[private, column]]
    return named


def pseudonym(name: str, kind: str, key: bytes) -> str:
    """Returns the pseudonym of a name; "" stays "".

    Args:
      name: true name.
      kind: "patient", "study" or "series". The same text as another kind gets another pseudonym.
      key: of the store.
    """
    if not name:
        return ""
    digest = hmac.new(key, os.fsencode(f"{kind}:{name}"), hashlib.sha256).hexdigest()
    return _PREFIXES[kind] + digest[:_DIGITS]


def key_id(key: bytes) -> str:
    """Returns eight digits that distinguish keys and disclose nothing else of them."""
    return hashlib.sha256(b"ichformer patient key:" + key).hexdigest()[:8]


def read_key(path: Path) -> bytes:
    """Reads the key in a file; InputError where it holds none."""
    try:
        with path.open("rb") as file:
            text = file.read(_MOST_BYTES).decode("ascii", errors="replace").strip()
    except OSError as error:
        raise InputError(
            f"cannot be read ({error.strerror})", where=path, fix=f"name the {KEY_NAME} of a store"
        ) from None
    if not re.fullmatch(r"[0-9a-f]{64}", text):
        raise InputError(
            "holds no key, which is a line of 64 hexadecimal digits", where=path, fix=f"name the {KEY_NAME} of a store"
        )
    return bytes.fromhex(text)


def write_key(key: bytes, folder: Path) -> None:
    """Writes the key as a new file that only its owner may read."""
    path = folder / KEY_NAME
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(key.hex() + "\n")
    except OSError:
        path.unlink(missing_ok=True)  # a half key would be taken for the whole one
        raise


def choose_key(folder: Path, *, given: Path | None, with_uids: bool, recorded: Naming | None) -> tuple[bytes, Naming]:
    """Chooses the key of a new or continued store, writes it into its folder, and returns it with the naming.

    Args:
      folder: of the store.
      given: a file with the key to use.
      with_uids: see ``Naming``.
      recorded: what the store's index says; None where there is none yet.

    Raises:
      InputError: the store that is there has another key, another ``with_uids`` or none of both, or its key is gone.
    """
    there = folder / KEY_NAME
    if recorded is not None and not recorded.patient_key:
        raise InputError(
            "holds names of an earlier ichformer: patients by a hash that can be undone, and UIDs",
            where=folder,
            fix="prepare the scans into another folder, which makes pseudonyms, and delete this one",
        )
    if recorded is not None and recorded.with_uids != with_uids:
        raise InputError(
            f"was prepared with{'' if recorded.with_uids else 'out'} --with-uids",
            where=folder,
            fix="do the same again, or name another folder",
        )
    if there.exists():
        key = read_key(there)
        if given is not None and read_key(given) != key:
            raise InputError("is another key than that of the store", where=given, fix="leave --patient-key out")
    elif given is not None:
        key = read_key(given)
    elif recorded is not None:
        raise InputError("is gone", where=there, fix="restore it, name a copy with --patient-key, or prepare anew")
    else:
        key = secrets.token_bytes(32)
    naming = Naming(patient_key=key_id(key), with_uids=with_uids)
    if recorded is not None and recorded != naming:
        raise InputError(
            "is another key than that of the store",
            where=there if there.exists() else given,
            fix="restore the right one, or prepare anew into another folder",
        )
    if not there.exists():
        write_key(key, folder)
    return key, naming
