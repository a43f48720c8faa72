"""What ``--help`` and ``--help-all`` print: short first, and everything where it is asked for."""

import shutil
import textwrap
from collections.abc import Iterable, Iterator, Mapping

from ichformer.cli.command import Command
from ichformer.cli.options import Group, Option, all_options, option_groups

GLOBAL_OPTIONS = {
    "--plugin MODULE": "Imports a Python module of yours first, which registers models, objectives, encoders, cohorts "
    "or corruptions of your own. Give it once for each module.",
    "--version": "Prints the version of ichformer.",
    "--help": "Prints this page. After a command it explains the command, and --help-all lists all of its options.",
}
"""What may stand before the command."""


def commands_help(about: str, commands: Mapping[str, str], *, program: str = "ichformer") -> str:
    """The page of the whole program, or of a command that is followed by another word.

    Args:
      about: what it is, in a sentence or two.
      commands: name -> one sentence.
      program: the words that stand before the command.
    """
    wide = max(map(len, commands))
    lines = [f"Usage: {program} COMMAND [options]", "", *_wrapped(about, 0), "", "Commands:"]
    for name, sentence in commands.items():
        lines += _wrapped(sentence, wide + 4, first=f"  {name:<{wide}}  ")
    if program == "ichformer":
        lines += ["", "Options before the command:"]
        for name, text in GLOBAL_OPTIONS.items():
            lines += [f"  {name}", *_wrapped(text, 6)]
    return "\n".join([*lines, "", *_wrapped(f"`{program} COMMAND --help` explains a command and its options.", 0)])


def command_help(command: Command, *, whole: bool) -> str:
    """The page of a command.

    Args:
      command: which.
      whole: all options; otherwise those that people need most, where the command has many.
    """
    groups = option_groups(command.run)
    options = all_options(command.run)
    needed = " ".join(_usage(option) for option in options if option.is_positional or option.is_required)
    usage = f"ichformer {command.name} {needed} [options]".replace("  ", " ")
    lines = [*_wrapped(usage, 6, first="Usage: "), "", *_paragraphs(command.about)]
    if command.common and not whole:
        named = {option.name: option for option in options}
        lines += _listed([Group(name="", about="", options=tuple(named[f"--{name}"] for name in command.common))])
        more = f"These are the options that people need most. `ichformer {command.name} --help-all` shows all"
        lines += _wrapped(f"{more} {len(options)}.", 0)
    else:
        lines += _listed(groups)
    if command.examples:
        lines += ["", "Examples:", *(line for each in command.examples for line in _wrapped(each, 6, first="  "))]
    return "\n".join(lines).rstrip("\n")


def _usage(option: Option) -> str:
    if not option.is_positional:
        return f"{option.name} {option.value}"
    word = f"{option.name} ..." if option.value.endswith("...") else option.name
    return word if option.is_required else f"[{word}]"


def _listed(groups: Iterable[Group]) -> Iterator[str]:
    for group in groups:
        title = f"{group.name}: {group.about}" if group.name else "Options:"
        yield from _wrapped(title, 0)
        for option in group.options:
            yield f"  {option.name} {'' if option.is_positional else option.value}".rstrip()
            yield from _wrapped(" ".join([option.help, *_default(option)]), 6)
        yield ""


def _default(option: Option) -> Iterator[str]:
    """The default in brackets, where there is one to be named: the text says what happens without the option."""
    if option.is_required and not option.is_positional:
        yield "(required)"
    elif option.value and not option.is_required and option.default not in (None, "", ()):
        several = option.default if isinstance(option.default, tuple) else (option.default,)
        yield f"(default: {' '.join(map(str, several))})"


def _paragraphs(text: str) -> Iterator[str]:
    for paragraph in text.split("\n\n"):
        yield from _wrapped(" ".join(paragraph.split()), 0)
        yield ""


def _wrapped(text: str, indent: int, *, first: str | None = None) -> list[str]:
    """Lines that fit the terminal; the first starts with ``first``, the others with ``indent`` blanks."""
    width = max(40, min(shutil.get_terminal_size().columns, 100))
    later = " " * indent
    return textwrap.wrap(
        text.replace("``", "`"),
        width,
        initial_indent=later if first is None else first,
        subsequent_indent=later,
        break_on_hyphens=False,
        break_long_words=False,
    )
