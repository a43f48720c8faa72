"""Who may import whom, and how large files and rooms may be."""

import ast
import functools
import pathlib
import subprocess
import sys

import pytest

PACKAGE = pathlib.Path(__file__).parents[1] / "ichformer"
ROOMS = [
    *("errors", "labels", "faults", "settings", "plugins", "registry"),
    "process",
    "files",
    "ct",
    "testing",
    "cohorts",
    "pipeline",
    "statistics",
    "lesions",
    "models",
    "objectives",
    "training",
    "inference",
    "explanations",
    "evaluation",
    "triage",
    "reporting",
    "workflows",
    "serving",
]
"""From the ground up, files and folders: a room imports none that comes after it."""
BESIDE = ["privacy", "bench"]
"""They import all rooms but workflows, and only the command line imports them."""
CONSTANTS = {"LABELS", "SUBTYPES", "__version__"}
"""What rooms may import from the front door; anything else of it would be a way round these rules."""
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
    "ichformer.lesions.measures",
    "ichformer.evaluation.summary",
    "ichformer.evaluation.compare",
    "ichformer.evaluation.probes.text",
    "ichformer.workflows.evaluate_table",
    "ichformer.workflows.prepare_cohort",
    "ichformer.workflows.prediction.read_scan",
    "ichformer.evaluation.robustness",
    "ichformer.triage.text",
    "ichformer.serving.node",
    "ichformer.statistics.calibration",
    "ichformer.training.config",
    "ichformer.cli",
]


def files_of(room: str) -> list[pathlib.Path]:
    return [*(PACKAGE / room).rglob("*.py")] or [PACKAGE / f"{room}.py"]


@functools.cache
def imported(file: pathlib.Path) -> set[str]:
    """Modules, and each thing that comes from the package's front door."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            front_door = {f"ichformer.{alias.name}" for alias in node.names if alias.name not in CONSTANTS}
            names |= {node.module or "a module relative to it"} | (front_door if node.module == "ichformer" else set())
    return names


@pytest.mark.parametrize("room", [*ROOMS, *BESIDE])
def test_nothing_flows_back_up(room):
    later = ROOMS[ROOMS.index(room) + 1 :] if room in ROOMS else ["workflows"]
    allowed = {f"ichformer.{name}" for name in {room, *ROOMS} - {*later}} | {"ichformer"}
    wrong = [
        f"{file.relative_to(PACKAGE)} imports {name}"
        for file in files_of(room)
        for name in imported(file)
        if name.split(".")[0] == "ichformer" and ".".join(name.split(".")[:2]) not in allowed
    ]
    assert wrong == []


def test_these_rules_know_every_room():
    found = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    assert found == {*ROOMS, *BESIDE, "cli", "__init__", "__main__"}


ON_ARRAYS = {"ichformer.errors", "ichformer.statistics", "numpy", "scipy", "sklearn", "jaxtyping"}
ON_VOLUMES = ON_ARRAYS | {"ichformer", "ichformer.lesions", "ichformer.ct", "ichformer.files", "msgspec"}
ON_TABLES = ON_ARRAYS | {
    *(
        "ichformer",
        "ichformer.labels",
        "ichformer.settings",
        "ichformer.evaluation",
        "ichformer.lesions",
        "ichformer.files",
        "ichformer.cohorts",
    ),
    *("ichformer.ct", "ichformer.pipeline", "pandas", "pyarrow", "msgspec"),
}


@pytest.mark.parametrize(
    ("room", "allowed"), [("statistics", ON_ARRAYS), ("lesions", ON_VOLUMES), ("evaluation", ON_TABLES)]
)
def test_figures_are_made_without_models(room, allowed):
    """On arrays in ``statistics``, volumes in ``lesions``, tables and stores in ``evaluation``: no JAX, no training."""
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
    """``bench/scaling.py`` only notes it beside its figures."""
    asking = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if asks_for_the_device(node)
    }
    assert asking - {"bench/scaling.py"} == {"models/layers/backends/backend.py"}


def asks_for_the_device(node: ast.AST) -> bool:
    """``default_backend``, ``platform_dependent`` and a device's ``platform``; ``sys.platform`` is the system's."""
    if isinstance(node, ast.Attribute):
        is_system = isinstance(node.value, ast.Name) and node.value.id == "sys"
        return node.attr in ("default_backend", "platform_dependent") or (node.attr == "platform" and not is_system)
    return isinstance(node, ast.ImportFrom) and bool(
        {alias.name for alias in node.names} & {"default_backend", "platform_dependent"}
    )


def test_the_package_itself_imports_nothing_heavy():
    assert modules_after("ichformer") & {"jax", "numpy", "flax", "pydicom", "pandas"} == set()


@pytest.mark.slow
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
