"""What a training starts from, before its other options are read: a recipe, or the settings of a file."""

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ichformer.cli.options import given
from ichformer.errors import InputError
from ichformer.training.config import TrainConfig, read_config
from ichformer.training.config.recipes import find_recipe


@dataclass(frozen=True, kw_only=True)
class Start:
    """Where settings come from that no option gives. A command has them as its parameter ``start``.

    Attributes:
      recipe: Name of ready settings to start from: demo, shipped-weights, rsna2019-slice-vit, rsna2019-swin3d,
        rsna2019-hybrid, rsna2019-hybrid-effnet, rsna2019-medal or pretrain-mae. docs/training.md says what each
        reached. Other options change single settings of it.
      config: File of settings to start from, such as the config.json that every run has in its folder. Other options
        change single settings of it.
    """

    recipe: str = ""
    config: Path | None = None


DEFAULTS = Start()
"""Neither a recipe nor a file."""


def with_base(function: Callable[..., None], words: Sequence[str], *, name: str) -> Callable[..., None]:
    """A command's function, whose settings have the defaults that ``--recipe`` or ``--config`` names.

    Args:
      function: of a command; it comes back as it is where it has no parameter ``start``, or where neither is given.
      words: what was typed after the command.
      name: of the command.

    Raises:
      InputError: both are given, there is no such recipe or no such file, the file cannot be read, or nobody names a
        store.
    """
    signature = inspect.signature(function)
    recipe, config = (" ".join(given(option, words)) for option in ("--recipe", "--config"))
    if "start" not in signature.parameters or not (recipe or config):
        return function
    if recipe and config:
        raise InputError("are given both", where=f"{name}: --recipe and --config", fix="leave one of them out")
    base = find_recipe(recipe).config if recipe else _of_file(Path(config), name)
    if not base.data.store and not given("--data.store", words):
        raise InputError("needs --data.store TEXT", where=name, fix=f"see ichformer {name} --help")

    @functools.wraps(function)
    def started(*args: Any, **kwargs: Any) -> None:
        function(*args, **kwargs)

    parameters = [
        parameter.replace(default=base) if parameter.name == "settings" else parameter
        for parameter in signature.parameters.values()
    ]
    started.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return started


def _of_file(path: Path, name: str) -> TrainConfig:
    if not path.is_file():
        fix = "give a file such as RUN/config.json"
        raise InputError("there is no such file", where=f"{name}: --config {path}", fix=fix)
    return read_config(path)
