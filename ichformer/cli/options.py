"""The options of a command, read from its signature and its docstrings, as help and error messages name them."""

import dataclasses
import inspect
import re
import types
import typing
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

_NAMES = {int: "INT", float: "FLOAT", str: "TEXT", Path: "PATH"}


@dataclass(frozen=True, kw_only=True)
class Option:
    """One option of a command.

    Attributes:
      name: as it is typed, such as "--optim.learning-rate"; of a word without a name, such as the run of
        ``evaluate``, the name in capitals.
      value: what follows it, such as "INT" or "{fitted,equal}"; "" for a switch.
      help: what it does, from the docstring.
      default: its value where it is left out; ``dataclasses.MISSING`` where it has to be given.
      choices: the words that it takes; () where it takes others too.
    """

    name: str
    value: str
    help: str
    default: object
    choices: tuple[str, ...] = ()

    @property
    def is_positional(self) -> bool:
        """Whether it is given without a name, by its place among the words."""
        return not self.name.startswith("--")

    @property
    def is_required(self) -> bool:
        """Whether the command cannot do without it."""
        return self.default is dataclasses.MISSING

    @property
    def names(self) -> tuple[str, ...]:
        """Everything that may be typed for it: a switch has ``--no-NAME`` too."""
        if self.is_positional:
            return ()
        group, _, last = self.name.removeprefix("--").rpartition(".")
        return (self.name,) if self.value else (self.name, f"--{group}{'.' * bool(group)}no-{last}")


@dataclass(frozen=True, kw_only=True)
class Group:
    """Options that belong together, such as those of the optimiser.

    Attributes:
      name: what stands before the dot of its options; "" for the command's own.
      about: what they are for.
      options: in the order of the signature.
    """

    name: str
    about: str
    options: tuple[Option, ...]


def option_groups(function: Callable[..., None]) -> tuple[Group, ...]:
    """The options of a command: its own first, then those of each dataclass of settings that it takes."""
    own: list[Option] = []
    groups: list[Group] = []
    hints, described = typing.get_type_hints(function), _described(function, "Args")
    for name, parameter in inspect.signature(function).parameters.items():
        if dataclasses.is_dataclass(hints[name]):
            first, *others = _of_settings(hints[name], prefix="", about="")
            own += first.options
            groups += others
        else:
            default = dataclasses.MISSING if parameter.default is parameter.empty else parameter.default
            typed = name.upper() if parameter.kind is parameter.POSITIONAL_ONLY else "--" + name.replace("_", "-")
            own.append(_option(typed, hints[name], described.get(name, ""), default))
    return Group(name="", about="", options=tuple(own)), *groups


def all_options(function: Callable[..., None]) -> tuple[Option, ...]:
    """``option_groups`` without the groups."""
    return tuple(option for group in option_groups(function) for option in group.options)


def given(name: str, words: Sequence[str]) -> list[str]:
    """The words that were given to the option with this name, such as "--data.store"; [] where it was not typed."""
    for place, word in enumerate(words):
        typed, equals, value = word.partition("=")
        if typed.replace("_", "-") == name:
            following = list(words[place + 1 :])
            until = next((n for n, each in enumerate(following) if each.startswith("--")), len(following))
            return [value] if equals else following[:until]
    return []


def _of_settings(settings: Any, *, prefix: str, about: str) -> Iterator[Group]:
    """The group of a dataclass, then those of the dataclasses in it."""
    options, inner = [], []
    hints, described = typing.get_type_hints(settings), _described(settings, "Attributes")
    for field in dataclasses.fields(settings):
        name, text = prefix + field.name.replace("_", "-"), described.get(field.name, "")
        if dataclasses.is_dataclass(hints[field.name]):
            inner.append((hints[field.name], name, text))
        else:
            options.append(_option(f"--{name}", hints[field.name], text, field.default))
    yield Group(name=prefix.removesuffix("."), about=about, options=tuple(options))
    for kind, name, text in inner:
        yield from _of_settings(kind, prefix=f"{name}.", about=text)


def _option(name: str, kind: Any, text: str, default: object) -> Option:
    value, choices = _value(kind)
    return Option(name=name, value=value, help=text, default=default, choices=choices)


def _value(kind: Any) -> tuple[str, tuple[str, ...]]:
    """What the help shows for a type, and the words that it takes where they are few."""
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        (kind,) = (part for part in parts if part is not types.NoneType)
        return _value(kind)
    if origin is Literal:
        return "{" + ",".join(parts) + "}", parts
    if origin is tuple:
        one, choices = _value(parts[0])
        return (f"{one} ...", choices) if parts[1:] == (...,) else (" ".join([one] * len(parts)), ())
    return ("" if kind is bool else _NAMES[kind]), ()


def _described(documented: Any, section: str) -> dict[str, str]:
    """Name -> text of a section ("Args", "Attributes") of a docstring."""
    _, _, rest = (inspect.getdoc(documented) or "").partition(f"\n{section}:\n")
    entries = re.split(r"\n(?=\S)|\n\n", rest)[0]  # up to the next line that is not indented
    found = re.findall(r"^  (\w+): (.*(?:\n    .*)*)", entries, re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in found}
