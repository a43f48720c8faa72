"""What is wrong with the words after a command, in one line that says what to type instead."""

import re
from collections.abc import Sequence

from ichformer.cli.command import Command
from ichformer.cli.options import Option, all_options, given
from ichformer.errors import InputError, nearest, one_line

_KINDS = {"INT": "whole number", "FLOAT": "number", "TEXT": "text", "PATH": "path"}


def check_names(command: Command, words: Sequence[str]) -> None:
    """InputError for an option that the command does not have, with the one that was perhaps meant."""
    known = [name for option in all_options(command.run) for name in option.names]
    for word in words:
        name = word.partition("=")[0].replace("_", "-")
        if not name.startswith("--") or name == "--" or name in known:
            continue
        near, see = (
            _near_option(name, known),
            f"ichformer {command.name} {'--help-all' if command.common else '--help'}",
        )
        if name == "--plugin":
            fix = f"it stands before the command: ichformer --plugin MODULE {command.name}"
        else:
            fix = f"perhaps you meant {near}; see {see}" if near else f"see {see}"
        raise InputError(f"there is no option {one_line(name, max_chars=60)}", where=command.name, fix=fix)


def _near_option(name: str, known: Sequence[str]) -> str:
    """The option that was perhaps meant: without what stands before its dot ("--learning-rate"), or misspelled."""
    for each in known:
        if each.endswith(f".{name.removeprefix('--')}") or each == f"{name}.name":
            return each
    last = {each.rpartition(".")[2]: each for each in reversed(known)}
    return nearest(name, known) or last.get(nearest(name, last), "")


def explain(text: str, command: Command, words: Sequence[str]) -> InputError:
    """What tyro objects to, in one line and in our own words.

    Args:
      text: what it printed, with the box that it draws.
      command: the command.
      words: what was typed after it.
    """
    # The first line is a title that the text repeats. Where a terminal has no UTF-8, rules are made of hyphens.
    plain = re.sub(r"\A.*╮\n|\A.*\n -{5,} *\n", "", re.sub(r"\x1b\[[0-9;]*m", "", text))
    plain = " ".join(re.sub(r"[│╰╯─]|-{5,}", " ", plain).split()).partition(" For full helptext")[0].rstrip(".")
    options, see = all_options(command.run), f"see ichformer {command.name} --help"
    if plain.startswith("Missing from") and (lacking := [each for each in options if _is_missing(each, plain)]):
        return InputError(f"needs {_listed(lacking)}", where=command.name, fix=see)
    if found := re.match(r"Unrecognized options: (.*)", plain):
        what = f"does not know what to do with {one_line(found[1], max_chars=60)!r}"
        return InputError(what, where=command.name, fix=see)
    if found := re.match(
        r"(?:invalid choice '(.*)' for|Missing value for|Error parsing)(?: argument)? '?([\w.-]+)", plain
    ):
        option = next((each for each in options if each.name in (found[2], found[2].upper())), None)
        if option is not None:
            return _wrong_value(option, found[1] or " ".join(given(option.name, words)), where=command.name, see=see)
    return InputError(plain, where=command.name, fix=see)


def _wrong_value(option: Option, given: str, *, where: str, see: str) -> InputError:
    where = f"{where}: {option.name}"
    if not given:
        return InputError(f"needs {_kind(option)}", where=where, fix=see)
    what, near = f"found {one_line(given, max_chars=60)!r}", nearest(given, option.choices)
    fix = f"{f'perhaps you meant {near}, or ' * bool(near)}give {_kind(option)}; {see}"
    return InputError(what, where=where, fix=fix)


def _is_missing(option: Option, plain: str) -> bool:
    """Whether tyro's text names an option as missing: it repeats the help of each."""
    if not option.is_required:
        return False
    return " ".join(option.help.split()) in plain if option.is_positional else f" {option.name} " in plain


def _listed(options: Sequence[Option]) -> str:
    names = [each.name if each.is_positional else f"{each.name} {each.value}" for each in options]
    return " and ".join([", ".join(names[:-1])] * (len(names) > 1) + names[-1:])


def _kind(option: Option) -> str:
    """What an option takes, in words."""
    if option.choices:
        return f"one of {', '.join(option.choices)}"
    kinds = option.value.split()
    kind = _KINDS.get(kinds[0], kinds[0])
    if kinds[-1] == "...":
        return f"one {kind} or more"
    return f"a {kind}" if len(kinds) == 1 else f"{len(kinds)} {kind}s"
