"""``gke_jobset.yaml`` against the models that Kubeflow generates from the schemas of JobSet and Kubernetes."""

import copy
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import tyro

from ichformer.training.config import TrainConfig

yaml = pytest.importorskip("yaml")
models = pytest.importorskip("kubeflow_trainer_api.models")

FILE = Path(__file__).parents[2] / "experiments" / "launch" / "gke_jobset.yaml"
JOBSETS = list(yaml.safe_load_all(FILE.read_text(encoding="utf-8")))
STEPS = 100


def accepted(jobset: dict[str, Any]) -> bool:
    """Whether every field is one of the schema and of its type: unknown ones do not survive the way through."""
    try:
        return models.JobsetV1alpha2JobSet.from_dict(copy.deepcopy(jobset)).to_dict() == jobset
    except ValueError:
        return False


def job(jobset: dict[str, Any]) -> dict[str, Any]:
    [one] = jobset["spec"]["replicatedJobs"]
    return one["template"]["spec"]


def container(jobset: dict[str, Any]) -> dict[str, Any]:
    [one] = job(jobset)["template"]["spec"]["containers"]
    return one


@pytest.mark.parametrize("jobset", JOBSETS, ids=lambda jobset: jobset["metadata"]["name"])
def test_each_jobset_fits_the_schema(jobset):
    assert jobset["apiVersion"] == "jobset.x-k8s.io/v1alpha2"
    assert jobset["kind"] == "JobSet"
    assert accepted(jobset)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda jobset: jobset["spec"].update(maxRestarts=1),
        lambda jobset: jobset["spec"]["failurePolicy"]["rules"][0].pop("action"),
        lambda jobset: job(jobset).update(parallelism="4"),
        lambda jobset: job(jobset)["podFailurePolicy"]["rules"][0]["onExitCodes"].update(values=["2"]),
        lambda jobset: job(jobset)["template"]["spec"].update(nodeselector={}),
        lambda jobset: container(jobset)["resources"].update(limit={}),
        lambda jobset: container(jobset)["volumeMounts"][0].pop("mountPath"),
    ],
)
def test_a_fault_would_be_found(spoil):
    jobset = copy.deepcopy(JOBSETS[0])
    spoil(jobset)
    assert not accepted(jobset)


@pytest.mark.parametrize("jobset", JOBSETS, ids=lambda jobset: jobset["metadata"]["name"])
def test_the_arguments_are_those_of_a_training_on_all_its_pods(jobset):
    name, pods = jobset["metadata"]["name"], job(jobset)["completions"]
    assert job(jobset)["parallelism"] == pods
    arguments = [
        each.replace("$(JOB_COMPLETION_INDEX)", str(pods - 1))
        for each in container(jobset)["args"]
        if not each.startswith("--out=/shared/")
    ]
    config = tyro.cli(TrainConfig, args=arguments)
    assert config.data.store.startswith("/shared/")
    if "google.com/tpu" in container(jobset)["resources"]["limits"]:
        chips = container(jobset)["resources"]["limits"]["google.com/tpu"] * pods
        x, y, z = job(jobset)["template"]["spec"]["nodeSelector"]["cloud.google.com/gke-tpu-topology"].split("x")
        assert chips == int(x) * int(y) * int(z)
        assert config.parallel.coordinator is None
    else:
        [one] = jobset["spec"]["replicatedJobs"]
        # The first pod's name: JobSet, job, the job's and the pod's index; the subdomain is the JobSet's name.
        assert config.parallel.coordinator == f"{name}-{one['name']}-0-0.{name}:1234"
        assert (config.parallel.num_processes, config.parallel.process_id) == (pods, pods - 1)


def test_the_shell_is_the_same_in_all():
    assert len({tuple(container(jobset)["command"]) for jobset in JOBSETS}) == 1


@pytest.mark.full
def test_a_pod_that_is_told_to_stop_is_not_done_and_the_next_one_is(environment, arguments, tmp_path):
    run, out = tmp_path / "run", tmp_path / "out"
    metrics = run / "metrics.jsonl"
    given = [*container(JOBSETS[0])["command"], *arguments, "--steps", str(STEPS), "--out", str(run)]
    with out.open("w") as said:
        pod = subprocess.Popen(given, env=environment, stdout=said, stderr=said)
        deadline = time.monotonic() + 1200
        while not (metrics.exists() and metrics.stat().st_size):
            assert pod.poll() is None, out.read_text()
            assert time.monotonic() < deadline, out.read_text()
            time.sleep(0.01)
        pod.terminate()
        assert pod.wait(timeout=600) == 75, out.read_text()
    assert "all is saved" in out.read_text()
    again = subprocess.run(given, env=environment, capture_output=True, text=True, timeout=1200)
    assert again.returncode == 0, again.stderr
    assert "loss" in again.stdout


@pytest.mark.slow
def test_a_pod_with_bad_input_ends_with_its_exit_code(environment, tmp_path):
    given = [*container(JOBSETS[0])["command"], "--data.store", "nowhere", "--out", str(tmp_path / "run")]
    done = subprocess.run(given, env=environment, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 2, done.stderr
    [rule] = job(JOBSETS[0])["podFailurePolicy"]["rules"]
    assert done.returncode in rule["onExitCodes"]["values"]
    assert "nowhere" in done.stderr
