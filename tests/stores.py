"""Tiny stores, prepared in this process: a pool takes seconds to start."""

import pathlib
from concurrent.futures import ThreadPoolExecutor

import pandas as pd

from ichformer.pipeline.preparation.config import PrepareConfig
from ichformer.pipeline.preparation.prepare import prepare
from ichformer.pipeline.store.records import Store

CONFIG = PrepareConfig(size=32)


def prepare_here(
    index: pd.DataFrame,
    out: pathlib.Path,
    config: PrepareConfig = CONFIG,
    *,
    patient_key: pathlib.Path | None = None,
    with_uids: bool = False,
) -> Store:
    with ThreadPoolExecutor(1) as executor:
        return prepare(
            index, out, config=config, executor=executor, patient_key=patient_key, with_uids=with_uids, progress=False
        )
