"""The house's rules on who may import whom."""

import ast
import pathlib
import subprocess
import sys

import pytest

PACKAGE = pathlib.Path(__file__).parents[1] / "ichformer"
ROOMS = [
    "process",
    "files",
    "ct",
    "cohorts",
    "pipeline",
    "statistics",
    "models",
    "objectives",
    "training",
    "inference",
    "explain",
    "evaluation",
    "reporting",
    "workflows",
]
"""From the ground up: a room imports none that comes after it."""
ABOVE = ["cli", "bench", "privacy"]
WITHOUT_JAX = [
    "ichformer.ct.inspect",
    "ichformer.ct.contact_sheet",
    "ichformer.ct.phantom.cohort",
    "ichformer.ct.corruptions",
    "ichformer.cohorts.registry",
    "ichformer.cohorts.splits",
    "ichformer.pipeline.store.card",
    "ichformer.pipeline.preparation.prepare",
    "ichformer.pipeline.store.records",
    "ichformer.evaluation.summary",
    "ichformer.evaluation.compare",
    "ichformer.workflows.evaluate_table",
    "ichformer.workflows.prepare_cohort",
    "ichformer.evaluation.robustness",
    "ichformer.statistics.calibration",
    "ichformer.training.config",
    "ichformer.cli",
]


def imported(file: pathlib.Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module)
    return names


@pytest.mark.parametrize("room", ROOMS)
def test_nothing_flows_back_up(room):
    later = {f"ichformer.{name}" for name in [*ROOMS[ROOMS.index(room) + 1 :], *ABOVE]}
    wrong = [
        f"{file.relative_to(PACKAGE)} imports {name}"
        for file in (PACKAGE / room).rglob("*.py")
        for name in imported(file)
        if ".".join(name.split(".")[:2]) in later
    ]
    assert wrong == []


ON_ARRAYS = {"ichformer.errors", "ichformer.statistics", "numpy", "scipy", "sklearn", "jaxtyping"}
ON_TABLES = ON_ARRAYS | {
    *(
        "ichformer",
        "ichformer.labels",
        "ichformer.settings",
        "ichformer.evaluation",
        "ichformer.files",
        "ichformer.cohorts",
    ),
    *("ichformer.ct", "ichformer.pipeline", "pandas", "pyarrow", "msgspec"),
}


@pytest.mark.parametrize(("room", "allowed"), [("statistics", ON_ARRAYS), ("evaluation", ON_TABLES)])
def test_figures_are_made_without_models(room, allowed):
    """On arrays alone in ``statistics``, on tables and stores in ``evaluation``: no JAX, no training, no workflow."""
    wrong = [
        f"{file.relative_to(PACKAGE)} imports {name}"
        for file in (PACKAGE / room).rglob("*.py")
        for name in imported(file)
        if ".".join(name.split(".")[: 1 + name.startswith("ichformer.")]) not in {*allowed, *sys.stdlib_module_names}
    ]
    assert wrong == []


def test_experiments_are_imported_by_nobody_and_orbax_by_one_file():
    files = {file: imported(file) for file in PACKAGE.rglob("*.py")}
    assert [file for file, names in files.items() if any(n.split(".")[0] == "experiments" for n in names)] == []
    with_orbax = {file.relative_to(PACKAGE).as_posix() for file, n in files.items() if "orbax.checkpoint" in n}
    assert with_orbax == {"training/checkpoints/checkpoint.py"}


def modules_after(name: str) -> set[str]:
    code = f"import sys, {name}; print('\\n'.join(sys.modules))"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


def test_one_file_asks_for_the_kind_of_device():
    asking = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if "default_backend" in path.read_text() and path.parent.name != "bench"
    }
    assert asking == {"models/layers/backends/backend.py"}


def test_the_package_itself_imports_nothing_heavy():
    assert modules_after("ichformer") & {"jax", "numpy", "flax", "pydicom", "pandas"} == set()


def test_training_loads_nothing_that_reads_scans():
    assert modules_after("ichformer.training.trainer") & {"pydicom", "nibabel", "PIL", "scipy", "sklearn"} == set()


def test_these_rooms_load_no_jax():
    """In one process, one after the other: what is loaded stays, so that the first guilty one is named."""
    code = (
        f"import importlib, sys\nfor name in {WITHOUT_JAX}:\n"
        "    importlib.import_module(name)\n    if 'jax' in sys.modules: sys.exit(f'{name} loads jax')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_no_file_is_long_and_no_room_is_crowded():
    long = {file.relative_to(PACKAGE).as_posix(): len(file.read_text().splitlines()) for file in PACKAGE.rglob("*.py")}
    assert {name: lines for name, lines in long.items() if lines > 300} == {}
    rooms = [PACKAGE, *(room for room in PACKAGE.rglob("*") if room.is_dir() and room.name != "__pycache__")]
    beside = {room.relative_to(PACKAGE).as_posix(): sum(file.is_file() for file in room.iterdir()) for room in rooms}
    assert {name: files for name, files in beside.items() if files > 15} == {}
