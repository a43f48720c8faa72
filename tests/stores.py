"""Tiny stores, prepared in this process: a pool takes seconds to start."""

import pathlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import pandas as pd

from ichformer.labels import SIX, LabelSet
from ichformer.pipeline.preparation.config import PrepareConfig
from ichformer.pipeline.preparation.prepare import prepare_index
from ichformer.pipeline.store.records import Store, shard_path

CONFIG = PrepareConfig(size=32)


def shard_paths(store: Store, rows: Iterable[int]) -> list[str]:
    return [str(shard_path(store.path, store.index["shard"].iloc[row])) for row in rows]


def prepare_here(
    index: pd.DataFrame,
    out: pathlib.Path,
    config: PrepareConfig = CONFIG,
    *,
    label_set: LabelSet = SIX,
    patient_key: pathlib.Path | None = None,
    with_uids: bool = False,
) -> Store:
    with ThreadPoolExecutor(1) as executor:
        return prepare_index(
            index,
            out,
            label_set=label_set,
            config=config,
            executor=executor,
            patient_key=patient_key,
            with_uids=with_uids,
            progress=False,
        )
