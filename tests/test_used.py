"""Every public function and class of the package is used: by the package, an experiment, a notebook or the docs."""

import ast
import collections
import pathlib
import re

ROOT = pathlib.Path(__file__).parents[1]
PACKAGE = ROOT / "ichformer"
COMMANDS = PACKAGE / "cli" / "commands"  # the command line finds each by the name of its file


def names_in(tree: ast.AST) -> collections.Counter[str]:
    """How often each name occurs, also as a text of its own, by which mappings and lazy imports name things."""
    names: collections.Counter[str] = collections.Counter()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            names[node.id] += 1
        elif isinstance(node, ast.Attribute):
            names[node.attr] += 1
        elif isinstance(node, ast.alias):
            names[node.name.rpartition(".")[2]] += 1
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.isidentifier():
            names[node.value] += 1
    return names


def not_used() -> set[str]:
    """Public functions and classes that only their own definition names."""
    files = [*PACKAGE.rglob("*.py"), *(ROOT / "experiments").rglob("*.py"), *(ROOT / "colab").glob("*.py")]
    parts = [
        (file, node, names_in(node)) for file in files for node in ast.parse(file.read_text(encoding="utf-8")).body
    ]
    used: collections.Counter[str] = collections.Counter()
    for _, _, names in parts:
        used.update(names)
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        used.update(re.findall(r"\w+", page.read_text(encoding="utf-8")))
    return {
        node.name
        for file, node, names in parts
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
        if file.is_relative_to(PACKAGE) and not file.is_relative_to(COMMANDS)
        if used[node.name] == names[node.name]
    }


def test_nothing_public_is_there_for_tests_alone():
    assert not_used() == set()
