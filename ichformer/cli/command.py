"""Every command by name. A command's file is imported when it is wanted, so that loading the command line is light."""

import importlib
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ichformer.errors import InputError, nearest, one_line

COMMANDS = (
    "demo",
    "phantom",
    "inspect",
    "prepare",
    "find-learning-rate",
    "train",
    "ensemble",
    "export",
    "evaluate",
    "compare",
    "predict",
    "follow-up",
    "worklist",
    "simulate",
    "serve",
    "queue",
    "explain",
    "check-explanations",
    "robustness",
    "audit",
    "embed",
    "probe",
    "leave-one-site-out",
    "cross-validate",
    "scrub",
    "models",
    "bench",
)
"""In the order of the help. The command ``leave-one-site-out`` is the function ``leave_one_site_out`` of the file
``commands/training/leave_one_site_out.py``."""

GROUPS = {"bench": ("prepare", "loader", "train", "loop")}
"""Commands that are followed by another word; their files lie in a folder of that name."""


_FOLDERS = {
    "cross-validate": "training",
    "find-learning-rate": "training",
    "leave-one-site-out": "training",
    "train": "training",
    "embed": "features",
    "probe": "features",
    "check-explanations": "scans",
    "explain": "scans",
    "export": "sharing",
    "follow-up": "scans",
    "inspect": "scans",
    "queue": "serving",
    "serve": "serving",
    "simulate": "triage",
    "worklist": "triage",
}
"""Commands whose file lies in a folder of ``commands/``, beside others about the same."""

WRITES_A_FILE = ("embed", "export")
"""Commands whose ``--out`` is or may be a file; of all others it is a folder."""


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command of the command line.

    Attributes:
      name: the words that call it, such as "bench loader".
      run: what it does; its parameters are the options.
      common: names, without the dashes, of the options that the short help shows; () where it shows all. A command's
        file names them as ``COMMON``.
      examples: whole command lines for the short help, which the command's file names as ``EXAMPLES``.
    """

    name: str
    run: Callable[..., None]
    common: tuple[str, ...]
    examples: tuple[str, ...]

    @property
    def about(self) -> str:
        """What it does: its docstring up to the arguments."""
        return (inspect.getdoc(self.run) or "").partition("\nArgs:")[0].strip()


def find_command(words: Sequence[str]) -> tuple[Command, Sequence[str]]:
    """The command that the first words name, and the words that follow.

    Raises:
      InputError: there is no such command, or none is named.
    """
    name = _known(words, COMMANDS)
    if name not in GROUPS:
        return load_command(name), words[1:]
    inner = _known(words[1:], GROUPS[name], group=name)
    return load_command(f"{name} {inner}"), words[2:]


def load_command(name: str) -> Command:
    """The command with this name, from its file."""
    place = name.replace("-", "_").split()
    folder = [_FOLDERS[name]] if name in _FOLDERS else []
    module = importlib.import_module(".".join(["ichformer.cli.commands", *folder, *place]))
    return Command(
        name=name,
        run=getattr(module, place[-1]),
        common=getattr(module, "COMMON", ()),
        examples=getattr(module, "EXAMPLES", ()),
    )


def sentence(name: str) -> str:
    """What a command does, in one sentence."""
    if name in GROUPS:
        module = importlib.import_module(f"ichformer.cli.commands.{name}")
        return (inspect.getdoc(module) or "").partition("\n")[0]
    return load_command(name).about.partition("\n")[0]


def _known(words: Sequence[str], known: Sequence[str], *, group: str = "") -> str:
    where, see = group or "command line", f"see {f'ichformer {group}'.strip()} --help"
    if not words:
        raise InputError("a command is missing", where=where, fix=see)
    if words[0] not in known:
        near = nearest(words[0], known)
        raise InputError(
            f"there is no command {one_line(words[0], max_chars=60)!r}",
            where=where,
            fix=f"perhaps you meant {near}; {see}" if near else see,
        )
    return words[0]
