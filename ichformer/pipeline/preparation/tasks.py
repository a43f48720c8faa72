"""Lists the work of ``prepare``: one task a series, with all that a worker needs for it."""

import hashlib
import hmac
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ichformer.cohorts.tables import read_box_table, read_slice_table
from ichformer.ct.io.display import WindowHU
from ichformer.errors import InputError, one_line
from ichformer.files.writing import text_path
from ichformer.labels import LabelSet
from ichformer.pipeline.preparation.boxes import Box
from ichformer.pipeline.preparation.config import RECIPE_VERSION, PrepareConfig
from ichformer.pipeline.store.header import RECORD_VERSION
from ichformer.pipeline.store.pseudonyms import Naming, is_private


@dataclass(frozen=True, kw_only=True, eq=False)
class Opened:
    """A store's folder, ready to be written into.

    Attributes:
      out: the folder.
      index: Study index, with true names.
      named: the same rows in the same order, as the store calls them.
      key: of the pseudonyms; empty where there are none.
      naming: how the scans are called.
      known: entries of an earlier preparation by shard.
      label_set: labels and targets of the index.
    """

    out: Path
    index: pd.DataFrame
    named: pd.DataFrame
    key: bytes
    naming: Naming
    known: dict[str, dict[str, Any]]
    label_set: LabelSet


@dataclass(frozen=True, kw_only=True)
class Task:
    """All that a worker needs for one series.

    Attributes:
      series: its true name.
      name: its name in the store.
      number: of its row in the Study index, from 1.
      is_private: whether free text of its header has to go.
      hides_names: whether names of files and slices have to go as well.
      path: where it lies.
      files: below the path, where a table names them.
      mask: path of its mask; "" where there is none.
      boxes: that somebody drew round its lesions.
      label_set: its labels and targets.
      scan_labels: in the order of ``label_set.columns``.
      slice_labels: by the slice's name in ``Volume.source``.
      config: how it is prepared.
      window_hu: for display pictures.
      out: the store's folder.
      shard: name of its shard.
    """

    series: str
    name: str
    number: int
    is_private: bool
    hides_names: bool
    path: str
    files: tuple[str, ...]
    mask: str
    boxes: tuple[Box, ...]
    label_set: LabelSet
    scan_labels: tuple[float, ...]
    slice_labels: dict[str, tuple[float, ...]]
    config: PrepareConfig
    window_hu: WindowHU | None
    out: Path
    shard: str


def list_tasks(opened: Opened, config: PrepareConfig, window_hu: WindowHU | None) -> Iterator[Task]:
    """Yields one task a row of the index, in its order; InputError where a table of slice labels lacks a series."""
    index, label_set = opened.index, opened.label_set
    paths = sorted(set(index["slice_labels"]) - {""})
    tables = {path: read_slice_table(text_path(path), label_set=label_set) for path in paths}
    rows_of = {path: table.groupby("series").indices for path, table in tables.items()}
    boxes_of = _boxes_by_series(index)
    rows = zip(index.to_dict("records"), opened.named["series"], is_private(index["cohort"]), strict=True)
    for number, (row, name, private) in enumerate(rows, start=1):
        files, slice_labels = (), {}
        if row["slice_labels"]:
            if row["series"] not in rows_of[row["slice_labels"]]:
                raise InputError(
                    f"has no row of series {one_line(row['series'])}",
                    where=row["slice_labels"],
                    fix="add its slices, or empty the field slice_labels of that series",
                )
            own = tables[row["slice_labels"]].iloc[rows_of[row["slice_labels"]][row["series"]]]
            labels = map(tuple, own[list(label_set.columns)].to_numpy(np.float64).tolist())
            slice_labels = dict(sorted(zip(own["slice"], labels, strict=True)))
            files = tuple(sorted(file for file in own["file"] if file))
        scan_labels = tuple(float(row[label]) for label in label_set.columns)
        # Only what goes into the record is part of its name, so that a store does not depend on where its sources lie.
        versions, labels_said = (RECORD_VERSION, RECIPE_VERSION), (repr(scan_labels), repr(slice_labels))
        said = [*versions, asdict(config), window_hu, name, bool(row["mask"]), *labels_said]
        boxes = () if row["mask"] else boxes_of.get(row["series"], ())
        said += [boxes] if boxes else []
        said += [] if label_set.is_default else [asdict(label_set)]
        yield Task(
            series=row["series"],
            name=name,
            number=number,
            is_private=bool(private),
            hides_names=bool(private) and not opened.naming.with_uids,
            path=row["path"],
            files=files,
            mask=row["mask"],
            boxes=boxes,
            label_set=label_set,
            scan_labels=scan_labels,
            slice_labels=slice_labels,
            config=config,
            window_hu=window_hu,
            out=opened.out,
            shard=_digest(json.dumps(said).encode(), opened.key if private else b"")[:32] + ".array_record",
        )


def _boxes_by_series(index: pd.DataFrame) -> dict[str, tuple[Box, ...]]:
    """The boxes of each series that has some; one that has a mask as well needs none."""
    found = {}
    for path, names in index[index["boxes"] != ""].groupby("boxes")["series"]:
        of_series = dict(list(read_box_table(text_path(path)).groupby("series")))
        for series in names:
            if series not in of_series:
                raise InputError(
                    f"has no row of series {one_line(series)}",
                    where=path,
                    fix="add its boxes, or empty the field boxes of that series",
                )
            found[series] = tuple(map(Box._make, of_series[series][list(Box._fields)].itertuples(index=False)))
    return found


def _digest(said: bytes, key: bytes) -> str:
    """A hash that cannot be tried out on names without the key, as ``said`` holds those of slices."""
    return hmac.new(key, said, hashlib.sha256).hexdigest() if key else hashlib.sha256(said).hexdigest()
