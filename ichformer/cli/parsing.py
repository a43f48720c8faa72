"""From the words that were typed to a command with its arguments. Nothing is done yet."""

import contextlib
import functools
import io
from collections.abc import Callable, Sequence
from typing import Any

import tyro

from ichformer import __version__
from ichformer.cli.command import COMMANDS, GROUPS, Command, find_command, sentence
from ichformer.cli.complaints import check_names, explain
from ichformer.cli.help import command_help, commands_help
from ichformer.cli.start import with_base
from ichformer.errors import InputError, nearest, one_line
from ichformer.plugins import load_plugins

_HELP = ("-h", "--help", "--help-all")
_ABOUT = "ichformer finds intracranial haemorrhage on head CT, in JAX and Flax. Research use only."


def parse(arguments: Sequence[str]) -> functools.partial[None]:
    """The command with its arguments bound, ready to be called.

    Plugins are imported here, as they may add to what an option takes.

    Raises:
      InputError: a command or option that does not exist, a value that does not fit, or something missing.
      SystemExit: with code 0, after the help or the version was printed.
    """
    plugins, words = _before_the_command(arguments)
    load_plugins(plugins)
    if not words or words[0] in _HELP:
        _print_if(words, commands_help(_ABOUT, {name: sentence(name) for name in COMMANDS}))
    if words and words[0] in GROUPS and words[1:2] and words[1] in _HELP:
        inner = {name: sentence(f"{words[0]} {name}") for name in GROUPS[words[0]]}
        _print_if(words, commands_help(sentence(words[0]), inner, program=f"ichformer {words[0]}"))
    command, rest = find_command(words)
    if asked := [word for word in rest if word in _HELP]:
        _print_if(asked, command_help(command, whole="--help-all" in asked))
    check_names(command, rest)
    return _bound(command, rest)


def _before_the_command(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """The modules that ``--plugin`` names, and the words from the command on."""
    plugins: list[str] = []
    words = list(arguments)
    while words and words[0].startswith("-") and words[0] not in _HELP:
        name, equals, value = words.pop(0).partition("=")
        if name == "--version" and not equals:
            _print_if([name], f"ichformer {__version__}")
        if name != "--plugin":
            near = nearest(name, ("--plugin", "--version", "--help"))
            raise InputError(
                f"there is no option {one_line(name, max_chars=60)} before the command",
                where="command line",
                fix=f"perhaps you meant {near}" if near else "name the command first; see ichformer --help",
            )
        if not equals and not words:
            raise InputError("needs the name of a module", where="--plugin", fix="ichformer --plugin MODULE COMMAND")
        plugins.append(value if equals else words.pop(0))
    return plugins, words


def _print_if(asked: Sequence[str], text: str) -> None:
    """Print and end, where something was asked for."""
    if asked:
        print(text)
        raise SystemExit(0)


def _bound(command: Command, words: Sequence[str]) -> functools.partial[None]:
    said = io.StringIO()
    bound: list[functools.partial[None]] = []
    run = with_base(command.run, words, name=command.name)
    try:
        with contextlib.redirect_stderr(said):
            tyro.cli(_deferred(run, bound), prog=f"ichformer {command.name}", args=words)
    except SystemExit as error:
        if error.code in (0, None):
            raise
        raise explain(said.getvalue(), command, words) from None
    return bound[0]


def _deferred(function: Callable[..., None], bound: list[functools.partial[None]]) -> Callable[..., None]:
    """``function`` with its own signature, that is noted and not called: parsing ends before work begins."""

    @functools.wraps(function)
    def note(*args: Any, **kwargs: Any) -> None:
        bound.append(functools.partial(function, *args, **kwargs))

    return note
