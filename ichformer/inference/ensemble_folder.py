"""The folder of an ensemble, written and read: members with their parameters and weights. It needs no other folder."""

import dataclasses
import hashlib
import json
import tempfile
from pathlib import Path
from typing import Annotated, Any

import jax
import msgspec
import numpy as np
import pandas as pd
from flax import traverse_util
from safetensors.numpy import save

from ichformer.cohorts.tables import write_table
from ichformer.errors import InputError
from ichformer.files.json_files import Count, Line, convert, read_json
from ichformer.files.writing import write_bytes, write_text
from ichformer.inference.ensembles import ENSEMBLE_NAME, EnsembleRun, assemble
from ichformer.models.ensemble import View
from ichformer.models.weights.files import read_tensors
from ichformer.objectives.classification import Classification
from ichformer.pipeline.preparation.config import PrepareConfig
from ichformer.training.config import read_config
from ichformer.training.runs.label_set import recorded_objective
from ichformer.training.runs.run import SEEN_COLUMNS, SEEN_NAME, Run, initial_state, read_facts, seen_scans
from ichformer.training.runs.store_path import STORE_FACT, find_store, way_to_store, ways_to_stores

VERSION = 1
"""Of the layout of the folder."""


def write_ensemble(ensemble: EnsembleRun, facts: dict[str, Any]) -> None:
    """Writes the folder, whole or not at all: nothing in it depends on the members' own folders any more.

    Args:
      ensemble: ``path`` says where.
      facts: further values for ``ensemble.json``.

    Raises:
      InputError: something is there, it cannot be written, or a member has no list of the scans it was trained on.
    """
    seen = [_seen(member) for member in ensemble.members]
    check_new(ensemble.path)
    members = [save(params) for params in _unstacked(ensemble)]
    values = {
        "version": VERSION,
        "views": ensemble.views,
        "members": [
            {"run": m.path.absolute().name, "step": m.step, "weight": w, "sha256": hashlib.sha256(params).hexdigest()}
            for m, w, params in zip(ensemble.members, ensemble.weights, members, strict=True)
        ],
        **facts,
    }
    try:
        ensemble.path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=ensemble.path.parent, prefix=f".{ensemble.path.name}.") as temporary:
            new = Path(temporary) / "ensemble"
            for i, (member, params) in enumerate(zip(ensemble.members, members, strict=True)):
                folder = new / member_folder(i)
                folder.mkdir(parents=True)
                way = _way_to_store(member, ensemble.path / folder.name)
                more = ways_to_stores(member.config.data.more, ensemble.path / folder.name)
                data = dataclasses.replace(member.config.data, store=way or member.config.data.store, more=more)
                write_text(dataclasses.replace(member.config, data=data).to_json(), folder / "config.json")
                write_text(json.dumps(member.facts | {STORE_FACT: way}, indent=2) + "\n", folder / "run.json")
                write_bytes(params, folder / "params.safetensors")
            table = pd.concat(seen).drop_duplicates().sort_values(list(SEEN_COLUMNS))
            write_table(table, new / SEEN_NAME)
            write_text(json.dumps(values, indent=2) + "\n", new / ENSEMBLE_NAME)
            new.rename(ensemble.path)
    except OSError as error:
        raise InputError(
            f"cannot be written ({error.strerror})", where=ensemble.path, fix="name a writable place"
        ) from None


def check_new(path: Path) -> None:
    """InputError where something but an empty folder is at the place of a new ensemble."""
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise InputError("is there already", where=path, fix="name a new or an empty folder")


def read_ensemble(path: Path) -> EnsembleRun:
    """The ensemble in a folder; InputError where it is damaged or of another version."""
    file = path / ENSEMBLE_NAME
    fix = "the file is damaged: restore it, or make the ensemble again"
    values = read_json(file, dict, fix=fix)
    if values.get("version") != VERSION:
        raise InputError(
            f"is of layout version {values.get('version')!r}, this ichformer reads {VERSION}",
            where=file,
            fix="use the ichformer that wrote it, or make the ensemble again",
        )
    found = convert(values, _Values, where=file, fix=fix)
    members = [_read_member(path / member_folder(i), member) for i, member in enumerate(found.members)]
    return assemble(members, [member.weight for member in found.members], found.views, path)


class _Member(msgspec.Struct):
    step: Count
    weight: float
    sha256: Line = ""
    """Of its parameters, which have no checksum of their own; earlier versions wrote none."""


class _Values(msgspec.Struct):
    """What is read of ``ENSEMBLE_NAME``."""

    views: Annotated[tuple[View, ...], msgspec.Meta(min_length=1)]
    members: Annotated[list[_Member], msgspec.Meta(min_length=1, max_length=1000)]


def _read_member(folder: Path, member: _Member) -> Run:
    config, facts = read_config(folder / "config.json"), read_facts(folder / "run.json")
    objective, prepare = recorded_objective(config, facts, where=folder), PrepareConfig(**facts["prepare"])
    file = folder / "params.safetensors"
    fix = "restore the ensemble, or make it again"
    found = read_tensors(file)
    if member.sha256:
        with file.open("rb") as opened:
            if hashlib.file_digest(opened, "sha256").hexdigest() != member.sha256:
                raise InputError("is not as it was written", where=file, fix=fix)
    wanted = jax.eval_shape(lambda: initial_state(objective, config, prepare.size)).params
    shapes = {name: leaf.shape for name, leaf in traverse_util.flatten_dict(wanted, sep="/").items()}
    if not isinstance(objective, Classification) or shapes != {name: leaf.shape for name, leaf in found.items()}:
        raise InputError("does not fit the config.json beside it", where=file, fix=fix)
    params = traverse_util.unflatten_dict(found, sep="/")
    return Run(
        path=folder,
        config=config,
        prepare=prepare,
        objective=objective,
        params=params,
        step=member.step,
        facts=facts,
    )


def member_folder(number: int) -> str:
    """The name of the folder of a member, by its number from 0."""
    return f"member-{number:02d}"


def _unstacked(ensemble: EnsembleRun) -> list[dict[str, np.ndarray]]:
    """Each member's parameters by flat name, in the order of ``ensemble.members``."""
    found = []
    for number, group in enumerate(ensemble.objective.model.groups):
        flat = traverse_util.flatten_dict(jax.device_get(ensemble.params[f"group{number}"]), sep="/")
        for i in range(len(group.weights)):
            found.append({name: np.ascontiguousarray(leaf[i]) for name, leaf in flat.items()})
    return found


def _seen(member: Run) -> pd.DataFrame:
    seen = seen_scans(member.path)
    if seen is None:
        raise InputError(
            "keeps no list of the scans it was trained on, and nobody could tell what the ensemble may be evaluated on",
            where=member.path,
            fix="train it again",
        )
    return seen


def _way_to_store(member: Run, folder: Path) -> str:
    """From the member's folder in an ensemble; "" where its store is not to be found."""
    try:
        store = find_store(member.config.data.store, member.path, str(member.facts.get(STORE_FACT, "")))
    except InputError:
        return ""
    return way_to_store(store, folder)
