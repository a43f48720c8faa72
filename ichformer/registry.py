"""Registries: models, encoders, objectives, cohorts and corruptions by name, with those of plugins. No JAX."""

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, TypeVar

from ichformer.errors import InputError, one_line
from ichformer.plugins import Origin, load_installed_plugins, origin_of
from ichformer.settings import check_known

T = TypeVar("T")
M = TypeVar("M")

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,100}")


class Registry(Mapping[str, T], Generic[T]):
    """Things of one kind by name: those of the package first, then those that others register.

    Installed plugins are loaded when a name is asked for that is not there yet, and when all names are listed.

    Args:
      kind: what the things are, in one word for messages.
      own: gives those of the package; it is called once, when the registry is first used.
    """

    def __init__(self, kind: str, own: Callable[[], Mapping[str, T]]):
        self.kind, self._own = kind, own
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
                f"{one_line(repr(name))} cannot name a {self.kind}",
                where="name",
                fix="use letters, digits, '.', '-' and '_', at most 100",
            )
        things, place = self._loaded(), (maker.__module__, maker.__qualname__)
        if name in things and self._makers.get(name) != place:
            raise InputError(
                f"another {self.kind} has this name", where=one_line(name), fix="register it under another name"
            )
        things[name], self._makers[name] = thing, place

    def find(self, name: str, *, where: object = "") -> T:
        """The thing of this name; InputError with the nearest name where there is none.

        Args:
          name: what it was registered as.
          where: the setting that gave the name, for the message.
        """
        if name not in self:
            check_known(self.kind, name, self._loaded(), where=where)
        return self._loaded()[name]

    def check_made(self, name: str, made: Any, kind: type[M]) -> M:
        """What a registered function returned, where it is of its kind; InputError otherwise.

        Args:
          name: what the function was registered as.
          made: what it returned.
          kind: what it has to be.
        """
        if not isinstance(made, kind):
            raise InputError(
                f"this {self.kind} was made as {one_line(repr(made), max_chars=100)}",
                where=one_line(name),
                fix=f"let what is registered return a {kind.__module__}.{kind.__name__}",
            )
        return made

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


def register(
    registry: Registry[T],
    given: Any,
    make: Callable[[Any], T],
    *,
    wanted: str,
    arguments: tuple[str, ...] = (),
    keywords: tuple[str, ...] = (),
    classes: type | None = None,
) -> Any:
    """What all decorators of registration do, bare and with a name: check what is decorated, and add it.

    Args:
      registry: where it is added.
      given: what the decorator was called with: the function or class that it stands bare above, or a name. Where it
        is None, the name is that of the function or class.
      make: from the function or class to what the registry holds.
      wanted: what may be registered, in words for the message.
      arguments: those that it will be called with by place.
      keywords: those that it will be called with by name. Where both are empty, arguments are not checked.
      classes: classes that derive from this one may be registered too; only functions where it is None.

    Returns:
      The function or class itself, or a decorator that returns it.

    Raises:
      InputError: something that cannot be called so, or see ``Registry.add``.
    """

    def decorate(made: Any) -> Any:
        is_right = issubclass(made, classes or ()) if inspect.isclass(made) else _is_function(made)
        if not is_right or not _takes(made, arguments, keywords):
            raise InputError(f"found {_described(made)}", where=f"register_{registry.kind}", fix=f"register {wanted}")
        registry.add(made.__name__ if named is None else named, make(made), maker=made)
        return made

    named = given if isinstance(given, str) else None
    return decorate if given is None or named is not None else decorate(given)


def _is_function(made: Any) -> bool:
    """Whether it can be called and says where it was defined, which a plugin is known by."""
    return callable(made) and hasattr(made, "__module__") and hasattr(made, "__qualname__")


def _takes(made: Callable[..., Any], arguments: tuple[str, ...], keywords: tuple[str, ...]) -> bool:
    if not arguments and not keywords:
        return True
    try:
        inspect.signature(made).bind(*arguments, **dict.fromkeys(keywords))
    except (TypeError, ValueError):  # other arguments, or none that Python can tell
        return False
    return True


def _described(made: Any) -> str:
    if inspect.isclass(made):
        return f"the class {one_line(made.__name__)}"
    if inspect.isfunction(made):
        return one_line(f"the function {made.__name__}{inspect.signature(made)}")
    return one_line(repr(made), max_chars=100)
