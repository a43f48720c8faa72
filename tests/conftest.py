"""Every test runs on 8 emulated CPU devices, with shapes checked at call time and nothing promoted in silence."""

import importlib.metadata
import os
import pathlib
from collections.abc import Iterator

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = " ".join(
    [
        os.environ.get("XLA_FLAGS", ""),
        "--xla_force_host_platform_device_count=8",
        # What is computed here is small: compiling takes longer than running, without LLVM's help a third less.
        "--xla_backend_optimization_level=0",
        # JAX 0.10 has two ways to make a kernel of a fusion; the older one, gone in 0.11, compiles twice as fast.
        *(["--xla_cpu_use_fusion_emitters=false"] if importlib.metadata.version("jax").startswith("0.10.") else []),
    ]
)
os.environ["JAX_NUMPY_RANK_PROMOTION"] = "raise"
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(pathlib.Path(__file__).parents[1] / ".cache" / "jax"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("MPLBACKEND", "Agg")

# Libraries come before the hook: it compiles anew whatever is first imported within the package.
import distributed  # noqa: F401
import flax  # noqa: F401
import grain  # noqa: F401
import hypothesis
import jax
import jaxtyping
import matplotlib.pyplot  # noqa: F401
import nibabel  # noqa: F401
import optax  # noqa: F401
import orbax.checkpoint  # noqa: F401
import pandas  # noqa: F401
import pydicom  # noqa: F401
import pytest
import scipy.ndimage
import scipy.stats  # noqa: F401
import sklearn.metrics  # noqa: F401
import statsmodels.api  # noqa: F401
import tyro  # noqa: F401

import tests.typecheck  # noqa: F401, the hook below looks for it there

# The hook has to be there before the first module of the package is imported.
jaxtyping.install_import_hook("ichformer", "tests.typecheck.checked")

# No deadline for a single example: the machine may be busy, and the first call of a function checks its types.
hypothesis.settings.register_profile("ichformer", deadline=None, max_examples=25)
hypothesis.settings.register_profile("full", deadline=None, max_examples=100)
hypothesis.settings.load_profile("ichformer")


@pytest.hookimpl(trylast=True)  # what is deselected takes no time
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files come first, so that at the end no core waits for one of them."""

    def minutes(item: pytest.Item) -> float:
        """As the marks say it; a slow test that names no minutes takes about ten seconds."""
        marks = [item.get_closest_marker(name) for name in ("slow", "full")]
        return max([marker.kwargs.get("minutes", 0) or 1 / 6 for marker in marks if marker], default=0.0)

    of_file: dict[pathlib.Path, float] = {}
    for item in items:
        of_file[item.path] = of_file.get(item.path, 0.0) + minutes(item)
    items.sort(key=lambda item: of_file[item.path], reverse=True)


_MAPPINGS = pathlib.Path("/proc/self/maps")


@pytest.fixture(autouse=True)
def _few_programs_in_memory(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every compiled program takes mappings of memory, and Linux gives 65,530 to a process: at the next one it dies."""
    yield
    takes_long = any(request.node.get_closest_marker(name) for name in ("slow", "full"))
    if takes_long and _MAPPINGS.exists() and _MAPPINGS.read_bytes().count(b"\n") > 30_000:
        jax.clear_caches()


@pytest.fixture(scope="session")
def real_data() -> pathlib.Path:
    """The folder with real files; tests that need it are skipped, with the reason, where it is not there."""
    named = os.environ.get("ICHFORMER_REAL_DATA")
    folder = pathlib.Path(named) if named else pathlib.Path(__file__).parents[2] / "shared" / "data"
    if not (folder / "dcm_qa_ct").is_dir():
        pytest.skip(f"no real files at {folder}: set ICHFORMER_REAL_DATA")
    return folder


@pytest.fixture(scope="session")
def tiny_store(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The folder ``tiny`` with "cohort", "cache" and "store": one for all tests, who copy what they want to change."""
    from tests.shared import made_once, make_tiny_store

    return made_once(tmp_path_factory, "tiny", make_tiny_store) / "store"


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory, tiny_store: pathlib.Path) -> pathlib.Path:
    """A run of five steps on ``tiny_store`` (see ``tiny_training``): one for all tests, who copy it to change it."""
    from tests.shared import made_once, make_tiny_run

    return made_once(tmp_path_factory, "tiny-run", lambda folder: make_tiny_run(tiny_store, folder)) / "run"
