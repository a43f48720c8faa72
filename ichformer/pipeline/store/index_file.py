"""Reads and writes ``index.json`` of a store: its preparation, labels, naming, and one entry for each scan."""

import functools
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec

from ichformer.cohorts.index import group_columns
from ichformer.cohorts.patients import PATIENT_SOURCES
from ichformer.errors import InputError, one_line
from ichformer.files.json_files import MAX_BYTES, Count, convert, read_json
from ichformer.labels import SIX, LabelSet
from ichformer.pipeline.preparation.config import check_prepare
from ichformer.pipeline.store.header import LabelValue, TargetValue
from ichformer.pipeline.store.pseudonyms import Naming

STORE_VERSION = 2
"""The schema of a store of the six labels."""

OWN_LABELS_VERSION = 3
"""The schema of a store that names its own label set: an earlier ichformer refuses it."""

INDEX_NAME = "index.json"
REJECTS_NAME = "rejects.csv"
SHARD_FOLDER = "shards"
_ENTRY_BYTES = 1 << 14
"""Most of an entry in the index: it takes a thousand, and some more for each column of groups and labels."""

_FIX = "the store is damaged: run prepare again"


@dataclass(frozen=True, kw_only=True)
class StoreIndex:
    """The contents of an ``index.json``.

    Attributes:
      config: the configuration of the preparation, as plain values.
      naming: how scans are called.
      entries: one for each scan; None where the preparation has not finished.
      label_set: the labels and targets of the entries.
      recipe: the ``RECIPE_VERSION`` by which the scans were prepared; None where an earlier ichformer did not say it.
    """

    config: dict[str, Any]
    naming: Naming
    entries: list[dict[str, Any]] | None
    label_set: LabelSet = SIX
    recipe: int | None = None


def read_store_index(path: Path) -> StoreIndex:
    """Reads and checks an ``index.json``.

    An earlier ichformer did not record how patients are known: the ``patient_source`` of such entries is "unknown".
    Nor did it read boxes: ``boxed_labels`` is empty.

    Raises:
      InputError: there is none, it is of another version, or anything in it is not what it should be.
    """
    values = read_index_values(path)
    label_set = SIX
    if values["schema"] == OWN_LABELS_VERSION:
        label_set = convert(values, _Labelled, where=path, fix=_FIX).label_set
        if label_set.is_default:
            raise InputError(f"schema {OWN_LABELS_VERSION} with the six labels", where=path, fix=_FIX)
    found = convert(values, _index_kind(label_set), where=path, fix=_FIX)
    check_prepare(found.config, where=path, fix=_FIX)
    for entry in values["series"] or ():
        entry.setdefault("patient_source", "unknown")
        entry.setdefault("boxed_labels", "")
        if any(not isinstance(entry[name], str) for name in group_columns(entry)):
            raise InputError("a column of groups holds something else than text", where=path, fix=_FIX)
    return StoreIndex(
        config=found.config,
        naming=found.names or Naming(),
        entries=values["series"],
        label_set=label_set,
        recipe=found.recipe,
    )


def index_values(index: StoreIndex) -> dict[str, Any]:
    """Returns the values for an ``index.json``; a store of the six labels does not name them."""
    is_default = index.label_set.is_default
    values: dict[str, Any] = {"schema": STORE_VERSION if is_default else OWN_LABELS_VERSION, "config": index.config}
    values |= {} if index.recipe is None else {"recipe": index.recipe}
    values |= {} if is_default else {"label_set": asdict(index.label_set)}
    values |= {"series": index.entries}
    return values | ({"names": index.naming.to_json()} if index.naming.patient_key else {})


def read_index_values(path: Path) -> dict[str, Any]:
    """Reads all values of an ``index.json`` as they stand there; InputError for a version that is not known."""
    if not path.exists():
        raise InputError("this is no store: it has no index.json", where=path.parent, fix="run prepare first")
    shards = path.parent / SHARD_FOLDER
    n_shards = sum(1 for _ in os.scandir(shards)) if shards.is_dir() else 0
    values = read_json(path, dict, fix=_FIX, max_bytes=MAX_BYTES + _ENTRY_BYTES * n_shards)
    if values.get("schema") not in (STORE_VERSION, OWN_LABELS_VERSION):
        found = one_line(repr(values.get("schema")), max_chars=40)
        what = f"schema {found}, this ichformer reads {STORE_VERSION} and {OWN_LABELS_VERSION}"
        raise InputError(what, where=path, fix="prepare anew")
    return values


_PatientSource = Annotated[str, msgspec.Meta(pattern=rf"^(?:{'|'.join(PATIENT_SOURCES)})\Z")]


class _Labelled(msgspec.Struct):
    """The label set of a store that names its own."""

    label_set: LabelSet


class _Entry(msgspec.Struct, kw_only=True):
    """An entry without its labels and its columns of groups."""

    cohort: str
    site: str
    patient: str
    study: str
    series: str
    split: str
    origin: str
    shard: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{32}\.array_record\Z")]
    sha256: str
    pixels: str
    n_slices: Count
    height: Count
    width: Count
    bytes: Count
    has_mask: bool
    boxed_labels: str = ""
    patient_source: _PatientSource = "unknown"


class _Index(msgspec.Struct, kw_only=True):
    """An index without its entries."""

    config: dict[str, Any]
    names: Naming | None = None
    recipe: Count | None = None


@functools.lru_cache(maxsize=16)
def _index_kind(label_set: LabelSet) -> type[Any]:
    """The type of an index whose entries have these labels and targets."""
    labels = [(name, LabelValue) for name in label_set.names] + [(name, TargetValue) for name in label_set.targets]
    entry = msgspec.defstruct("Entry", labels, bases=(_Entry,), kw_only=True)
    return msgspec.defstruct("Index", [("series", list[entry] | None)], bases=(_Index,), kw_only=True)  # type: ignore[valid-type]
