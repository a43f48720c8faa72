"""Examples in docstrings run. Those of public names need a folder with scans: ``test_front_door.py`` runs them."""

import doctest
import importlib

import pytest

import ichformer as ich
from tests.pages import ROOT

PUBLIC = {"ichformer", *ich._PLACES.values()}
MODULES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in sorted((ROOT / "ichformer").rglob("*.py"))
    if ">>> " in path.read_text(encoding="utf-8")
]


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in MODULES if name not in PUBLIC])
def test_the_examples_of_a_room_run(name):
    failed, attempted = doctest.testmod(importlib.import_module(name))
    assert (failed, attempted > 0) == (0, True)
