"""Registries and plugins: what is registered is found by name, and what is missing or broken is one line."""

import doctest
import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

import ichformer.cohorts.registry as cohorts
import ichformer.ct.corruptions.registry as corruptions
import ichformer.objectives.registry as objectives
from ichformer import settings
from ichformer.errors import InputError
from ichformer.models.registry import registered_models
from ichformer.plugins import GROUP, Origin, load_installed_plugins, load_plugins, origin_of
from ichformer.registry import Registry
from tests.registries import forget_after


def thing() -> None: ...


def other() -> None: ...


@pytest.fixture
def registry() -> Registry[int]:
    return Registry("number", lambda: {"one": 1, "two": 2})


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A folder that is searched for modules and for distributions; what is imported from there is forgotten."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr("ichformer.plugins._loaded", set())
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    return tmp_path


def install(folder: Path, *, module: str, code: str, name: str = "example", version: str = "1.2") -> None:
    (folder / f"{module}.py").write_text(code)
    facts = folder / f"{name}_dist-{version}.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}-dist\nVersion: {version}\n")
    (facts / "entry_points.txt").write_text(f"[{GROUP}]\n{name} = {module}\n")


@pytest.mark.parametrize("module", [cohorts, corruptions, objectives, settings])
def test_the_examples_of_the_docstrings(module, monkeypatch):
    forget_after(monkeypatch, cohorts.COHORTS, corruptions.CORRUPTIONS, objectives.OBJECTIVES)
    failed, attempted = doctest.testmod(module)
    assert failed == 0
    assert attempted >= 2


def test_own_things_come_first_and_names_are_found(registry):
    registry.add("three", 3, maker=thing)
    assert list(registry) == ["one", "two", "three"]
    assert (registry.find("three"), registry["one"], "four" in registry, len(registry)) == (3, 1, False, 3)
    with pytest.raises(
        InputError, match="thre: there is no such number; perhaps you meant three, or choose one of one"
    ):
        registry.find("thre")
    with pytest.raises(KeyError):
        registry["four"]


def test_a_name_belongs_to_what_registered_it(registry):
    registry.add("three", 3, maker=thing)
    registry.add("three", 4, maker=thing)  # the cell of a notebook, run again
    assert registry["three"] == 4
    for name, maker in (("three", other), ("one", thing)):
        with pytest.raises(InputError, match=f"{name}: another number has this name"):
            registry.add(name, 5, maker=maker)
    for name in ("", "a:b", "a b", "\x1b[2J", "x" * 101):
        with pytest.raises(InputError, match="cannot name a number"):
            registry.add(name, 5, maker=thing)


def test_where_a_thing_comes_from(registry):
    registry.add("three", 3, maker=thing)
    assert registry.origin("three") == Origin(name="three", module=thing.__module__)
    assert registry.origin("one") is registry.origin("four") is None
    assert origin_of("slice_vit", "ichformer.models.families.slice_vit") is None


def test_an_installed_plugin_is_loaded_when_a_name_is_not_known(folder, monkeypatch):
    forget_after(monkeypatch, corruptions.CORRUPTIONS)
    code = "from ichformer import register_corruption\n"
    code += "@register_corruption(unit='HU', levels=(1, 2, 3, 4, 5))\ndef drift(scan, level, rng): return scan\n"
    install(folder, module="plugin_of_drift", code=code)
    assert corruptions.CORRUPTIONS.find("kernel")
    assert "plugin_of_drift" not in sys.modules
    assert corruptions.CORRUPTIONS.find("drift").levels == (1, 2, 3, 4, 5)
    wanted = Origin(name="drift", module="plugin_of_drift", distribution="example-dist", version="1.2")
    assert corruptions.CORRUPTIONS.origin("drift") == wanted
    assert wanted.how_to_get() == "install its plugin: pip install example-dist==1.2"


def test_an_installed_plugin_that_is_broken_is_named_and_tried_again(folder):
    install(folder, module="plugin_broken", code="import no_such_module\n")
    for _ in range(2):
        with pytest.raises(
            InputError, match=r"plugin example: plugin_broken cannot be imported .ModuleNotFoundError: No"
        ):
            load_installed_plugins()
    (folder / "plugin_broken.py").write_text("x = 1  # fixed\n")
    load_installed_plugins()
    assert sys.modules["plugin_broken"].x == 1


def test_a_plugin_may_list_models_while_it_is_loaded(folder):
    install(folder, module="plugin_lists", code="import ichformer\nfound = ichformer.list_models('swin*')\n")
    load_installed_plugins()
    assert sys.modules["plugin_lists"].found == ("swin3d_nano", "swin3d_t", "swin3d_s", "swin3d_b")


@pytest.mark.parametrize(
    ("module", "said"),
    [
        ("no_such_plugin", "--plugin no_such_plugin: there is no module no_such_plugin; install it, or work in the"),
        ("mine.py", "--plugin: 'mine.py' is not the name of a module|there is no module mine.py"),
        ("../mine", "--plugin: '../mine' is not the name of a module; give a dotted name without .py"),
        ("plugin_fails", "plugin_fails cannot be imported .ValueError: at line 1"),
        ("plugin_takes_a_name", "cannot be imported .swin3d_t: another model has this name"),
    ],
)
def test_a_named_plugin_that_is_not_there_or_fails(folder, module, said):
    (folder / "plugin_fails.py").write_text("raise ValueError('at line 1\\nof many')\n")
    code = "import ichformer\ndef swin3d_t(): ...\nichformer.register_model(swin3d_t)\n"
    (folder / "plugin_takes_a_name.py").write_text(code)
    with pytest.raises(InputError, match=said) as error:
        load_plugins([module])
    assert str(error.value).isprintable()


def test_a_named_plugin_is_found_in_the_current_folder(tmp_path):
    (tmp_path / "mine.py").write_text("from ichformer.plugins import GROUP\n")
    code = "from ichformer.plugins import load_plugins; load_plugins(['mine']); import mine; print(mine.GROUP)"
    done = subprocess.run([sys.executable, "-P", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == GROUP


def test_nothing_is_installed_here():
    """Other tests count the models of the package."""
    assert not importlib.metadata.entry_points(group=GROUP)
    assert all(registered_models().origin(name) is None for name in registered_models())
