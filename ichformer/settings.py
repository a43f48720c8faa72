"""Settings given from Python, checked as the command line checks its own: by the types that they are declared with."""

import dataclasses
import functools
import os
import sys
import types
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np

from ichformer.errors import InputError, nearest, one_line

MOST_STEPS = 2**31 - 1
"""A training counts its steps in 32 bits."""

T = TypeVar("T")


def make_settings(kind: type[T], given: Any, *, where: str, **fixed: Any) -> T:
    """Settings of the dataclass ``kind`` from a dictionary, or from an instance that is there already.

    Example:
      >>> from ichformer.training.config import OptimConfig
      >>> make_settings(OptimConfig, {"learning_rate": 3e-4}, where="optim").learning_rate
      0.0003

    Args:
      kind: a dataclass.
      given: a dictionary of some of its fields, an instance of it, or None for its defaults.
      where: the name of the settings, for the message.
      fixed: fields that are set whatever ``given`` says.

    Raises:
      InputError: another type, a name that is no field, or a value that the field does not take.
    """
    if isinstance(given, kind):
        return dataclasses.replace(given, **fixed) if fixed else given  # type: ignore[type-var]
    if not isinstance(given, Mapping | None):
        raise InputError(
            f"found {one_line(repr(given))}", where=where, fix=f"give a dictionary or an instance of {kind.__name__}"
        )
    values = {**(given or {}), **fixed}
    hints: dict[str, Any] = _hints(kind)  # type: ignore[arg-type]
    for name in values:
        if name not in hints:
            raise InputError(
                f"there is no setting {one_line(name)!r}",
                where=where,
                fix=f"{perhaps(str(name), hints)}choose of {', '.join(hints)}",
            )
        inner = hints[name]
        if dataclasses.is_dataclass(inner) and isinstance(values[name], Mapping):
            values[name] = make_settings(inner, values[name], where=f"{where}, {name}")  # type: ignore[arg-type]
    return kind(**values)


def check_known(kind: str, name: str, known: Iterable[str], *, where: object = "") -> None:
    """InputError with the nearest name where ``name`` is none of the known ones.

    Args:
      kind: what the names are of, in one word.
      name: the name that was given.
      known: all names, in the order in which the message lists them.
      where: the setting or file that gave the name; the name itself by default.
    """
    names = tuple(known)
    if not isinstance(name, str) or name not in names:
        raise InputError(
            f"there is no {kind} {one_line(repr(name))}" if where else f"there is no such {kind}",
            where=where or one_line(name),
            fix=f"{perhaps(str(name), names)}choose one of {', '.join(names)}",
        )


def as_names(given: Any, *, where: object) -> tuple[str, ...]:
    """Names as a tuple, from a list, a tuple or a column of them; a single text is one name.

    Example:
      >>> as_names("any", where="labels"), as_names(["bleed", "fracture"], where="labels")
      (('any',), ('bleed', 'fracture'))

    Raises:
      InputError: something else than names.
    """
    is_several = isinstance(given, Iterable) and not isinstance(given, str | bytes | Mapping)
    return fit(tuple[str, ...], tuple(given) if is_several else given, where=where)


def as_path(given: Any, *, where: object, fix: str = "give a path") -> Path:
    """A path that was given as text or as a ``Path``; InputError for anything else, such as a table.

    Args:
      given: what was given.
      where: the argument, for the message.
      fix: what to do.
    """
    if not isinstance(given, str | os.PathLike):
        raise InputError(f"found {described(given)}", where=where, fix=fix)
    return Path(given)


def described(value: object) -> str:
    """A value for a message: numbers, text and None as they are, anything else by its type and shape."""
    if value is None or isinstance(value, str | int | float):
        return one_line(repr(value))
    shape = getattr(value, "shape", None)
    name = type(value).__name__
    return one_line(
        f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}" + ("" if shape is None else f" of shape {list(shape)}")
    )


def perhaps(wrong: str, known: Iterable[str]) -> str:
    """ "perhaps you meant NAME, or " where one of the known names is like the wrong one; else nothing."""
    near = nearest(wrong, known)
    return f"perhaps you meant {near}, or " if near else ""


def check_settings(settings: Any, prefix: str, *, names: tuple[str, ...] | None = None) -> None:
    """Checks every field of a dataclass against its declared type; call it first in ``__post_init__``.

    A value of another type that means the same is replaced: a list by a tuple, a ``Path`` by its text, a NumPy number
    by Python's. So settings compare equal however they were given, and can be written as JSON.

    Args:
      settings: an instance of a dataclass, which may be frozen.
      prefix: what stands before a name in messages: the option's ("--model.") or the class's ("SwinEncoder.").
      names: only these fields; all by default.

    Raises:
      InputError: a value that is not of its type: not one of the choices, not a number, not finite.
    """
    for name, kind in _hints(settings.__class__).items():
        if names is not None and name not in names:
            continue
        value = getattr(settings, name)
        fitted = fit(kind, value, where=option(prefix, name))
        if fitted is not value:
            object.__setattr__(settings, name, fitted)


def check_ranges(prefix: str, *settings: tuple[str, object, bool, str]) -> None:
    """InputError for the first of (name, value, whether it is in range, what is) that is not."""
    for name, value, within, meant in settings:
        if not within:
            raise InputError(
                f"{one_line(repr(value))} is out of range", where=option(prefix, name), fix=f"take {meant}"
            )


def option(prefix: str, name: str) -> str:
    """How a message calls a setting: as the command line's option where the prefix is one."""
    return prefix + (name.replace("_", "-") if prefix.startswith("--") else name)


def fit(kind: Any, value: Any, *, where: object, fix: str = "") -> Any:
    """``value`` as the type ``kind`` has it; InputError where it is none of that type.

    Args:
      kind: a class, ``Literal``, a union, or a tuple of these; ``Any`` takes everything.
      value: what was given.
      where: the setting, for the message.
      fix: what to do; what the type takes by default.
    """
    fitted = _fitted(kind, value)
    if fitted is _UNFIT:
        choices = [choice for choice in _choices(kind) if isinstance(choice, str)]
        near = nearest(value, choices) if isinstance(value, str) else ""
        perhaps = f"perhaps you meant {near!r}; " if near else ""
        raise InputError(f"found {one_line(repr(value))}", where=where, fix=fix or f"{perhaps}take {_described(kind)}")
    return fitted


_UNFIT: Any = object()
_LARGEST = sys.float_info.max


def _fitted(kind: Any, value: Any) -> Any:
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if isinstance(value, np.generic):
        value = value.item()
    if kind is Any:
        return value
    if origin in (types.UnionType, typing.Union):
        found = (_fitted(part, value) for part in parts)
        return next((each for each in found if each is not _UNFIT), _UNFIT)
    if origin is Literal:
        same = [each for each in parts if type(each) is type(value) and each == value]
        return same[0] if same else _UNFIT
    if origin is tuple:
        return _fitted_tuple(parts, value)
    if kind in (int, float) and isinstance(value, bool):
        return _UNFIT
    if kind is float:
        is_number = isinstance(value, (int, float)) and -_LARGEST <= value <= _LARGEST
        return value if is_number else _UNFIT
    if kind is str and isinstance(value, os.PathLike):
        return os.fspath(value)
    of_class = origin or kind
    return value if not isinstance(of_class, type) or isinstance(value, of_class) else _UNFIT


def _fitted_tuple(parts: tuple[Any, ...], value: Any) -> Any:
    if isinstance(value, str) and parts == (str, ...):
        return (value,)  # one name where several may stand
    if not isinstance(value, (tuple, list)):
        return _UNFIT
    kinds = parts[:1] * len(value) if parts[1:] == (...,) else parts
    if len(kinds) != len(value):
        return _UNFIT
    fitted = tuple(_fitted(kind, each) for kind, each in zip(kinds, value, strict=True))
    if any(each is _UNFIT for each in fitted):
        return _UNFIT
    unchanged = isinstance(value, tuple) and all(a is b for a, b in zip(fitted, value, strict=True))
    return value if unchanged else fitted


def _choices(kind: Any) -> tuple[Any, ...]:
    if typing.get_origin(kind) is Literal:
        return typing.get_args(kind)
    if typing.get_origin(kind) in (types.UnionType, typing.Union):
        return tuple(choice for part in typing.get_args(kind) for choice in _choices(part))
    return ()


def _described(kind: Any) -> str:
    """What a type takes, in words."""
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        return " or ".join(map(_described, parts))
    if origin is Literal:
        return " or ".join(map(repr, parts))
    if origin is tuple:
        of = f"a tuple of {_described(parts[0])}"
        return of if parts[1:] == (...,) else f"{of}, {len(parts)} in all"
    words = {int: "a whole number", float: "a finite number", bool: "True or False", str: "text"}
    words |= {types.NoneType: "None"}
    return words.get(kind) or f"a {getattr(origin or kind, '__name__', kind)}"


@functools.cache
def _hints(cls: Any) -> dict[str, Any]:
    """The types of a dataclass's fields."""
    hints = typing.get_type_hints(cls)
    return {each.name: hints[each.name] for each in dataclasses.fields(cls) if each.name in hints}
