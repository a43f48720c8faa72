"""Several stores as one, so that a training draws its scans from all of them."""

import dataclasses
import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Int64

from ichformer.cohorts.index import group_columns
from ichformer.errors import InputError
from ichformer.files.writing import shown
from ichformer.pipeline.preparation.config import PrepareConfig
from ichformer.pipeline.store.records import Store, shard_path


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Mixture(Store):
    """Stores of one preparation, one after the other in ``index``; what they share is that of the first.

    Attributes:
      folders: of the stores.
      counts: how many scans each has.
    """

    folders: tuple[Path, ...]
    counts: tuple[int, ...]

    @cached_property
    def _paths(self) -> list[str]:
        folders = itertools.chain(*map(itertools.repeat, self.folders, self.counts))
        return [str(shard_path(*place)) for place in zip(folders, self.index["shard"], strict=True)]


def with_more(store: Store, more: Sequence[str | os.PathLike[str]], *, split: str) -> Store:
    """A store with the scans that further stores have in ``split``; the store itself where there are no further ones.

    Each further store keeps its other splits too, under names with its folder in front. So the first one alone has
    "val" and "test", and a check for leakage sees what the others hold out.

    Args:
      store: the first one, whose rows keep their numbers.
      more: folders of the further ones. Their labels may be unknown.
      split: which of their scans are added.

    Raises:
      InputError: a store is given twice, lacks the split, or has another preparation, recipe or label set.
    """
    if not more:
        return store
    others = [Store.open(folder) for folder in more]
    there = {store.path.resolve()}
    for other in others:
        if (path := other.path.resolve()) in there:
            raise InputError("is given twice", where=other.path, fix="give each store once, and weights instead")
        there.add(path)
        _check_alike(store, other)
        other.rows(split)
    index = pd.concat([store.index, *(_renamed(other, split) for other in others)], ignore_index=True)
    groups = group_columns(index)
    index[groups] = index[groups].fillna("")
    stores = [store, *others]
    values = {field.name: getattr(store, field.name) for field in dataclasses.fields(Store)}
    folders, counts = zip(*((one.path, len(one.index)) for one in stores), strict=True)
    return Mixture(**(values | {"index": index}), folders=folders, counts=counts)


def folders_of(store: Store) -> tuple[Path, ...]:
    """The folders that the scans of a store lie in."""
    return store.folders if isinstance(store, Mixture) else (store.path,)


def rows_by_store(store: Store, split: str) -> list[Int64[np.ndarray, "n"]]:
    """The rows of a split, for each of the stores that a mixture consists of; all of them for another store."""
    rows = store.rows(split)
    if not isinstance(store, Mixture):
        return [rows]
    return np.split(rows, np.searchsorted(rows, np.cumsum(store.counts)[:-1]))


def _renamed(store: Store, split: str) -> pd.DataFrame:
    splits = store.index["split"]
    is_kept = splits.isin(["", split])
    return store.index.assign(split=splits.where(is_kept, f"{store.path.name}: " + splits))


def _check_alike(store: Store, other: Store) -> None:
    """InputError where a model could not take the scans of both stores alike."""
    fix = f"prepare it as {shown(store.path)} was"
    own, theirs = (dataclasses.asdict(PrepareConfig(**one.config)) for one in (store, other))
    if changed := [f"{name} {theirs[name]}, not {value}" for name, value in own.items() if theirs[name] != value]:
        raise InputError(f"was prepared with {'; '.join(changed)}", where=other.path, fix=fix)
    if store.recipe != other.recipe:
        recipes = [one.recipe or "unknown" for one in (other, store)]
        raise InputError(
            f"was prepared by recipe {recipes[0]}, and {shown(store.path)} by {recipes[1]}",
            where=other.path,
            fix="prepare both with the same ichformer",
        )
    if store.label_set != other.label_set:
        raise InputError(
            f"has the labels and targets {', '.join(other.label_set.columns)}, and {shown(store.path)} has "
            f"{', '.join(store.label_set.columns)}",
            where=other.path,
            fix="prepare it with the same --label-names and --targets; they may be unknown",
        )
