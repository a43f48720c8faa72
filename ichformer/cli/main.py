"""The command ``ichformer``: reads a command, does it, and ends with the exit code that says how that went."""

import os
import sys

from ichformer.cli.command import WRITES_A_FILE
from ichformer.cli.parsing import parse
from ichformer.errors import InputError, Stopped, fixable, one_line
from ichformer.faults import Fault
from ichformer.files.writing import check_folder
from ichformer.process.streams import delivered
from ichformer.process.workers import ending_in_order


def main(arguments: list[str] | None = None) -> None:
    """Runs one command.

    Exit code 0: done, or all saved at SIGTERM; 2: bad usage or input, one line; 130: Ctrl-C; 129, 143: ended by SIGHUP
    or SIGTERM; 1: our fault, or `scrub --check` found something.
    """
    try:
        with fixable(), ending_in_order():
            os.getcwd()
            with delivered():  # --help prints
                command = parse(sys.argv[1:] if arguments is None else arguments)
            if (out := command.keywords.get("out")) is not None:
                check_folder(out.parent if command.func.__name__ in WRITES_A_FILE else out)
            command()
    except InputError as error:
        print(f"ichformer: error: {error}", file=sys.stderr)
        sys.exit(2)
    except Fault as fault:
        print(f"ichformer: fault: {one_line(fault, max_chars=1200)}", file=sys.stderr)
        sys.exit(1)
    except Stopped as stopped:
        print(f"ichformer: {stopped}", file=sys.stderr)
    except KeyboardInterrupt:
        print("\nichformer: interrupted; run the same command again to continue", file=sys.stderr)
        exec("")  # resets CPython's note that an exec was interrupted, for which it would end by signal instead of 130
        sys.exit(130)
