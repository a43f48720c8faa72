"""Registries: models, encoders, objectives, cohorts and corruptions by name, with those of plugins. No JAX."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, TypeVar

from ichformer.errors import InputError, one_line
from ichformer.plugins import Origin, load_installed_plugins, origin_of
from ichformer.settings import check_known

T = TypeVar("T")

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,100}")


class Registry(Mapping[str, T], Generic[T]):
    """Things of one kind by name: those of the package first, then those that others register.

    Installed plugins are loaded when a name is asked for that is not there yet, and when all names are listed.

    Args:
      kind: what the things are, in one word for messages.
      own: gives those of the package; it is called once, when the registry is first used.
    """

    def __init__(self, kind: str, own: Callable[[], Mapping[str, T]]):
        self._kind, self._own = kind, own
        self._things: dict[str, T] | None = None
        self._makers: dict[str, tuple[str, str]] = {}

    def add(self, name: str, thing: T, *, maker: Any) -> None:
        """Registers a thing. The same class or function may register its name again, as a cell of a notebook does.

        Args:
          name: letters, digits, ".", "-" and "_".
          thing: what ``find`` gives.
          maker: the class or function that it was made of: it says which module the thing comes from.

        Raises:
          InputError: the name cannot be one, or is that of another thing.
        """
        if not _NAME.fullmatch(name):
            raise InputError(
                f"{one_line(repr(name))} cannot name a {self._kind}",
                where="name",
                fix="use letters, digits, '.', '-' and '_', at most 100",
            )
        things, place = self._loaded(), (maker.__module__, maker.__qualname__)
        if name in things and self._makers.get(name) != place:
            raise InputError(
                f"another {self._kind} has this name", where=one_line(name), fix="register it under another name"
            )
        things[name], self._makers[name] = thing, place

    def find(self, name: str, *, where: object = "") -> T:
        """The thing of this name; InputError with the nearest name where there is none.

        Args:
          name: what it was registered as.
          where: the setting that gave the name, for the message.
        """
        if name not in self:
            check_known(self._kind, name, self._loaded(), where=where)
        return self._loaded()[name]

    def origin(self, name: str) -> Origin | None:
        """The plugin that a thing comes from; None for those of the package and for names that are not there."""
        return origin_of(name, self._makers[name][0]) if name in self._makers else None

    def __contains__(self, name: object) -> bool:
        if name not in self._loaded():
            load_installed_plugins()
        return name in self._loaded()

    def __getitem__(self, name: str) -> T:
        if name not in self:
            raise KeyError(name)
        return self._loaded()[name]

    def __iter__(self) -> Iterator[str]:
        load_installed_plugins()
        return iter(tuple(self._loaded()))

    def __len__(self) -> int:
        load_installed_plugins()
        return len(self._loaded())

    def _loaded(self) -> dict[str, T]:
        if self._things is None:
            self._things = dict(self._own())
        return self._things
