"""The command line: each command parses, calls one function and prints what it returns."""

from ichformer.cli.main import main as main
