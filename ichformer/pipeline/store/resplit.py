"""Makes a store with other splits, without copying or preparing its scans again."""

import json
import os
from pathlib import Path

import pandas as pd

from ichformer.errors import InputError
from ichformer.files.writing import write_bytes, write_text
from ichformer.pipeline.preparation.facts import FACTS_NAME
from ichformer.pipeline.store.index_file import INDEX_NAME, SHARD_FOLDER, read_index_values
from ichformer.pipeline.store.records import Store


def resplit(store: Store, splits: pd.Series, out: Path | str) -> Store:
    """Makes a store in the folder ``out`` that links to the shards of another one and has splits of its own.

    It is of use as long as the first store stays where it is.

    Args:
      store: whose scans these are.
      splits: of each row of ``store.index``, "" for scans that are in none.
      out: the folder; an earlier one of the same shards gets the new splits.

    Raises:
      InputError: ``out`` holds other shards or cannot be written.
    """
    out = Path(out)
    of_series = dict(zip(store.index["series"], splits, strict=True))
    values = read_index_values(store.path / INDEX_NAME)
    values["series"] = [entry | {"split": of_series[entry["series"]]} for entry in values["series"]]
    shards, link = (store.path / SHARD_FOLDER).resolve(), out / SHARD_FOLDER
    try:
        out.mkdir(parents=True, exist_ok=True)
        if not link.is_symlink():
            # A relative link says nothing of whose machine this is.
            link.symlink_to(os.path.relpath(shards, out.resolve()), target_is_directory=True)
        if link.resolve() != shards:
            raise InputError("links to the shards of another store", where=out, fix="name another folder")
        if (store.path / FACTS_NAME).is_file():
            write_bytes((store.path / FACTS_NAME).read_bytes(), out / FACTS_NAME)
        write_text(json.dumps(values, indent=1, allow_nan=False) + "\n", out / INDEX_NAME)
    except OSError as error:
        raise InputError(f"cannot be written ({error.strerror})", where=out, fix="name another folder") from None
    return Store.open(out)
