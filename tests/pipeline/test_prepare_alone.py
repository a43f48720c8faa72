"""Two preparations of one store: the second is refused; one that was killed is followed at once."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ichformer.cohorts.index import read_index
from ichformer.errors import InputError
from ichformer.files.lease import hold, is_lease
from ichformer.pipeline.preparation import prepare as prepare_module
from ichformer.pipeline.preparation.prepare import prepare_index
from ichformer.testing import tiny_cohort
from tests.stores import CONFIG, prepare_here

# Prepares until its first shard is there, then waits in its worker to be killed.
PREPARES = """
import sys, time
from pathlib import Path
from ichformer.cohorts.index import read_index
from ichformer.pipeline.preparation import prepare as module
from tests.stores import prepare_here

def slowly(task, prepare_one=module.prepare_one):
    made = prepare_one(task)
    print("made", flush=True)
    time.sleep(600)
    return made

module.prepare_one = slowly
prepare_here(read_index(Path(sys.argv[1])), Path(sys.argv[2]))
"""


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_cohort(tmp_path_factory.mktemp("phantoms") / "cohort", scans=2)


def contents(store: Path) -> dict[str, bytes]:
    return {str(path.relative_to(store)): path.read_bytes() for path in store.rglob("*") if path.is_file()}


def test_a_store_that_another_prepares_is_refused_and_left_as_it_is(cohort, tmp_path):
    index, out = read_index(cohort / "studies.csv"), tmp_path / "store"
    prepare_here(index[:1], out)
    before = contents(out)
    assert not any(is_lease(Path(name)) for name in before)
    wanted = r"another preparation \(process \d+ on .+\) works there since"
    with hold(out, what="preparation"), pytest.raises(InputError, match=wanted):
        prepare_index(index, out, config=CONFIG, workers=1, progress=False)
    assert contents(out) == before


def test_who_lost_the_store_leaves_its_index_alone(cohort, tmp_path, monkeypatch):
    index, out = read_index(cohort / "studies.csv"), tmp_path / "store"
    prepare_here(index[:1], out)
    before = (out / "index.json").read_bytes()

    def lost(self):
        raise InputError("another preparation took the folder over", where=out, fix="let that one go on")

    monkeypatch.setattr(prepare_module.Lease, "confirm", lost)
    with pytest.raises(InputError, match="took the folder over"):
        prepare_here(index, out)
    assert (out / "index.json").read_bytes() == before
    assert not any(map(is_lease, out.iterdir()))


@pytest.mark.slow
def test_a_killed_preparation_is_followed_at_once_and_nothing_is_done_twice(cohort, tmp_path, capfd):
    out, studies = tmp_path / "store", cohort / "studies.csv"
    with subprocess.Popen([sys.executable, "-c", PREPARES, studies, out], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"made\n"
        [made] = (out / "shards").iterdir()
        written_ns = made.stat().st_mtime_ns
        with pytest.raises(InputError, match=f"process {process.pid} on"):
            prepare_here(read_index(studies), out)
        process.send_signal(signal.SIGKILL)
    store = prepare_here(read_index(studies), out)
    assert "is held by" not in capfd.readouterr().err  # nobody waited for signs of life
    assert len(store.index) == 2
    assert made.stat().st_mtime_ns == written_ns
    assert not any(map(is_lease, out.iterdir()))
