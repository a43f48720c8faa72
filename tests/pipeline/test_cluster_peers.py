"""What comes from a cluster that is encrypted, odd or hostile: certificates are used, answers are checked by type."""

import contextlib
import gc
import shutil
import subprocess
from concurrent.futures import Executor, Future

import dask
import distributed
import pytest

from ichformer.cohorts.registry import COHORTS
from ichformer.errors import InputError
from ichformer.pipeline.preparation import cluster
from ichformer.pipeline.preparation.cluster import cluster_executor
from ichformer.pipeline.preparation.facts import ScanFacts
from ichformer.pipeline.preparation.prepare import prepare_index
from ichformer.pipeline.preparation.workers import run_all
from ichformer.testing import tiny_cohort
from tests.stores import CONFIG


class OddExecutor(Executor):
    """Every task has the same answer, whatever it was."""

    def __init__(self, answer: object):
        self.answer = answer

    def submit(self, function, /, *arguments, **named):
        future: Future = Future()
        if isinstance(self.answer, Exception):
            future.set_exception(self.answer)
        else:
            future.set_result(self.answer)
        return future


FACTS = {
    "n_slices": 3,
    "height": 32,
    "width": 32,
    "has_mask": True,
    "boxed_labels": "",
    "pixels": "",
    "bytes": 100,
    "sha256": "ab",
}
SCAN = ScanFacts(
    spacing_mm=(5, 1, 1), thickness_mm=5, lean_deg=0, codes=(), positive_slices=(), negative_slices=(), hu_counts=()
)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"\x80garbage", "something else than facts"),
        ((FACTS, FACTS), "something else than facts"),
        ((FACTS | {"bytes": "100"}, SCAN), "something else than facts"),
        ((FACTS | {"has_mask": 1}, SCAN), "something else than facts"),
        (({**FACTS, "path": "../../etc"}, SCAN), "something else than facts"),
        ((FACTS, SCAN), "not there in full"),
    ],
)
def test_an_answer_that_is_none_does_not_reach_the_store(tmp_path, answer, said):
    index = COHORTS["phantom"](tiny_cohort(tmp_path / "cohort", scans=1), cache=tmp_path / "cache")
    with pytest.raises(InputError, match=said):
        prepare_index(index, tmp_path / "store", config=CONFIG, executor=OddExecutor(answer), progress=False)
    assert '"series": null' in (tmp_path / "store" / "index.json").read_text()


def test_what_dask_cannot_carry_is_one_line_and_an_error_of_other_executors_stays(monkeypatch):
    broken = OddExecutor(AttributeError("no _Task\x1b[31m in module"))
    with pytest.raises(AttributeError):
        list(run_all(len, ["a"], executor=broken, workers=1))
    monkeypatch.setattr(OddExecutor, "__module__", "distributed.cfexecutor")
    with pytest.raises(InputError, match=r"worker of the cluster failed \(AttributeError: no _Task.x1b.31m in module"):
        list(run_all(len, ["a"], executor=broken, workers=1))


def use(address: str) -> None:
    try:
        with cluster_executor(address, timeout_s=0.5):
            pass
    finally:
        gc.collect()  # a client that failed ends its loop where it is collected: not in the thread of another


@pytest.mark.slow
def test_an_address_that_dask_refuses_is_one_line():
    with pytest.raises(InputError, match=r"tls://127.0.0.1:9: .*distributed.comm.tls"):
        use("tls://127.0.0.1:9")
    with (
        dask.config.set({"distributed.comm.require-encryption": True}),
        pytest.raises(InputError, match="encryption required"),
    ):
        use("tcp://127.0.0.1:9")


@pytest.fixture
def certificates(tmp_path):
    """As Dask's configuration names them: self-signed, the same for all."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl to make a certificate")
    key, certificate = str(tmp_path / "key.pem"), str(tmp_path / "certificate.pem")
    ask = ["openssl", "req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    ask += ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-keyout", key, "-out", certificate]
    subprocess.run(ask, check=True, capture_output=True)
    role = {"cert": certificate, "key": key}
    named = {"ca-file": certificate, "scheduler": role, "worker": role, "client": role}
    return {f"distributed.comm.tls.{name}": value for name, value in named.items()}


@contextlib.contextmanager
def local_cluster(protocol: str):
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, host="127.0.0.1", protocol=protocol, dashboard_address=None
    ) as running:
        yield running.scheduler_address


@pytest.mark.slow
def test_certificates_of_dasks_configuration_are_used(tmp_path, certificates):
    index = COHORTS["phantom"](tiny_cohort(tmp_path / "cohort", scans=2), cache=tmp_path / "cache")
    with dask.config.set(certificates), local_cluster("tls://") as address:
        assert address.startswith("tls://")
        with cluster_executor(address) as executor:
            store = prepare_index(index, tmp_path / "store", config=CONFIG, executor=executor, progress=False)
        assert len(store.index) == 2
        none = {name: None if name.endswith("ca-file") else {"cert": None, "key": None} for name in certificates}
        with dask.config.set(none), pytest.raises(InputError, match=r"distributed\.comm\.tls"):
            use(address)


class OddClient:
    """Of a cluster whose one worker answers so."""

    def __init__(self, answer: object):
        self.answer = answer

    def nthreads(self):
        return {"tcp://worker:1": 1}

    def run(self, function, *, on_error):
        return {"tcp://worker:1": self.answer}


@pytest.mark.parametrize("answer", [("0.0.1", 1, 1), ModuleNotFoundError("No module named 'ichformer'"), "\x1b[31m"])
def test_a_worker_with_another_ichformer_is_refused(answer):
    with pytest.raises(InputError, match=r"tcp://worker:1: this worker has another ichformer .*install ichformer"):
        cluster._check_workers(OddClient(answer), "tcp://h:1")
    cluster._check_workers(OddClient(cluster.installed()), "tcp://h:1")
