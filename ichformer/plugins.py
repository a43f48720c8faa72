"""Plugins: modules of other people that register models, encoders, objectives, cohorts or corruptions. No JAX.

A plugin is found in two ways: ``--plugin MODULE`` names it, or it is installed with an entry point of the group
``ichformer.plugins``::

    [project.entry-points."ichformer.plugins"]
    example = "example_plugin"

Nothing else is ever imported: a run only says in its files which plugin it needs, and these files may be anybody's.
"""

import importlib
import importlib.metadata
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from ichformer.errors import InputError, one_line

GROUP = "ichformer.plugins"
"""The group of entry points."""

_loaded: set[tuple[str, str]] = set()
"""The entry points that were loaded, by name and module: each is loaded once."""


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where a thing that is not of this package comes from, as a run records it.

    Attributes:
      name: of the thing.
      module: the module that it was defined in.
      distribution: the installed package of the plugin; "" where it was not installed with an entry point.
      version: of that package.
    """

    name: str
    module: str
    distribution: str = ""
    version: str = ""

    def to_json(self) -> dict[str, str]:
        """Plain values for ``run.json``."""
        return asdict(self)

    def how_to_get(self) -> str:
        """What to do where the thing is missing, in words."""
        if self.distribution:
            return f"install its plugin: pip install {one_line(f'{self.distribution}=={self.version}', max_chars=100)}"
        return f"name the plugin that registers it, such as --plugin {one_line(self.module, max_chars=100)}"


def load_plugins(modules: Sequence[str]) -> None:
    """Imports plugins by the names of their modules, as ``--plugin`` gives them.

    The current folder is searched too, so that ``--plugin mine`` finds ``mine.py`` in it.

    Args:
      modules: dotted names.

    Raises:
      InputError: a name that is none, or a module that is not there or that fails to import.
    """
    for module in modules:
        if not all(part.isidentifier() for part in module.split(".")):
            raise InputError(
                f"{one_line(repr(module))} is not the name of a module",
                where="--plugin",
                fix="give a dotted name without .py, such as my_package.models",
            )
        if (here := os.getcwd()) not in sys.path:
            sys.path.append(here)
        _import(module, where=f"--plugin {module}", fix="install it, or work in the folder that holds it")


def load_installed_plugins() -> None:
    """Imports the plugins that are installed with an entry point of ``GROUP``, each once in a process.

    Raises:
      InputError: one of them fails to import; the message names it.
    """
    for entry in importlib.metadata.entry_points(group=GROUP):
        if (known := (entry.name, entry.module)) in _loaded:
            continue
        _loaded.add(known)  # before it is imported, as it may list models itself
        package = "" if entry.dist is None else entry.dist.name
        try:
            _import(entry.module, where=f"plugin {one_line(entry.name)}", fix=f"install {package} again or remove it")
        except BaseException:
            _loaded.discard(known)
            raise


def origin_of(name: str, module: str) -> Origin | None:
    """The plugin of a thing by the module that it was defined in; None where that is this package.

    Args:
      name: of the thing.
      module: ``__module__`` of the class or function that it was made of.
    """
    package = module.partition(".")[0]
    if package == __name__.partition(".")[0]:
        return None
    for entry in importlib.metadata.entry_points(group=GROUP):
        if entry.dist is not None and entry.module.partition(".")[0] == package:
            return Origin(name=name, module=module, distribution=entry.dist.name, version=entry.dist.version)
    return Origin(name=name, module=module)


def _import(module: str, *, where: str, fix: str) -> None:
    try:
        importlib.import_module(module)
    except Exception as error:  # whatever other people's code raises
        is_absent = isinstance(error, ModuleNotFoundError) and error.name and f"{module}.".startswith(f"{error.name}.")
        if is_absent:
            raise InputError(f"there is no module {module}", where=where, fix=fix) from None
        said = error if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
        raise InputError(
            f"{module} cannot be imported ({one_line(said, max_chars=400)})", where=where, fix="correct the plugin"
        ) from error
