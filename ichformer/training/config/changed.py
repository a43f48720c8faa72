"""The settings of a training that are not the defaults, as options of the command line."""

import dataclasses
import shlex
from collections.abc import Iterator
from typing import Any

from ichformer.training.config.train import TrainConfig


def changed_settings(config: TrainConfig) -> tuple[str, ...]:
    """One text for each setting that is not the default, such as "--model.name swin3d_t".

    Behind ``ichformer train`` they give the same settings again. The store is always among them, as it has no default.

    Example:
      >>> from ichformer.training.config import DataConfig
      >>> changed_settings(TrainConfig(data=DataConfig(store="store"), steps=50))
      ('--data.store store', '--steps 50')
    """
    return tuple(_changed(config, ""))


def _changed(settings: Any, prefix: str) -> Iterator[str]:
    for field in dataclasses.fields(settings):
        value, name = getattr(settings, field.name), prefix + field.name.replace("_", "-")
        if dataclasses.is_dataclass(value):
            yield from _changed(value, f"{name}.")
        elif value != field.default:
            yield _option(name, value)


def _option(name: str, value: Any) -> str:
    if isinstance(value, bool):
        group, _, last = name.rpartition(".")
        return f"--{name}" if value else f"--{group}{'.' * bool(group)}no-{last}"
    words = value if isinstance(value, tuple) else (value,)
    return shlex.join([f"--{name}", *map(str, words)])
