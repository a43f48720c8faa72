"""A pretraining from end to end, small: eight devices are lost, four go on, and a classifier comes out.

Devices are emulated on the CPU. A masked autoencoder pretrains on eight of them and is killed (SIGKILL). The same
command goes on with four. Its features are probed, a classifier starts from it, is evaluated on a site that nobody saw,
and is exported.

Claim: each stage is done, and the losses of the killed pretraining are those of one that nobody touched, within 1e-4.
Cost: about four minutes on two cores.
Command: python experiments/dress_rehearsal.py work
Expected: a line for each stage. The figures mean nothing: there are 24 tiny phantoms.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

import ichformer as ich
from ichformer.testing import TINY_SITES, tiny_cohort

STEPS, KILLED_AFTER, EVERY = 24, 6, 3
SETTINGS = (
    "--model.name slice_vit_nano --objective.name mae --data.batch-size 8 --data.num-slices 4 --optim.warmup-steps 2 "
    f"--steps {STEPS} --checkpoint-every {EVERY} --log-every 1"
)
TUNED = "--model.name slice_vit_nano --data.batch-size 8 --data.num-slices 4 --optim.warmup-steps 2 --steps 6"
LIMIT_S = 1800


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, help="a new folder for all that is made")
    work = parser.parse_args().work
    work.mkdir(parents=True)
    store = ich.prepare(
        "phantom",
        source=tiny_cohort(work / "cohort", scans=24),
        out=work / "store",
        hold_out_site=TINY_SITES[1].name,
        fractions={"train": 0.75, "val": 0.25},
        config={"size": 32},
    )
    whole, killed, tuned = work / "whole", work / "killed", work / "tuned"
    train(SETTINGS, store, whole, devices=8)
    kill_after(SETTINGS, store, killed, devices=8)
    train(SETTINGS, store, killed, devices=4)
    compare(losses(whole), losses(killed))
    run = ich.open_run(killed)
    probed = ich.probe(run, store, label="any", draws=1, progress=False)
    print(f"probed: AUROC of any on the held-out site {probed.auroc.value:.2f}")
    train(f"{TUNED} --init-from {killed}", store, tuned, devices=4)
    ich.open_run(tuned).evaluate(store, out=work / "evaluation")
    ich.open_run(tuned).export(work / "export")
    score = ich.open_run(work / "export").predict(ich.read_volume(next((work / "cohort").rglob("*.dcm")).parent))
    print(f"exported: opens, and scores a scan ({'any' in score.scan_scores})")


def command(settings: str, store: ich.Store, run: Path) -> list[str]:
    return [
        sys.executable,
        "-m",
        "ichformer",
        "train",
        "--data.store",
        str(store.path),
        "--out",
        str(run),
        *settings.split(),
    ]


def environment(devices: int) -> dict[str, str]:
    flags = f"--xla_force_host_platform_device_count={devices}"
    return {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags}


def train(settings: str, store: ich.Store, run: Path, *, devices: int) -> None:
    subprocess.run(command(settings, store, run), env=environment(devices), check=True, timeout=LIMIT_S)
    print(f"{run.name}: done on {devices} devices", flush=True)


def kill_after(settings: str, store: ich.Store, run: Path, *, devices: int) -> None:
    """A training that is killed as soon as its checkpoint of ``KILLED_AFTER`` steps is there."""
    with subprocess.Popen(command(settings, store, run), env=environment(devices)) as process:
        end = time.monotonic() + LIMIT_S
        while not (run / "checkpoints" / str(KILLED_AFTER)).is_dir() and time.monotonic() < end:
            assert process.poll() is None, "it ended by itself"
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL, "it was done before it was killed"
    print(f"{run.name}: killed", flush=True)


def losses(run: Path) -> dict[int, float]:
    lines = map(json.loads, (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
    return {line["step"]: line["loss"] for line in lines}


def compare(wanted: dict[int, float], found: dict[int, float]) -> None:
    assert list(found) == list(wanted) == list(range(1, STEPS + 1)), "a step is missing or came twice"
    apart = np.abs(np.subtract(list(found.values()), list(wanted.values()))).max()
    assert apart < 1e-4, f"the losses are {apart:.1e} apart"
    print(f"the losses of all {STEPS} steps are those of the pretraining that was not killed, within {apart:.0e}")


if __name__ == "__main__":
    main()
