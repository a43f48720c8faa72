"""Modules of other people that register models, objectives, encoders, cohorts and corruptions."""

import importlib
from collections.abc import Sequence

from ichformer.errors import InputError, one_line


def load_plugins(modules: Sequence[str]) -> None:
    """Imports modules, which register what they hold.

    Raises:
      InputError: a module cannot be imported.
    """
    for name in modules:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise InputError(
                f"cannot be imported ({one_line(error)})",
                where=f"plugin {one_line(name)}",
                mend="install it, or name a module on PYTHONPATH",
            ) from error
